"""What an agent's core receives from and gives back to its transport; knows nothing of Kafka clients.

The transport owns delivery (one fetch is one transaction); the core owns meaning. `Core.process` is a pure
function of its arguments: on a retry or after a crash the same fetch with the same state and the same inputs
gives the same outcome. What waits for a broker is `LiveCore.inputs`, before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from msgspec import Struct

State = TypeVar("State")
Headers = Sequence[tuple[str, bytes]]


class Received(Protocol):
    """One record as read from a topic; aiokafka's ConsumerRecord satisfies this as it is."""

    @property
    def offset(self) -> int:
        """Position in the partition."""

    @property
    def timestamp(self) -> int:
        """Milliseconds since the epoch, the broker's: of what was made, that of its source."""

    @property
    def key(self) -> bytes | None:
        """Device, as bytes."""

    @property
    def value(self) -> bytes | None:
        """Payload."""

    @property
    def headers(self) -> Headers:
        """Header list in order, names may repeat."""


#: 2116, well inside 64 bits of nanoseconds.
_STAMP_MS_MAX = 2**62 // 1_000_000


def stamp_ns(record: Received) -> int:
    """Return when a record was appended, ns since the epoch.

    Of 64 bits that are no time, the nearest that is.
    """
    return min(max(record.timestamp, 0), _STAMP_MS_MAX) * 1_000_000


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A `Received` that did not come from Kafka: a journal line, a test."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class LogId(Struct, frozen=True):
    """The log that offsets of a topic belong to: ids of cluster and topic, empty where nobody told them."""

    cluster: str = ""
    topic: str = ""

    def __str__(self) -> str:
        return f"topic id {self.topic or 'unknown'} in cluster {self.cluster or 'unknown'}"

    def other_than(self, known: LogId) -> bool:
        """Whether this is certainly not the `known` one; a part that nobody told proves nothing."""
        return any(
            ours and theirs and ours != theirs
            for ours, theirs in ((self.cluster, known.cluster), (self.topic, known.topic))
        )


class Loss(Struct, frozen=True):
    """Records of a partition that were removed from its log too early; reading goes on at `next_offset`.

    They are `first` to `last`; of a log that was made again nobody can say how many (None). Nobody has read
    them, or they were processed, but the `state` that is there has not seen them. `since_ms` is when the
    record before them was appended, 0 where there was none, and `found_ms` when it was found out that they
    are gone (both ms since the epoch).
    """

    topic: str
    partition: int
    first: int
    last: int | None
    next_offset: int
    since_ms: int
    found_ms: int
    state: bool = False

    @property
    def records(self) -> int | None:
        """How many; None where nobody can say."""
        return None if self.last is None else self.last - self.first + 1


class Outgoing(Struct, frozen=True):
    """One record to be written; `partition` is explicit, `timestamp_ms` when its source was appended.

    Every record says its time: retention deletes one of 1970 within minutes.
    """

    topic: str
    partition: int
    key: bytes
    value: bytes | None
    headers: Headers
    timestamp_ms: int


@dataclass(frozen=True, slots=True)
class Fetch:
    """What one poll hands over for one partition: the unit of a transaction."""

    topic: str
    partition: int
    records: Sequence[Received]

    @property
    def next_offset(self) -> int:
        """Offset to commit once this fetch is done."""
        return self.records[-1].offset + 1


@dataclass(frozen=True, slots=True)
class Outcome(Generic[State]):
    """What a core made of a fetch: the new state and the records to write.

    `checkpoint` asks the transport to write the state in the same transaction, because a recorded input
    (model take-up, policy switch) changed the results from this fetch on.
    """

    state: State
    outputs: Sequence[Outgoing]
    checkpoint: bool = False


