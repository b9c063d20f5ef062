"""The state that a partition keeps between fetches: one immutable, bounded `DeviceState` per device.

A stage returns a new state and never changes the old one, so a failed transaction needs no rollback and a
checkpoint can compare two states. On `glasses.state` a state is JSON, `[form, state]`. Versions from before
forms were numbered expect an object, so they refuse this array instead of silently ignoring new fields.
Labels are hex there; samples of open windows and operator memories are base64. Their content belongs to the
operators (`streams.processing.operators`), which validate it before use.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import numpy as np
from msgspec import UNSET, Meta, Struct, UnsetType, ValidationError, convert, json
from msgspec.structs import replace

from streams.events.identity import STREAM_PATTERN
from streams.events.kinds import DERIVED_NAME_PATTERN
from streams.limits import NUMBER_MAX, REVISION_MAX

# Content of `glasses.state` is not trusted: these types refuse values on which a stage would fail later.
Number = Annotated[int, Meta(ge=0, le=NUMBER_MAX)]
Revision = Annotated[int, Meta(ge=0, le=REVISION_MAX)]
TimeNs = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Stream = Annotated[str, Meta(pattern=rf"\A{STREAM_PATTERN.pattern}\Z")]
#: A packed label as hex; empty if the current policy has no equivalent for it.
Label = Annotated[str, Meta(pattern=r"\A(?:[0-9a-f]{2})*\Z")]
Intervals = tuple[tuple[Number, Number], ...]
#: Version of the form on `glasses.state`; increased when the form changes incompatibly.
FORM = 3
#: Bytes of one batch in `Seen.recent`, and of one mark in `Seen.marks`.
RECENT_BYTES, MARK_BYTES = 32, 20
#: Name of an operator, which is the name of the kind that it makes.
OperatorName = Annotated[str, Meta(pattern=rf"\A(?:{DERIVED_NAME_PATTERN.pattern})\Z")]
#: For states that did not name operators: by captured kind, the operator and sample type of its windows.
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
    """Which numbers of a stream have arrived, with enough detail to tell a repeat from a collision.

    Holes below `floor` are no longer waited for. `recent` describes the last batches, `marks` a sample of all
    before them, both packed (see `streams.zones.seen`); `stride` is how many numbers two marks are apart.
    """

    ranges: Intervals = ()
    floor: Number = 0
    recent: bytes = b""
    marks: bytes = b""
    stride: Annotated[int, Meta(ge=1, le=2**63 - 1)] = 1


class OpenWindow(Struct, frozen=True):
    """Samples of a window that has not closed: consecutive numbers from `first`, all in one zone and session.

    `since_ns` is the capture time of the oldest, as in a batch. The operator defines the form of `samples`.
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


class KeptWindow(Struct, frozen=True):
    """A closed window that samples which come late can still change.

    `made` are the events in force that were made of its samples, as (number, revision). `ended` says that its
    session's end closed it, and that its stream has not gone on since. Without samples it stands for windows
    that are part of an open one again.
    """

    window: OpenWindow
    made: tuple[tuple[Number, Revision], ...]
    ended: bool = False


class LookBack(Struct, frozen=True):
    """What an operator keeps of a stream in which numbers are missing: closed windows, in order of numbers.

    Samples with numbers below `floor` come too late, because a window beside them is no longer kept.
    """

    windows: tuple[KeptWindow, ...] = ()
    floor: Number = 0


class Recent(Struct, frozen=True, omit_defaults=True):
    """A derived event that the situation of a later query may have as a parent.

    `position` is the offset in the partition at which it was made, `since_ns` the capture time of its oldest
    data.
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
    revision: Revision = 0


class OpenAnswer(Struct, frozen=True, kw_only=True):
    """An answer that may still get feedback, with what an example needs of its query.

    Only feedback of the wearer who asked counts. `language` is that of the query, empty in states of before
    it was kept. `candidate` is a version that answered in shadow, with `candidate_intent`; `heard` is the
    stream of the sentence that was said instead, if a rule withheld the answer. `since_ns` is the capture
    time of the oldest data that the answer was made from.
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
    language: str = ""
    candidate: Number = 0
    candidate_intent: str = ""
    heard: str = ""


class DeliveredNotice(Struct, frozen=True, omit_defaults=True):
    """A notice that was written for the device to show to a wearer, and whether it said that it has."""

    version: Annotated[str, Meta(pattern=r"\A[0-9a-f]{16}\Z")]
    acknowledged: bool = False


#: Notices by wearer, each oldest first.
Delivered = Mapping[str, tuple[DeliveredNotice, ...]]
#: Open windows by operator and stream; operators without open windows are left out.
Windows = Mapping[OperatorName, Mapping[Stream, OpenWindow]]
#: What is kept for late samples, by operator and stream; left out where nothing is kept.
LookBacks = Mapping[OperatorName, Mapping[Stream, LookBack]]


