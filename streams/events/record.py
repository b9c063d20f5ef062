"""The interface between an agent's core and its transport, independent of any Kafka client.

The transport is responsible for delivery (one fetch is one transaction), the core for what the records mean.
`Core.process` is a pure function of its arguments: on a retry or after a crash the same fetch with the same
state and inputs gives the same outcome. Waiting for a broker happens before it, in `LiveCore.inputs`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from msgspec import Struct

from streams.metrics import Tally

State = TypeVar("State")
Headers = Sequence[tuple[str, bytes]]


class Received(Protocol):
    """One record as read from a topic; aiokafka's ConsumerRecord satisfies this protocol."""

    @property
    def offset(self) -> int:
        """Position in the partition."""

    @property
    def timestamp(self) -> int:
        """Append time in ms since the epoch; of a derived record, that of its source."""

    @property
    def key(self) -> bytes | None:
        """Device, as bytes."""

    @property
    def value(self) -> bytes | None:
        """Payload."""

    @property
    def headers(self) -> Headers:
        """Headers in order; names may repeat."""


#: In the year 2116; in nanoseconds it fits into 64 bits with room to spare.
_STAMP_MS_MAX = 2**62 // 1_000_000


def stamp_ns(record: Received) -> int:
    """Return the append time of a record in ns since the epoch, clamped to 1970 ... 2116."""
    return min(max(record.timestamp, 0), _STAMP_MS_MAX) * 1_000_000


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A `Received` as it is passed on: a journal line, a record that was opened, a test.

    `wire` has the bytes that are on the topic, if the value is not these.
    """

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    wire: bytes | None = None


def bytes_on_topic(record: Received) -> bytes:
    """Bytes of a record's value as they are on the topic: sealed, if they are sealed there."""
    wire = record.wire if isinstance(record, StoredRecord) else None
    return (record.value or b"") if wire is None else wire


class LogId(Struct, frozen=True):
    """Identity of the log that offsets refer to: ids of cluster and topic, empty where they are unknown."""

    cluster: str = ""
    topic: str = ""

    def __str__(self) -> str:
        return f"topic id {self.topic or 'unknown'} in cluster {self.cluster or 'unknown'}"

    def other_than(self, known: LogId) -> bool:
        """Whether this is certainly another log than `known`; an unknown id proves nothing."""
        return any(
            ours and theirs and ours != theirs
            for ours, theirs in ((self.cluster, known.cluster), (self.topic, known.topic))
        )


class Loss(Struct, frozen=True):
    """Records of a partition that were deleted from its log too early; reading continues at `next_offset`.

    They have the offsets `first` to `last` (None for a recreated topic, where the number is unknown). Either
    they were never read or, if `state` is true, they were processed but the saved state does not include
    them. `since_ms` is the append time of the record before them, 0 if there was none, and `found_ms` is when
    the loss was detected (both in ms since the epoch).
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
        """Number of lost records; None if it is unknown."""
        return None if self.last is None else self.last - self.first + 1


class Seal(NamedTuple):
    """Under which key a value is to be sealed: the wearer's, for values that are kept for some days."""

    wearer: str
    days: int


class Outgoing(Struct, frozen=True):
    """One record to be written; `timestamp_ms` is the append time of its source.

    The timestamp has no default, because retention deletes a record dated 1970 within minutes. `seal` asks
    the shell to seal the value before it is written; None if it is written as it is.
    """

    topic: str
    partition: int
    key: bytes
    value: bytes | None
    headers: Headers
    timestamp_ms: int
    seal: Seal | None = None


@dataclass(frozen=True, slots=True)
class Fetch:
    """The records that one poll returns for one partition: the unit of a transaction."""

    topic: str
    partition: int
    records: Sequence[Received]

    @property
    def next_offset(self) -> int:
        """Offset to commit with this fetch."""
        return self.records[-1].offset + 1


@dataclass(frozen=True, slots=True)
class Outcome(Generic[State]):
    """Result of processing a fetch: the new state and the records to write.

    `checkpoint` asks the transport to write the state in the same transaction, because a recorded input
    (such as a new model or policy) changes the results from this fetch on. `tally` is counted when the fetch
    is committed. `aside` is what only the shell around the core looks at.
    """

    state: State
    outputs: Sequence[Outgoing]
    checkpoint: bool = False
    tally: Tally = field(default_factory=Tally)
    aside: Sequence[Any] = ()


