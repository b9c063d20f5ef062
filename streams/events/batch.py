"""A batch: consecutive events of one stream; after the zones stage, of one zone (law 2)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, get_args

from msgspec import Meta, Struct
from msgspec.structs import replace

from streams.events.identity import format_id
from streams.events.runs import Run
from streams.limits import NUMBER_MAX

Place = Literal["home", "work", "street", "cafe", "clinic", "unknown"]
PeopleNear = Literal["nobody", "household", "strangers"]
#: What a value can be, as the header `content-type` says it.
JSON, MESSAGEPACK = b"application/json", b"application/vnd.msgpack"


class Context(Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """What a device says about its surroundings; hashable, so that what follows from one is decided once.

    `consent` is the number of the consent record that the wearer gave on this device, 0 for none.
    """

    place: Place
    people_near: PeopleNear
    minor_near: bool
    capture_light: bool
    worn: bool
    consent: Annotated[int, Meta(ge=0, le=NUMBER_MAX)]


Change = tuple[int, Context]

#: What a device may say about its surroundings, with the values it may say.
CONTEXT_VALUES: Mapping[str, frozenset[str] | type] = {
    "place": frozenset(get_args(Place)),
    "people_near": frozenset(get_args(PeopleNear)),
    "minor_near": bool,
    "capture_light": bool,
    "worn": bool,
    "consent": int,
}


class PackedColumns(Mapping[str, list[Any]]):
    """Columns as they travel in MessagePack: `streams.events.packed.Packed`.

    Batches know only this, because commands that ask the store load batches and have no use for NumPy, which
    takes longer to load than they take to answer.
    """

    __slots__ = ()

    @abstractmethod
    def part(self, start: int, end: int) -> PackedColumns:
        """Events `start` to `end` (exclusive)."""


class Batch(Struct, frozen=True, kw_only=True):
    """Consecutive events of one stream.

    Times are capture times in ns since the Unix epoch on the device's clock: `t0_ns + i * dt_ns`, or
    `t_ns[i]`. `columns` hold one list per field, each of `run.count` values; they are `Packed` where the
    batch travels as MessagePack. `changes` say from which event on the context is another one (index in the
    batch, full context); `position` is the offset in `glasses.captured`, which is the order. A derived batch
    that no feedback is about has no context.

    `appended_ns` is the broker's time at that place (never before that of an earlier place): what anybody but
    the device can say of when. `since_ns` of a derived batch is when the oldest of what it holds was
    captured, 0 where that is its own time. `revision` counts the corrections of a derived batch's events.
    """

    kind: str
    source: str
    wearer_id: str
    session_id: str
    stream: str
    run: Run
    t0_ns: int
    dt_ns: int
    origin: str
    context: Context | None
    columns: Mapping[str, Sequence[Any]]
    t_ns: Sequence[int] | None = None
    changes: tuple[Change, ...] = ()
    position: int = 0
    clock: str = "unix"
    appended_ns: int = 0
    since_ns: int = 0
    revision: int = 0

    @property
    def first_id(self) -> str:
        """Identity of the first event: the batch's CloudEvents id."""
        return format_id(self.source, self.stream, self.run.first, self.revision)

    @property
    def content_type(self) -> bytes:
        """How it travels: JSON or MESSAGEPACK."""
        return MESSAGEPACK if isinstance(self.columns, PackedColumns) else JSON

    def time_ns(self, index: int) -> int:
        """Capture time of the event at `index`."""
        return self.t_ns[index] if self.t_ns is not None else self.t0_ns + index * self.dt_ns

    @property
    def last_ns(self) -> int:
        """Capture time of the last event."""
        return self.time_ns(self.run.count - 1)

    @property
    def oldest_ns(self) -> int:
        """When the oldest of it was captured: a device's clock may be late here, and never ahead."""
        own_ns = self.t0_ns if self.t_ns is None else min(self.t_ns)
        return min(self.since_ns or own_ns, self.appended_ns)

    @property
    def consent(self) -> int:
        """Number of the consent that the device knew of, 0 for none."""
        return self.context.consent if self.context is not None else 0

    def spans(self) -> list[tuple[int, int, Context | None]]:
        """(start, end, context) of the parts with one context, `end` exclusive."""
        if not self.changes:
            return [(0, self.run.count, self.context)]
        starts = [0, *(at for at, _ in self.changes)]
        ends = [*starts[1:], self.run.count]
        return list(zip(starts, ends, [self.context, *(context for _, context in self.changes)], strict=True))

    def part(self, start: int, end: int, context: Context | None) -> Batch:
        """Events `start` to `end` (exclusive) as a batch of their own, all in `context`."""
        run = Run(self.run.first + start * self.run.step, self.run.step, end - start)
        return replace(
            self,
            run=run,
            t0_ns=self.time_ns(start),
            context=context,
            changes=(),
            t_ns=None if self.t_ns is None else self.t_ns[start:end],
            columns=_sliced(self.columns, start, end),
        )


def _sliced(columns: Mapping[str, Sequence[Any]], start: int, end: int) -> Mapping[str, Sequence[Any]]:
    """Events `start` to `end` (exclusive) of columns, packed if those are."""
    if isinstance(columns, PackedColumns):
        return columns.part(start, end)
    return {name: values[start:end] for name, values in columns.items()}