class DeviceState(Struct, frozen=True, forbid_unknown_fields=True):
    """The state of one device.

    `memories` are the operators' own states, each as JSON of the operator's type; operators without a state
    are left out.

    `seen` holds the streams of the newest incarnation only, because it retires the earlier ones. `worked` is
    the newest incarnation of which anything was processed. `policy_version` is the policy by which the labels
    are encoded. `versions` are those of the operators that left windows or memories, where they are not 1.
    `look_backs` are left out unless numbers of a stream are missing, or a session ended within a window.
    `notices` are left out in states of before notices were delivered.
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
    look_backs: LookBacks | UnsetType = UNSET
    notices: Delivered | UnsetType = UNSET

    def dump(self) -> bytes:
        """JSON bytes; equal states have equal bytes."""
        return json.encode((FORM, self), order="sorted")

    @classmethod
    def load(cls, value: bytes) -> DeviceState:
        """State from the bytes of `dump`, also from those of earlier versions.

        msgspec.ValidationError, or another ValueError, TypeError or AttributeError, if they hold no state.
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
        """Version of the operator that left windows or a memory in this state."""
        return self._versions.get(operator, 1)

    def after(
        self,
        operator: str,
        version: int,
        windows: Mapping[str, OpenWindow],
        memory: bytes | None,
        look_backs: Mapping[str, LookBack],
    ) -> DeviceState:
        """Return a copy with what an operator left: open windows, memory (None: as it was), look-backs."""
        opened = {name: of for name, of in self.windows.items() if name != operator}
        if windows:
            opened[operator] = windows
        kept = {name: of for name, of in self.kept.items() if name != operator}
        if look_backs:
            kept[operator] = look_backs
        memories = self.memories if memory is None else {**self.memories, operator: memory}
        versions = {name: of for name, of in self._versions.items() if name != operator}
        if version != 1 and (windows or look_backs or operator in memories):
            versions[operator] = version
        return replace(
            self, windows=opened, memories=memories, versions=versions or UNSET, look_backs=kept or UNSET
        )

    @property
    def without_windows(self) -> DeviceState:
        """A copy without windows, open or kept."""
        return replace(self, windows={}, look_backs=UNSET)

    def before(self, offset: int) -> DeviceState:
        """A copy in which all that was made has positions below `offset`."""
        last = offset - 1
        return replace(
            self,
            recents=tuple(replace(each, position=min(each.position, last)) for each in self.recents),
            answers=tuple(replace(each, position=min(each.position, last)) for each in self.answers),
        )

    def of_operators(self, names: frozenset[str], outdated: frozenset[str] = frozenset()) -> DeviceState:
        """Return a copy without the windows, memories and recent events of operators not in `names`.

        Operators in `outdated` lose windows and memories only.
        """
        kept, recent_kinds = names - outdated, {recent.kind for recent in self.recents}
        left = (*self.windows, *self.memories, *self.kept)
        if kept.issuperset(left) and names.issuperset(recent_kinds):
            return self
        return replace(
            self,
            windows={name: windows for name, windows in self.windows.items() if name in kept},
            memories={name: memory for name, memory in self.memories.items() if name in kept},
            recents=tuple(recent for recent in self.recents if recent.kind in names),
            versions={name: of for name, of in self._versions.items() if name in kept} or UNSET,
            look_backs={name: of for name, of in self.kept.items() if name in kept} or UNSET,
        )

    @property
    def delivered(self) -> Delivered:
        """Notices that were written for the device, by wearer."""
        return {} if self.notices is UNSET else self.notices

    @property
    def kept(self) -> LookBacks:
        """What operators keep for late samples, by operator and stream."""
        return {} if self.look_backs is UNSET else self.look_backs

    @property
    def _versions(self) -> Mapping[str, int]:
        return {} if self.versions is UNSET else self.versions

    def relabelled(self, policy_version: str, label: Callable[[str], str]) -> DeviceState:
        """Return a copy for another policy; `label` translates each label (hex) to that policy's encoding."""
        return replace(
            self,
            policy_version=policy_version,
            windows={
                operator: {
                    stream: replace(window, label=label(window.label)) for stream, window in of.items()
                }
                for operator, of in self.windows.items()
            },
            look_backs={
                operator: {stream: _relabelled(some, label) for stream, some in of.items()}
                for operator, of in self.kept.items()
            }
            or UNSET,
            recents=tuple(replace(recent, label=label(recent.label)) for recent in self.recents),
            answers=tuple(
                replace(answer, label=label(answer.label), query_label=label(answer.query_label))
                for answer in self.answers
            ),
        )


def _relabelled(some: LookBack, label: Callable[[str], str]) -> LookBack:
    windows = [
        replace(kept, window=replace(kept.window, label=label(kept.window.label))) for kept in some.windows
    ]
    return replace(some, windows=tuple(windows))


_DECODER: json.Decoder[tuple[int, DeviceState]] = json.Decoder(tuple[Literal[3], DeviceState])


def _taken_over(value: bytes) -> DeviceState:
    """Migrate a state from before forms were numbered, when windows were keyed by stream and places a field.

    States of 0.1.0 held samples as lists of numbers. They lack `since_ns`, so their unfinished work counts as
    data from the beginning of time; and they lack the wearer of an open answer, so no example is made of
    feedback on it.
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
    """Pack samples, given as numbers or as lists with the fields of one sample each."""
    rows = [tuple(row) if isinstance(row, list) else row for row in samples]
    return np.array(rows, sample).tobytes()
