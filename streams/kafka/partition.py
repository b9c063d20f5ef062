"""One owned source partition: from assignment to revocation, in an order that loses nothing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError

from streams import clock, limits
from streams.errors import InputError, UnavailableError
from streams.events.record import Core, Fetch, Received
from streams.kafka import checkpoint
from streams.kafka.compute import compute
from streams.kafka.reader import Follower, committed_offsets, outside_sentence
from streams.kafka.transaction import ProducerLostError, TransactionWriter

log = logging.getLogger(__name__)

State = TypeVar("State")
#: With 2 fetches in flight on 4 partitions this keeps a worker under 32 MB.
FETCH_BYTES_MAX = 4 * 1024 * 1024
#: After being fenced, long enough for a heartbeat to learn that the partition is somebody else's by now.
FENCED_PAUSE_S = limits.HEARTBEAT_INTERVAL_S
WAIT_BROKER_S = 10.0
STOP_WORK_S = 1.5
_POLL_S = 0.5


class Feed(Protocol):
    """What a partition needs from the consumer that owns its group membership."""

    async def seek(self, tp: TopicPartition, offset: int) -> None:
        """Move the consumer's position."""

    async def flowing(self) -> None:
        """Return once records may be delivered (not in the middle of a rebalance)."""

    async def records(self, tp: TopicPartition, timeout_s: float, max_records: int) -> Sequence[Received]:
        """Read records of this partition alone; empty after `timeout_s` seconds without any."""

    async def deliver(self, tp: TopicPartition, delivery: Delivery) -> None:
        """Hand a delivery to the agent of this partition."""


@dataclass(eq=False)
class Ownership(Generic[State]):
    """One time of owning a partition: a producer, the state after the last commit, and where the next fetch begins.

    Delivery: exactly once. `state` and `next_offset` change after the commit only, so a failed transaction leaves them as committed.
    """

    agent: str
    core: Core[State]
    writer: TransactionWriter
    state: State
    next_offset: int
    saved: State | None
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(limits.FETCHES_IN_FLIGHT_MAX))
    ended: bool = False
    saved_s: float = field(default_factory=clock.monotonic_s)
    lost: asyncio.Future[ProducerLostError] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    work: asyncio.Task[None] | None = None

    async def process(self, fetch: Fetch) -> None:
        """Compute first, transact last, change the state in memory after that. Fetches of an ended ownership are left alone.

        Raises
        ------
        CoreFailedError
            The core fails for another reason than its data.
        """
        if self.ended:
            return
        self.work = asyncio.create_task(self._step(fetch))
        try:
            # The agent may be cancelled at any moment; a transaction is better finished than left open.
            await asyncio.shield(self.work)
        except ProducerLostError as error:
            self.ended = True
            if not self.lost.done():
                self.lost.set_result(error)
        finally:
            self.slots.release()

    async def _step(self, fetch: Fetch) -> None:
        if fetch.records[0].offset < self.next_offset:
            raise ProducerLostError(f"offset {fetch.records[0].offset} came again, expected {self.next_offset} or later")
        outcome = await compute(self.core, self.state, fetch, silent=False)
        outputs = list(outcome.outputs)
        now_s = clock.monotonic_s()
        save = outcome.checkpoint or self.saved is None or now_s - self.saved_s >= limits.CHECKPOINT_INTERVAL_S
        if save:
            entries = self.core.save(self.saved, outcome.state)
            outputs += checkpoint.outputs(self.agent, fetch.partition, entries, fetch.next_offset, fetch.records[-1].timestamp)
        await self.writer.write(outputs, fetch.next_offset)
        self.state, self.next_offset = outcome.state, fetch.next_offset
        if save:
            self.saved, self.saved_s = outcome.state, now_s

    async def end(self) -> None:
        """Let a running fetch finish for 1.5 s, then abort it; close the producer."""
        self.ended = True
        if self.work is not None and not self.work.done():
            await asyncio.wait({self.work}, timeout=STOP_WORK_S)
            self.work.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await self.work
        await self.writer.close()


@dataclass(frozen=True, slots=True)
class Delivery:
    """A fetch on its way to the agent, with the ownership it was read under."""

    ownership: Ownership[Any]
    fetch: Fetch

    async def process(self) -> None:
        """Process the fetch in its transaction, unless its ownership has ended meanwhile."""
        await self.ownership.process(self.fetch)


