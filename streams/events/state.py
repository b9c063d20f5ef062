"""What a partition remembers between fetches: one immutable `DeviceState` a device, all of it bounded.

States are values: a stage returns a new one and never changes the old, so a failed transaction needs no
undoing and a checkpoint can compare two of them. On `glasses.state` they are JSON, `[form, state]`: versions
before the form had a number read an object, and so refuse these instead of overlooking what they do not know.
Labels are hex there, samples of open windows and what operators remember base64. What the samples and
memories mean is the operators' affair (`streams.processing.operators`), who look at them before anything is
made of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import numpy as np
from msgspec import UNSET, Meta, Struct, UnsetType, ValidationError, convert, json
from msgspec.structs import replace

from streams.events.identity import STREAM_PATTERN
from streams.events.kinds import DERIVED_NAME_PATTERN
from streams.limits import NUMBER_MAX

# `glasses.state` is not believed: what a stage would stumble over is no state.
Number = Annotated[int, Meta(ge=0, le=NUMBER_MAX)]
TimeNs = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Stream = Annotated[str, Meta(pattern=rf"\A{STREAM_PATTERN.pattern}\Z")]
#: A packed label as hex; empty where it could not be said in the words of a policy.
Label = Annotated[str, Meta(pattern=r"\A(?:[0-9a-f]{2})*\Z")]
Intervals = tuple[tuple[Number, Number], ...]
#: Number of the form on `glasses.state`; another one changes with what a state before cannot say.
FORM = 3
#: Bytes of one batch in `Seen.recent`, and of one mark in `Seen.marks`.
RECENT_BYTES, MARK_BYTES = 32, 20
#: Name of an operator, which is that of the kind that it makes.
OperatorName = Annotated[str, Meta(pattern=rf"\A(?:{DERIVED_NAME_PATTERN.pattern})\Z")]
#: Of states that did not name operators: who had the windows of a kind, and what a sample was.
_FORMER: Mapping[str, tuple[str, np.dtype[Any]]] = {
    "imu": ("activity", np.dtype("<f8")),
    "audio_level": ("speech", np.dtype("<f8")),
    "location": ("place", np.dtype([("latitude_deg", "<f8"), ("longitude_deg", "<f8")])),
    "gaze": (
        "fixation",
        np.dtype([("t_ns", "<i8"), ("yaw_rad", "<f8"), ("pitch_rad", "<f8"), ("counts", "?")]),
    ),
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

    `since_ns` is when the oldest was captured, as in a batch. `samples` are packed as the operator says.
    """

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


class Recent(Struct, frozen=True):
    """A derived event that a later query's situation may cite.

    `position` is where in the partition it became known, `since_ns` when the oldest of it was captured.
    """

    kind: OperatorName
    stream: Stream
    number: Number
    position: int
    t_last_ns: TimeNs
    value: str | int | float
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


#: Open windows by the operator that they are of, and by stream; no operator is named that has none.
Windows = Mapping[OperatorName, Mapping[Stream, OpenWindow]]


