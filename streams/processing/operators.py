"""Operators: what each reads, how it divides that into windows, what it derives from them and remembers.

`Operators` is a set of operators together with the kinds of event that they read and make. To use operators
of your own, call `Operators.of(kinds, ...)` and write a policy that labels their kinds.

Adding an operator to Sightline itself touches these files, and no other code:

- a module beside this one: its functions and its `Operator`
- `streams/processing/shipped.py`: the list of operators
- `streams/events/shipped.py`: the kind of event that it makes, with its columns
- `streams/topology.py`: its name among the `streams` of the stage `processing`, the kind that it reads in
  `READ_BY`, its name in `REVISED` if late samples revise what it made, and among what situations are made of
  if it cites a column
- `streams/policy/policies/vocabulary/glasses.toml`: the label of that kind, in the table `kinds`
- `docs/texts.toml`: a sentence about the kind and about each column; `make docs` makes the pages again
- a test in `tests/processing/`
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate
from typing import Any, Generic, TypeVar

import msgspec
import numpy as np
from msgspec import ValidationError

from streams.errors import InputError, MalformedError
from streams.events.batch import Batch
from streams.events.check import check_events
from streams.events.identity import NAME_PATTERN, derived_stream
from streams.events.kinds import Kind, Kinds
from streams.events.state import DeviceState, OpenWindow
from streams.limits import (
    KEPT_BYTES_MAX,
    KEPT_WINDOWS_MAX,
    MEMORIES_BYTES_MAX,
    OPEN_WINDOWS_BYTES_MAX,
    STREAMS_PER_DEVICE_MAX,
)
from streams.policy.step import Stretch
from streams.processing import situation
from streams.processing.situation import Citable
from streams.processing.windows import Breaks, ClosedWindow, Columns, Samples
from streams.topology import PROCESSING, STAGES

S = TypeVar("S")
#: Closed windows of many devices, in order -> columns of the event for each, None for no event.
Values = Callable[[Sequence[ClosedWindow]], Sequence[Columns | None]]


@dataclass(frozen=True)
class Memory(Generic[S]):
    """State that an operator keeps for each device from window to window.

    `type` is the type of the state, which msgspec must be able to write as JSON and read again. `start` is
    the initial state, and `bytes_max` bounds the JSON. `step` takes the state and the next closed window of a
    device and returns the columns of an event (None for no event) and the new state.
    """

    type: Any
    start: S
    bytes_max: int
    step: Callable[[S, ClosedWindow], tuple[Columns | None, S]]

    def load(self, value: bytes | None) -> S:
        """State from its JSON; msgspec's ValidationError or DecodeError if the bytes hold no such state."""
        # `start` is copied through JSON, so that a step that changes its state in place does not change it.
        remembered: S = msgspec.json.decode(value or msgspec.json.encode(self.start), type=self.type)
        return remembered

    def run(
        self, closed: Sequence[ClosedWindow], memories: Mapping[str, bytes]
    ) -> tuple[list[Columns | None], dict[str, bytes]]:
        """Columns of the event for each window, and the new states by device as JSON.

        MalformedError if a state is larger than `bytes_max`.
        """
        remembered: dict[str, S] = {}
        columns: list[Columns | None] = []
        for window in closed:
            source = window.source
            if source not in remembered:
                remembered[source] = self.load(memories.get(source))
            made, remembered[source] = self.step(remembered[source], window)
            columns.append(made)
        written = {source: msgspec.json.encode(state) for source, state in remembered.items()}
        if any(len(value) > self.bytes_max for value in written.values()):
            raise MalformedError(f"memory: found more than the {self.bytes_max} bytes that it may have")
        return columns, written