class WholeState(Generic[State]):
    """Defaults for a `Core` whose state is one unit: if any part of it is unreadable, all of it is lost."""

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
        except Exception:  # noqa: BLE001  a core may raise anything on bytes that it did not write
            return False
        return True

    async def stands(self, state: State) -> bool:
        """See `LiveCore`."""
        del state
        return True

    async def inputs(self, state: State, fetch: Fetch, *, silent: bool) -> Any:
        """See `LiveCore`; by default a core reads nothing beside its fetch."""
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

    def moved(self, state: State, offset: int) -> State:
        """See `Core`."""
        del offset
        return state

    def left(self, partition: int) -> None:
        """See `LiveCore`."""


class Core(Protocol[State]):
    """The pure part of an agent. The transport calls it with one fetch of one partition at a time."""

    #: Whether processing records again, on a state that already includes them, changes nothing.
    knows_repeats: bool

    def empty(self, partition: int) -> State:
        """State of a partition that was never processed."""

    def restore(self, partition: int, entries: Mapping[str, bytes]) -> State:
        """State from the latest `glasses.state` values of a partition, by the names that `save` returned."""

    def save(self, before: State | None, after: State) -> Mapping[str, bytes]:
        """Values by name that differ between two states (all values if `before` is None)."""

    def readable(self, name: str, value: bytes) -> bool:
        """Whether `restore` can read an entry."""

    def made_of(self, names: frozenset[str]) -> frozenset[bytes] | None:
        """Keys of the source records from which the entries `names` can be rebuilt; None means all records.

        An entry that no record rebuilds adds no key.
        """

    def mended(self, state: State, remade: State, names: frozenset[str]) -> State:
        """Return `state` with the entries `names` taken from the rebuilt state `remade`.

        For entries that no record rebuilds, the core decides.
        """

    def tell(self, loss: Loss) -> Sequence[Outgoing]:
        """Records that document a loss, to be written in the transaction that skips the lost records."""

    def behind(self, state: State) -> State:
        """Return a usable state if `state` is older than the committed offset and cannot be brought up to it.

        Unfinished work (such as open windows) is dropped, because its results may have been written since and
        no result may be written twice.
        """

    def moved(self, state: State, offset: int) -> State:
        """Return `state` for a source that goes on at `offset`, lower than offsets that it was made of.

        The topic was made again, or lost its end. All that the state holds was before `offset`.
        """

    async def process(
        self, state: State, fetch: Fetch, inputs: Any, *, silent: bool, poisoned: Mapping[int, str]
    ) -> Outcome[State]:
        """Process one fetch: a pure function of the arguments, which awaits nothing but computation.

        `inputs` is all that the core reads beside state and fetch (policies, models, consents): an immutable
        value, taken once per fetch (see `LiveCore.inputs`). A replay supplies its own.

        `silent` marks a re-run of records between the checkpoint and the committed offset: the transport
        drops the outputs, and the core takes up no recorded input that its state does not already name.
        `poisoned` maps offsets of records that made an earlier attempt fail to the reason; these records are
        rejected without being decoded.
        """


class LiveCore(Core[State], Protocol[State]):
    """A core that can also wait for its inputs, such as policies and models. Transports run these."""

    async def stands(self, state: State) -> bool:
        """Whether all recorded inputs that a restored state names (such as its model) can still be read.

        Without them no fetch could be processed.
        """

    async def inputs(self, state: State, fetch: Fetch, *, silent: bool) -> Any:
        """Return the current `inputs` for `process`; awaited once per fetch, before it.

        UnavailableError if they are not available yet; the transport then waits and blames no record.
        """

    def left(self, partition: int) -> None:
        """Take note that the partition is not this worker's any more."""


@dataclass(frozen=True, slots=True)
class AgentSpec:
    """An agent to be run by a worker: its name, the topic that it reads, and its core."""

    name: str
    topic: str
    core: LiveCore[Any]
