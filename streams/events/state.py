"""What a partition remembers between fetches: one immutable `DeviceState` a device, all of it bounded.

States are values: a stage returns a new one and never changes the old, so a failed transaction needs no
undoing and a checkpoint can compare two of them. On `glasses.state` they are JSON; labels as hex, samples of
open windows as base64.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from msgspec import Meta, Struct, ValidationError, convert, json
from numpy.typing import NDArray

from streams.events.identity import STREAM_PATTERN
from streams.limits import NUMBER_MAX

# `glasses.state` is not believed: what a stage would stumble over is no state.
Number = Annotated[int, Meta(ge=0, le=NUMBER_MAX)]
TimeNs = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Stream = Annotated[str, Meta(pattern=rf"\A{STREAM_PATTERN.pattern}\Z")]
#: A packed label as hex; empty where it could not be said in the words of a policy.
Label = Annotated[str, Meta(pattern=r"\A(?:[0-9a-f]{2})*\Z")]
Intervals = tuple[tuple[Number, Number], ...]
#: Bytes of one batch in `Seen.recent`, and of one mark in `Seen.marks`.
RECENT_BYTES, MARK_BYTES = 32, 20
#: Samples of one window as their operator keeps them, shape (n,).
Samples = NDArray[Any]
#: One sample of an open window, by the kind of the stream: little-endian and packed, on every machine alike.
SAMPLES: Mapping[str, np.dtype[Any]] = {
    "imu": np.dtype("<f8"),
    "audio_level": np.dtype("<f8"),
    "location": np.dtype([("latitude_deg", "<f8"), ("longitude_deg", "<f8")]),
    "gaze": np.dtype([("t_ns", "<i8"), ("yaw_rad", "<f8"), ("pitch_rad", "<f8"), ("counts", "?")]),
}


class Seen(Struct, frozen=True):
    """Which numbers of a stream have come, and enough of how to know a repeat from other data.

    Below `floor` holes were given up. `recent` are the last batches, `marks` some of all before, both packed
    (see `streams.zones.seen`); `stride` is how many numbers lie between two marks.
    """

    ranges: Intervals = ()
    floor: Number = 0
    recent: bytes = b""
    marks: bytes = b""
    stride: Annotated[int, Meta(ge=1, le=2**63 - 1)] = 1


class OpenWindow(Struct, frozen=True):
    """Samples of a window that has not closed: consecutive numbers from `first`, all in one zone and session.

    `since_ns` is when the oldest was captured, as in a batch. `samples` are packed, each as `SAMPLES` says.
    """

    kind: str
    first: Number
    t_first_ns: TimeNs
    t_last_ns: TimeNs
    zone: str
    label: Label
    session_id: str
    wearer_id: str
    consent: int
    origin: str
    since_ns: int
    samples: bytes

    @property
    def count(self) -> int:
        """How many samples it has."""
        return len(self.samples) // SAMPLES[self.kind].itemsize

    def array(self) -> Samples:
        """Its samples, shape (count,); not to be written to."""
        return np.frombuffer(self.samples, SAMPLES[self.kind])


class Recent(Struct, frozen=True):
    """A derived event that a later query's situation may cite.

    `position` is where in the partition it became known, `since_ns` when the oldest of it was captured.
    """

    kind: Annotated[str, Meta(pattern=r"\A(?:activity|place)\Z")]
    stream: Stream
    number: Number
    position: int
    t_last_ns: TimeNs
    value: str | int
    zone: str
    label: Label
    wearer_id: str
    consent: int
    since_ns: int


class OpenAnswer(Struct, frozen=True, kw_only=True):
    """An answer that feedback may still come for, with what an example needs of its query.

    Feedback is the wearer's who asked; `since_ns` is when the oldest of what it was made of was captured.
    """

    number: Number
    position: int
    intent: str
    model_version: int
    utterance: str
    stream: Stream
    query_stream: Stream
    query_label: Label
    query_zone: str
    label: Label
    zone: str
    consent: int
    wearer_id: str
    since_ns: int


class DeviceState(Struct, frozen=True):
    """All that is remembered of one device. `places` are anchors (number, latitude, longitude) in degrees.

    `seen` holds the streams of its newest incarnation only: that one retires those before it. `worked` is the
    newest of which anything was processed. `policy_version` is that in whose words its labels are.
    """

    incarnation: int = 1
    worked: int = 1
    seen: Mapping[Stream, Seen] = {}
    known_streams: tuple[str, ...] = ()
    windows: Mapping[Stream, OpenWindow] = {}
    places: tuple[tuple[int, float, float], ...] = ()
    recents: tuple[Recent, ...] = ()
    answers: tuple[OpenAnswer, ...] = ()
    policy_version: str = ""

    def dump(self) -> bytes:
        """JSON bytes; equal states have equal bytes."""
        return json.encode(self, order="sorted")

    @classmethod
    def load(cls, value: bytes) -> DeviceState:
        """State from `dump`'s bytes, also from those of versions before.

        msgspec.ValidationError, or another ValueError, TypeError or AttributeError, when they are none.
        """
        try:
            state = json.decode(value, type=cls)
        except ValidationError:
            state = _taken_over(value)
        for window in state.windows.values():
            one = SAMPLES.get(window.kind)
            if one is None or not window.samples or len(window.samples) % one.itemsize:
                raise ValidationError("a device's state: found a window that holds no samples of its kind")
        if any(len(one.recent) % RECENT_BYTES or len(one.marks) % MARK_BYTES for one in state.seen.values()):
            raise ValidationError("a device's state: found half a batch among those that were seen")
        if any(one.marks and not one.recent for one in state.seen.values()):
            raise ValidationError("a device's state: found a stream with marks and without its last batches")
        return state


def _taken_over(value: bytes) -> DeviceState:
    """Migration of a state whose windows hold lists of numbers.

    That of 0.1.0 did not say of what is half done since when it held anything, so that counts as ever since;
    nor whose answers wait, so feedback on those makes no example.
    """
    fields = json.decode(value)
    if not isinstance(fields, dict):
        raise ValidationError("a device's state: found another form, expected one of this version or before")
    if "incarnation" not in fields:
        fields["seen"] = {stream: {"ranges": ranges} for stream, ranges in fields.get("seen", {}).items()}
        ever: dict[str, Any] = {"since_ns": 1}
        fields["windows"] = {stream: {**one, **ever} for stream, one in fields.get("windows", {}).items()}
        fields["recents"] = [{**one, **ever} for one in fields.get("recents", ())]
        fields["answers"] = [{**one, **ever, "wearer_id": ""} for one in fields.get("answers", ())]
    fields["windows"] = {
        stream: {**one, "samples": _packed(one["kind"], one["samples"])}
        for stream, one in fields.get("windows", {}).items()
    }
    return convert(fields, DeviceState)


def _packed(kind: str, samples: Any) -> bytes:
    """Samples as a state held them before: a list of numbers, or of lists of those that belong together."""
    if kind not in SAMPLES or not isinstance(samples, list):
        raise ValidationError("a device's state: found a window that holds no samples of its kind")
    rows = [tuple(one) if isinstance(one, list) else one for one in samples]
    return np.array(rows, SAMPLES[kind]).tobytes()