@dataclass(frozen=True, kw_only=True)
class Operator:
    """Makes events of kind `name` from the windows of every stream of kind `reads`.

    Parameters
    ----------
    name, version
        Recorded in every edge that the operator makes. A derived stream has the operator's name, followed by
        the name of the stream that it reads unless that is `primary`.
    samples
        Function from batches with n events in all to one array of shape (n,) and type `sample`.
    sample
        What is kept of an event until its window closes: a packed NumPy type without objects.
    length
        Maximal number of events in a window; None: a window is one batch, and never stays open.
    makes
        Function from closed windows to the columns of their events, or a `Memory` to process them one by one.
    cites
        The column that a situation shows, if any.
    breaks
        Function that finds further ends of windows (see `windows.roll`), if any.
    """

    name: str
    version: int
    reads: str
    primary: str
    sample: np.dtype[Any]
    samples: Callable[[Sequence[Batch]], Samples]
    length: int | None
    makes: Values | Memory[Any]
    cites: str = ""
    breaks: Breaks | None = None

    def stream(self, read: str) -> str:
        """Name of the stream that it makes of the stream `read` (law 1)."""
        return _stream(self.name, self.primary, read)

    def sampled(self, stretches: Sequence[Stretch]) -> list[Samples]:
        """Samples of every stretch; MalformedError unless there is one of type `sample` for each event."""
        counts = [stretch.run.count for stretch in stretches]
        samples = self.samples([batch for stretch in stretches for batch in stretch.batches])
        if samples.shape != (sum(counts),):
            raise MalformedError("samples: found another number of them, expected one for each event")
        if samples.dtype != self.sample:
            raise MalformedError(f"samples: found another type, expected {self.sample}")
        return [samples[end - count : end] for count, end in zip(counts, accumulate(counts), strict=True)]

    def values(
        self, closed: Sequence[ClosedWindow], memories: Mapping[str, bytes], kind: Kind
    ) -> tuple[Sequence[Columns | None], Mapping[str, bytes]]:
        """Columns of the event of `kind` for each window (None for no event), and the new memories by device.

        MalformedError if there are more or fewer than windows, or if columns are not those of the kind.
        """
        if isinstance(self.makes, Memory):
            made, written = self.makes.run(closed, memories)
        else:
            made, written = list(self.makes(closed)), {}
        if len(made) != len(closed):
            raise MalformedError("values: found another number of them, expected one for each window")
        check_events([columns for columns in made if columns is not None], kind)
        return made, written

    def can_leave(self, window: OpenWindow) -> bool:
        """Whether the samples of `window` have the size of samples that this operator may leave open."""
        size = len(window.samples)
        return size % self.sample.itemsize == 0 and size <= self.open_bytes_max

    @property
    def revises(self) -> bool:
        """Whether samples that come late change its windows: only numbers and tags may divide these.

        Where each batch is a window, or `breaks` divides them, late samples make windows of their own.
        """
        return self.length is not None and self.breaks is None

    @property
    def open_bytes_max(self) -> int:
        """Maximal size of the samples of one open window."""
        return 0 if self.length is None else self.length * self.sample.itemsize


@lru_cache(maxsize=1024)
def _stream(name: str, primary: str, read: str) -> str:
    base = read.partition("~")[0]
    return derived_stream(name if base == primary else f"{name}-{base}", read)