class PartitionOwner(Generic[State]):
    """Keeps one assigned partition going until it is revoked, going through the assignment order whenever its producer is lost."""

    def __init__(self, broker: str, agent: str, core: Core[State], tp: TopicPartition, feed: Feed) -> None:
        self._broker, self._agent, self._core, self._tp, self._feed = broker, agent, core, tp, feed

    async def run(self) -> None:
        """Own the partition until cancelled.

        Raises
        ------
        InputError
            State and committed offset do not belong together, or the log does not hold what should be read next.
        CoreFailedError
            The core fails for another reason than its data.
        """
        pause_s = FENCED_PAUSE_S / 4
        while True:
            began_s = clock.monotonic_s()
            try:
                await self._own()
            except (ProducerLostError, UnavailableError, KafkaError) as error:
                # One that went well for a while starts again at the shortest pause.
                pause_s = FENCED_PAUSE_S / 4 if clock.monotonic_s() - began_s > WAIT_BROKER_S else min(pause_s * 2, FENCED_PAUSE_S)
                log.warning("%s %s partition %d goes through assignment again in %.1f s: %s",
                            self._agent, self._tp.topic, self._tp.partition, pause_s, error)
            await asyncio.sleep(pause_s)

    async def _own(self) -> None:
        """Go through the assignment, always in this order: each step relies on the one before."""
        writer = TransactionWriter(self._broker, self._agent, self._tp)
        ownership: Ownership[State] | None = None
        try:
            await writer.start(WAIT_BROKER_S)  # 1. fences the previous owner and ends its transaction, so that ...
            committed = await self._committed()  # 2. ... the committed offset is final ...
            ownership = await self._restored(writer, committed)  # 3. and 4. ... and so is the state on glasses.state
            await self._feed.seek(self._tp, ownership.next_offset)  # 5. explicitly: a partition that never committed is not moved otherwise
            await self._deliver(ownership)  # 6. only now
        finally:
            await (writer.close() if ownership is None else ownership.end())

    async def _committed(self) -> int | None:
        """Ask the broker anew. The consumer's `committed()` may be answered by a request that left before the predecessor's commit."""
        found = await committed_offsets(self._broker, self._agent, [self._tp.topic], wait_s=WAIT_BROKER_S)
        return found.get((self._tp.topic, self._tp.partition))

    async def _restored(self, writer: TransactionWriter, committed: int | None) -> Ownership[State]:
        partition = self._tp.partition
        stored = await checkpoint.load(self._broker, self._agent, partition, wait_s=WAIT_BROKER_S)
        if stored.offset is not None and (committed is None or stored.offset > committed):
            raise InputError(
                f"Agent {self._agent} has a state of {self._tp.topic} partition {partition} at offset {stored.offset}, but its group "
                f"committed {committed}; the two are written together. The offsets were reset or have expired: restore them, "
                "or start on a new broker."
            )
        if stored.offset is None:
            state = self._core.empty(partition)
            ownership = Ownership(self._agent, self._core, writer, state, 0, None)
        else:
            state = self._core.restore(partition, stored.entries)
            ownership = Ownership(self._agent, self._core, writer, state, stored.offset, state)
        if committed is not None and ownership.next_offset < committed:
            await self._run_silently(ownership, committed)
        return ownership

    async def _run_silently(self, ownership: Ownership[State], committed: int) -> None:
        """Process [checkpoint, committed) again with outputs dropped: the state is then what it was at the commit."""
        first = {} if ownership.saved is None else {self._tp.partition: ownership.next_offset}
        async with Follower(self._broker, self._tp.topic, first, partitions=[self._tp.partition], wait_s=WAIT_BROKER_S) as follower:
            while (await follower.positions())[self._tp.partition] < committed:
                polled = await follower.poll(int(_POLL_S * 1000), limits.FETCH_RECORDS_MAX)
                records = [record for record in polled.get(self._tp.partition, ()) if record.offset < committed]
                if records:
                    outcome = await compute(self._core, ownership.state, Fetch(self._tp.topic, self._tp.partition, records), silent=True)
                    ownership.state = outcome.state
        ownership.next_offset = committed

    async def _deliver(self, ownership: Ownership[State]) -> None:
        """Deliver fetches until the producer is lost; raises what ended it."""
        pump = asyncio.create_task(self._pump(ownership))
        try:
            ends: tuple[asyncio.Future[Any], ...] = (pump, ownership.lost)
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if ownership.lost.done():
                raise ownership.lost.result()
            pump.result()
        finally:
            pump.cancel()
            with contextlib.suppress(asyncio.CancelledError, KafkaError):
                await pump

    async def _pump(self, ownership: Ownership[State]) -> None:
        while True:
            await ownership.slots.acquire()
            records = await self._fetch(ownership)
            await self._feed.deliver(self._tp, Delivery(ownership, Fetch(self._tp.topic, self._tp.partition, records)))

    async def _fetch(self, ownership: Ownership[State]) -> list[Received]:
        """Wait for a record, then take what is there up to a bound, or what comes within the time that lets a small fetch fill."""
        collected: list[Received] = []
        size, deadline_s = 0, 0.0
        while len(collected) < limits.FETCH_RECORDS_MAX and size < FETCH_BYTES_MAX:
            left_s = deadline_s - clock.monotonic_s() if collected else _POLL_S
            if left_s <= 0:
                break
            try:
                await self._feed.flowing()
                some = await self._feed.records(self._tp, left_s, limits.FETCH_RECORDS_MAX - len(collected))
            except NoOffsetForPartitionError:
                # aiokafka looked for a committed offset before the explicit seek, and says so only now.
                await self._feed.seek(self._tp, ownership.next_offset)
                continue
            except OffsetOutOfRangeError as error:
                raise InputError(outside_sentence(error)) from error
            if some and not collected:
                deadline_s = clock.monotonic_s() + limits.FETCH_WAIT_MS / 1000
            collected += some
            size += sum(len(record.value or b"") for record in some)
        return collected