class DeviceState(Struct, frozen=True, forbid_unknown_fields=True):
    """All that is remembered of one device.

    `memories` are the operators' own states, each the JSON of its operator's type; who remembers nothing has
    none.

    `seen` holds the streams of its newest incarnation only: that one retires those before it. `worked` is the
    newest of which anything was processed. `policy_version` is that in whose words its labels are. `versions`
    are those of the operators that left windows or memories, where they are not 1; it stands nowhere else.
    """

    incarnation: int = 1
    worked: int = 1
    seen: Mapping[Stream, Seen] = {}
    known_streams: tuple[str, ...] = ()
    windows: Windows = {}
    memories: Mapping[OperatorName, bytes] = {}
    recents: tuple[Recent, ...] = ()
    answers: tuple[OpenAnswer, ...] = ()
    policy_version: str = ""
    versions: Mapping[OperatorName, Number] | UnsetType = UNSET

    def dump(self) -> bytes:
        """JSON bytes; equal states have equal bytes."""
        return json.encode((FORM, self), order="sorted")

    @classmethod
    def load(cls, value: bytes) -> DeviceState:
        """State from `dump`'s bytes, also from those of versions before.

        msgspec.ValidationError, or another ValueError, TypeError or AttributeError, when they are none.
        """
        try:
            _, state = _DECODER.decode(value)
        except ValidationError:
            state = _taken_over(value)
        if any(not window.samples for of in state.windows.values() for window in of.values()):
            raise ValidationError("a device's state: found a window that holds no samples")
        if any(
            len(stream.recent) % RECENT_BYTES or len(stream.marks) % MARK_BYTES
            for stream in state.seen.values()
        ):
            raise ValidationError("a device's state: found half a batch among those that were seen")
        if any(stream.marks and not stream.recent for stream in state.seen.values()):
            raise ValidationError("a device's state: found a stream with marks and without its last batches")
        return state

    def version(self, operator: str) -> int:
        """Version of an operator that left windows or a memory here."""
        return self._versions.get(operator, 1)

    def after(
        self, operator: str, version: int, windows: Mapping[str, OpenWindow], memory: bytes | None
    ) -> DeviceState:
        """The same with what an operator has open now and what it remembers (None: as before)."""
        opened = {name: of for name, of in self.windows.items() if name != operator}
        if windows:
            opened[operator] = windows
        memories = self.memories if memory is None else {**self.memories, operator: memory}
        versions = {name: of for name, of in self._versions.items() if name != operator}
        if version != 1 and (windows or operator in memories):
            versions[operator] = version
        return replace(self, windows=opened, memories=memories, versions=versions or UNSET)

    def of_operators(self, names: frozenset[str], outdated: frozenset[str] = frozenset()) -> DeviceState:
        """The same without what is half done, remembered or citable of operators that are none of `names`.

        Of those that are `outdated`, what was made stays citable.
        """
        kept, recent_kinds = names - outdated, {recent.kind for recent in self.recents}
        if kept.issuperset((*self.windows, *self.memories)) and names.issuperset(recent_kinds):
            return self
        return replace(
            self,
            windows={name: windows for name, windows in self.windows.items() if name in kept},
            memories={name: memory for name, memory in self.memories.items() if name in kept},
            recents=tuple(recent for recent in self.recents if recent.kind in names),
            versions={name: of for name, of in self._versions.items() if name in kept} or UNSET,
        )

    @property
    def _versions(self) -> Mapping[str, int]:
        return {} if self.versions is UNSET else self.versions

    def relabelled(self, policy_version: str, label: Callable[[str], str]) -> DeviceState:
        """The same in the words of another policy; `label` says each label (as hex) in them."""
        return replace(
            self,
            policy_version=policy_version,
            windows={
                operator: {
                    stream: replace(window, label=label(window.label)) for stream, window in of.items()
                }
                for operator, of in self.windows.items()
            },
            recents=tuple(replace(recent, label=label(recent.label)) for recent in self.recents),
            answers=tuple(
                replace(answer, label=label(answer.label), query_label=label(answer.query_label))
                for answer in self.answers
            ),
        )


_DECODER: json.Decoder[tuple[int, DeviceState]] = json.Decoder(tuple[Literal[3], DeviceState])


def _taken_over(value: bytes) -> DeviceState:
    """Migration of a state without a form: once windows were by stream, and places a field.

    That of 0.1.0 held lists of numbers for samples. It did not say of what is half done since when it held
    anything, so that counts as ever since; nor whose answers wait, so feedback on those makes no example.
    """
    fields = json.decode(value)
    if not isinstance(fields, dict):
        raise ValidationError("a device's state: found another form, expected one of this version or before")
    if "memories" in fields:
        return convert(fields, DeviceState)
    if "incarnation" not in fields:
        fields["seen"] = {stream: {"ranges": ranges} for stream, ranges in fields.get("seen", {}).items()}
        ever: dict[str, Any] = {"since_ns": 1}
        fields["windows"] = {
            stream: {**window, **ever} for stream, window in fields.get("windows", {}).items()
        }
        fields["recents"] = [{**recent, **ever} for recent in fields.get("recents", ())]
        fields["answers"] = [{**answer, **ever, "wearer_id": ""} for answer in fields.get("answers", ())]
    windows: dict[str, dict[str, Any]] = {}
    for stream, window in fields.get("windows", {}).items():
        kind = window.pop("kind", None)
        if kind not in _FORMER:
            raise ValidationError("a device's state: found a window of a kind that had none")
        operator, sample = _FORMER[kind]
        if isinstance(window["samples"], list):
            window["samples"] = _packed(window["samples"], sample)
        windows.setdefault(operator, {})[stream] = window
    fields["windows"] = windows
    if places := fields.pop("places", None):
        fields["memories"] = {"place": json.encode(convert(places, tuple[tuple[int, float, float], ...]))}
    return convert(fields, DeviceState)


def _packed(samples: list[Any], sample: np.dtype[Any]) -> bytes:
    """Samples of a list of numbers, or of lists of those that belong together."""
    rows = [tuple(row) if isinstance(row, list) else row for row in samples]
    return np.array(rows, sample).tobytes()
