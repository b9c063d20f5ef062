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
#: Encodings of a value, as the header `content-type` names them.
JSON, MESSAGEPACK = b"application/json", b"application/vnd.msgpack"


class Context(Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """What a device reports about its surroundings. Hashable, so that rulings on equal contexts are cached.

    `consent` is the number of the consent record that the wearer gave on this device, 0 for none.
    """

    place: Place
    people_near: PeopleNear
    minor_near: bool
    capture_light: bool
    worn: bool
    consent: Annotated[int, Meta(ge=0, le=NUMBER_MAX)]


Change = tuple[int, Context]

#: Each field of a context with the values, or the type, that it may have.
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

    This base class exists so that importing `Batch` does not import NumPy: the commands that query the store
    need batches but no arrays, and importing NumPy takes longer than a query.
    """

    __slots__ = ()

    @abstractmethod
    def part(self, start: int, end: int) -> PackedColumns:
        """Events `start` to `end` (exclusive)."""


class Batch(Struct, frozen=True, kw_only=True):
    """Consecutive events of one stream.

    Times are capture times in ns since the Unix epoch on the device's clock: `t0_ns + i * dt_ns`, or
    `t_ns[i]`. `columns` holds one list per field, each of `run.count` values; it is `Packed` if the batch
    travels as MessagePack. `changes` lists where the context changes within the batch, as (index of the first
    event, full context). `position` is the batch's offset in `glasses.captured`, which orders batches. Of
    derived batches only those made from feedback have a context.

    `appended_ns` is the broker's append time of the record at `position`; it never decreases with the
    position, and unlike capture times it does not depend on the device's clock. `since_ns` of a derived batch
    is the capture time of the oldest event that it was made from, 0 if that is the batch's own time.
    `revision` counts the corrections of a derived batch's events.
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
        """Identity of the first event, which is the batch's CloudEvents id."""
        return format_id(self.source, self.stream, self.run.first, self.revision)

    @property
    def content_type(self) -> bytes:
        """Encoding of the value: JSON or MESSAGEPACK."""
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
        """Capture time of the oldest data in the batch, at most the append time if the clock is ahead."""
        own_ns = self.t0_ns if self.t_ns is None else min(self.t_ns)
        return min(self.since_ns or own_ns, self.appended_ns)

    @property
    def consent(self) -> int:
        """Number of the consent record that the device knew of, 0 for none."""
        return self.context.consent if self.context is not None else 0

    def spans(self) -> list[tuple[int, int, Context | None]]:
        """(start, end, context) of each part whose events share one context; `end` is exclusive."""
        if not self.changes:
            return [(0, self.run.count, self.context)]
        starts = [0, *(at for at, _ in self.changes)]
        ends = [*starts[1:], self.run.count]
        return list(zip(starts, ends, [self.context, *(context for _, context in self.changes)], strict=True))

    def part(self, start: int, end: int, context: Context | None) -> Batch:
        """Events `start` to `end` (exclusive) as a batch of their own, with `context` for all of them."""
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
    """Events `start` to `end` (exclusive) of columns; packed columns stay packed."""
    if isinstance(columns, PackedColumns):
        return columns.part(start, end)
    return {name: values[start:end] for name, values in columns.items()}