class Operators(Mapping[str, Operator]):
    """An ordered set of operators by name, and the kinds that they read and make.

    `kinds` are the given kinds, plus the kind of a situation with the columns that these operators cite.
    """

    def __init__(self, kinds: Kinds, operators: Mapping[str, Operator]) -> None:
        self._by_name = operators
        self.citable = tuple(_citable(operator, kinds) for operator in operators.values() if operator.cites)
        self.kinds = kinds.with_kind(Kind(situation.MAKER.name, False, situation.columns(self.citable)))

    @classmethod
    def of(cls, kinds: Kinds, *operators: Operator) -> Operators:
        """Make a set; InputError if operators and `kinds` do not fit, or need too much memory per device."""
        by_name: dict[str, Operator] = {}
        for operator in operators:
            if operator.name in by_name:
                raise InputError(
                    f"operator {operator.name}: found two of this name, expected one; give yours another name"
                )
            _check(operator, kinds)
            by_name[operator.name] = operator
        held = {operator.name: operator.open_bytes_max for operator in operators}
        held_max = OPEN_WINDOWS_BYTES_MAX // STREAMS_PER_DEVICE_MAX
        if sum(held.values()) > held_max:
            each = ", ".join(f"{name} {size}" for name, size in held.items())
            raise InputError(
                f"operators: found open windows of up to {sum(held.values())} bytes a stream ({each}), "
                f"expected at most {held_max} for all operators together; make windows shorter or samples "
                "smaller"
            )
        memory_bytes = sum(
            operator.makes.bytes_max for operator in operators if isinstance(operator.makes, Memory)
        )
        if memory_bytes > MEMORIES_BYTES_MAX:
            raise InputError(
                f"operators: found {memory_bytes} bytes that they may remember of a device, expected at most "
                f"{MEMORIES_BYTES_MAX}; remember less"
            )
        return cls(kinds, by_name)

    def __getitem__(self, name: str) -> Operator:
        return self._by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def __hash__(self) -> int:
        return hash(frozenset(self._by_name))

    @cached_property
    def by_read(self) -> Mapping[str, Sequence[Operator]]:
        """Operators by the kind that they read."""
        reads = dict.fromkeys(operator.reads for operator in self.values())
        return {kind: [operator for operator in self.values() if operator.reads == kind] for kind in reads}

    @cached_property
    def kept_max(self) -> Mapping[str, int]:
        """By operator, windows that it keeps of one stream for late samples at most.

        Operators that read one kind share what may be kept of a stream.
        """
        revising = [operator for operator in self.values() if operator.revises]
        share = Counter(operator.reads for operator in revising)
        return {
            operator.name: min(KEPT_WINDOWS_MAX, KEPT_BYTES_MAX // operator.open_bytes_max)
            // share[operator.reads]
            for operator in revising
        }

    def load(self, value: bytes) -> tuple[DeviceState, frozenset[str]]:
        """State of a device from the bytes of `DeviceState.dump`, and operators of which data was dropped.

        Windows and memories are dropped of operators that are not in the set, and of those that left them
        under another version; only the latter are returned. ValueError, TypeError or AttributeError if the
        bytes are no state, or a window or memory does not fit its operator.
        """
        state = DeviceState.load(value)
        outdated = frozenset(
            name
            for name in (*state.windows, *state.memories, *state.kept)
            if name in self and state.version(name) != self[name].version
        )
        state = state.of_operators(frozenset(self._by_name), outdated)
        # What is left is of these operators, as they are.
        for name, windows in state.windows.items():
            if not all(map(self[name].can_leave, windows.values())):
                raise ValidationError(
                    "a device's state: found a window that holds no samples of its operator"
                )
        for name, look_backs in state.kept.items():
            kept = [kept.window for some in look_backs.values() for kept in some.windows]
            if not self[name].revises or not all(map(self[name].can_leave, kept)):
                raise ValidationError(
                    "a device's state: found a kept window that holds no samples of its operator"
                )
        for name, memory in state.memories.items():
            makes = self[name].makes
            if not isinstance(makes, Memory) or len(memory) > makes.bytes_max:
                raise ValidationError("a device's state: found a memory that its operator does not have")
            makes.load(memory)
        return state, outdated


#: Names of streams that other stages make; an operator of such a name would make events with the same ids.
_TAKEN = frozenset(
    (situation.MAKER.name, *(name for stage in STAGES if stage.takes != PROCESSING for name in stage.streams))
)


def _check(operator: Operator, kinds: Kinds) -> None:
    """Check that an operator is consistent and fits the kinds; InputError if not."""
    of = f"operator {operator.name}"
    kind, read = kinds.get(operator.name), kinds.get(operator.reads)
    if operator.name in _TAKEN:
        raise InputError(f"{of}: found the name of what another stage makes; give it another name")
    if kind is None or kind.captured or not kind.columns:
        derived = ", ".join(each.name for each in kinds.derived)
        raise InputError(
            f"{of}: found no derived kind of its name, expected one with the columns that it makes, beside "
            f"{derived}"
        )
    if read is None or not read.captured:
        captured = ", ".join(each.name for each in kinds.captured)
        raise InputError(f"{of}: reads {operator.reads}, expected a kind that is captured: one of {captured}")
    if NAME_PATTERN.fullmatch(operator.primary) is None:
        raise InputError(
            f"{of}: found a primary stream of another form, expected lower-case letters, digits and hyphens"
        )
    if operator.version < 1 or (operator.length is not None and operator.length < 1):
        raise InputError(f"{of}: found a version or a length below 1, expected 1 or more")
    if operator.sample.hasobject or not operator.sample.itemsize:
        raise InputError(f"{of}: found samples of type {operator.sample}, expected one of fixed size")
    if operator.cites and kind.columns.get(operator.cites) not in {"number", "token"}:
        raise InputError(
            f"{of}: cites {operator.cites}, expected a column of kind {kind.name} that holds numbers or "
            f"tokens and is never null, of {', '.join(kind.columns)}"
        )
    if isinstance(operator.makes, Memory):
        start = msgspec.json.encode(operator.makes.start)
        if len(start) > operator.makes.bytes_max or operator.makes.load(start) != operator.makes.start:
            raise InputError(
                f"{of}: found a memory that begins with more than {operator.makes.bytes_max} bytes, or with "
                "something else than it reads again, expected a start that is of its type"
            )


def _citable(operator: Operator, kinds: Kinds) -> Citable:
    numeric = kinds[operator.name].columns[operator.cites] == "number"
    return Citable(operator.name, operator.cites, 0 if numeric else "unknown")