class WholeState(Generic[State]):
    """Part of a `Core` whose state is one: what cannot be read of it takes the whole with it."""

    knows_repeats = False

    def empty(self, partition: int) -> State:
        """See `Core`."""
        raise NotImplementedError

    def restore(self, partition: int, entries: Mapping[str, bytes]) -> State:
        """See `Core`."""
        raise NotImplementedError

    def readable(self, name: str, value: bytes) -> bool:
        """See `Core`."""
        try:
            self.restore(0, {name: value})
        except Exception:  # noqa: BLE001  whatever a core says of bytes that no core wrote
            return False
        return True

    async def stands(self, state: State) -> bool:
        """See `LiveCore`."""
        del state
        return True

    async def inputs(self, state: State, fetch: Fetch, *, silent: bool) -> Any:
        """See `LiveCore`: such a core reads nothing beside its fetch unless it says so."""
        del state, fetch, silent

    def made_of(self, names: frozenset[str]) -> frozenset[bytes] | None:
        """See `Core`."""
        del names
        return None

    def mended(self, state: State, remade: State, names: frozenset[str]) -> State:
        """See `Core`."""
        del state, names
        return remade

    def tell(self, loss: Loss) -> Sequence[Outgoing]:
        """See `Core`."""
        del loss
        return ()

    def behind(self, state: State) -> State:
        """See `Core`."""
        return state


class Core(Protocol[State]):
    """The pure part of an agent, driven by the transport one fetch at a time, each partition by itself."""

    #: Whether records that a state has seen may be run again over it, and change nothing.
    knows_repeats: bool

    def empty(self, partition: int) -> State:
        """State of a partition that nobody processed before."""

    def restore(self, partition: int, entries: Mapping[str, bytes]) -> State:
        """State from this partition's latest `glasses.state` values, by the `name`s that `save` returned."""

    def save(self, before: State | None, after: State) -> Mapping[str, bytes]:
        """Values by name that differ between two states (all of them when `before` is None)."""

    def readable(self, name: str, value: bytes) -> bool:
        """Whether `restore` can read an entry."""

    def made_of(self, names: frozenset[str]) -> frozenset[bytes] | None:
        """Keys of the records that make entries again, none for those that none makes; None: all records."""

    def mended(self, state: State, remade: State, names: frozenset[str]) -> State:
        """Return `state` with the entries `names` as they are in `remade`.

        The core decides where no record makes them again.
        """

    def tell(self, loss: Loss) -> Sequence[Outgoing]:
        """Records that put a loss on record, for the transaction that goes on behind it."""

    def behind(self, state: State) -> State:
        """Return a state that has not seen the last that was processed, without what it has half made.

        It may have been made since, and nothing is made twice.
        """

    async def process(
        self, state: State, fetch: Fetch, inputs: Any, *, silent: bool, poisoned: Mapping[int, str]
    ) -> Outcome[State]:
        """Process one fetch: a pure function of the arguments, which awaits nothing but computation.

        `inputs` is all that the core reads beside state and fetch (policies, models, consents): a value that
        nobody changes, taken once a fetch (see `LiveCore.inputs`); a replay makes its own.

        `silent`: a re-run between checkpoint and committed offset; outputs are dropped by the transport, and
        the core takes up no recorded input that its state does not already name. `poisoned`: offset to reason
        of records that made an earlier attempt fail: they are rejected without being looked into.
        """


class LiveCore(Core[State], Protocol[State]):
    """A core with the shell around it, which waits for what the core reads: what the transport drives."""

    async def stands(self, state: State) -> bool:
        """Whether what a restored state has taken up can be had; no fetch could be processed else."""

    async def inputs(self, state: State, fetch: Fetch, *, silent: bool) -> Any:
        """What `process` reads beside state and fetch, as it is now; awaited once a fetch, before it.

        UnavailableError when it cannot be had yet; no record is to blame for that.
        """


@dataclass(frozen=True, slots=True)
class AgentSpec:
    """One agent as a worker runs it: its name, the topic that it reads, and its core."""

    name: str
    topic: str
    core: LiveCore[Any]
