"""One owned source partition: from assignment to revocation, in an order that loses nothing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import Any, Generic, Protocol, TypeVar

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError

from streams import clock, limits, metrics, topology
from streams.connection.connect import administering
from streams.connection.settings import Broker
from streams.errors import InputError, reason
from streams.events.record import Fetch, LiveCore, Received
from streams.kafka import budget
from streams.kafka.compute import OUTSIDE
from streams.kafka.groups import say_foreign
from streams.kafka.log_ids import log_ids
from streams.kafka.ownership import Delivery, Ownership
from streams.kafka.reader import committed, outside_sentence
from streams.kafka.restore import restored
from streams.kafka.standing import own_offset, refusal
from streams.kafka.transaction import ProducerLostError, TransactionWriter

log = logging.getLogger(__name__)

State = TypeVar("State")
#: Bytes of a value, until a first read has shown what they are.
_VALUE_BYTES_FIRST = 64 * 1024
#: After being fenced, long enough for a heartbeat to learn that the partition is somebody else's by now.
FENCED_PAUSE_S = limits.HEARTBEAT_INTERVAL_S
WAIT_BROKER_S = 10.0
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


class PartitionOwner(Generic[State]):
    """Keeps one assigned partition going until it is revoked.

    Whenever its producer is lost, it goes through the assignment order again.
    """

    def __init__(
        self,
        broker: Broker,
        agent: str,
        core: LiveCore[State],
        tp: TopicPartition,
        feed: Feed,
        *,
        group: str = "",
        accept_loss: bool = False,
    ) -> None:
        self._broker, self._agent, self._core, self._tp, self._feed = broker, agent, core, tp, feed
        self._group, self._accept_loss = group or agent, accept_loss
        #: What is owned now; None while the assignment is gone through.
        self.ownership: Ownership[State] | None = None
        self._value_bytes = _VALUE_BYTES_FIRST

    async def run(self) -> None:
        """Own the partition until cancelled.

        Raises
        ------
        InputError
            State and committed offset do not belong together, or the log does not hold what should be read
            next.
        CoreFailedError
            The core fails for another reason than its data.
        """
        pause_s = FENCED_PAUSE_S / 4
        while True:
            began_s = clock.monotonic_s()
            try:
                await self._own()
            except (ProducerLostError, AssertionError, *OUTSIDE) as error:
                # aiokafka asserts in `seek` that its subscription has an assignment
                # (`SubscriptionState._assigned_state`). It has none while a rebalance goes on: this partition
                # is lost, as with the IllegalStateError that it raises for an assignment without it.
                # An owner that went well for a while starts again at the shortest pause.
                pause_s = (
                    FENCED_PAUSE_S / 4
                    if clock.monotonic_s() - began_s > WAIT_BROKER_S
                    else min(pause_s * 2, FENCED_PAUSE_S)
                )
                log.warning(
                    "%s %s partition %d goes through assignment again in %.1f s: %s",
                    self._agent,
                    self._tp.topic,
                    self._tp.partition,
                    pause_s,
                    reason(error),
                )
            await asyncio.sleep(pause_s)

    async def _own(self) -> None:
        """Go through the assignment, always in this order: each step relies on the one before."""
        metrics.count("assignment_total", agent=self._agent, partition=str(self._tp.partition))
        writer = TransactionWriter(
            self._broker,
            self._group,
            self._tp,
            [
                TopicPartition(name, 0 if topology.topic(name).single else self._tp.partition)
                for name in topology.written_by(self._agent)
            ],
        )
        ownership: Ownership[State] | None = None
        try:
            await writer.start(
                WAIT_BROKER_S
            )  # 1. fences the previous owner and ends its transactions, so that ...
            committed, foreign = await self._committed()  # 2. ... the committed offset is final ...
            ownership = await self._restored(
                writer, committed, foreign=foreign
            )  # 3. and 4. ... and so is the state on glasses.state
            await self._feed.seek(
                self._tp, ownership.next_offset
            )  # 5. explicitly: a partition that never committed is not moved otherwise
            self.ownership = ownership
            await self._deliver(ownership)  # 6. only now
        finally:
            self.ownership = None
            await (writer.close() if ownership is None else ownership.end())

    async def _committed(self) -> tuple[int | None, bool]:
        """Ask the broker anew; return where our own commits stand, and whether somebody else's is in the way.

        The consumer's `committed()` may be answered by a request that left before the predecessor's commit.
        """
        commits = await committed(self._broker, self._group, [self._tp.topic], wait_s=WAIT_BROKER_S)
        commit = commits.get((self._tp.topic, self._tp.partition))
        own = await own_offset(self._broker, self._agent, self._tp, commit, WAIT_BROKER_S)
        if commit is None or own is None or commit.offset == own:
            return own, False
        async with administering(self._broker, WAIT_BROKER_S) as admin:
            await say_foreign(admin, self._agent, self._group, self._tp, commit.offset, own)
        return own, True

    async def _restored(
        self, writer: TransactionWriter, committed: int | None, *, foreign: bool
    ) -> Ownership[State]:
        logs = await log_ids(
            self._broker, {self._tp.topic, *topology.read_by(self._agent)}, wait_s=WAIT_BROKER_S
        )
        restoration = await restored(
            self._broker,
            self._agent,
            self._core,
            self._tp,
            committed,
            WAIT_BROKER_S,
            logs,
            group=self._group,
            accept_loss=self._accept_loss,
        )
        ownership = Ownership(
            self._agent,
            self._core,
            writer,
            restoration.state,
            restoration.next_offset,
            restoration.saved,
            restoration.lost,
            logs,
            restoration.seen_ms,
            restoration.uncommitted or foreign,
        )
        if restoration.losses:
            # On record with the commit that goes past them, or neither is.
            await ownership.save([record for loss in restoration.losses for record in self._core.tell(loss)])
        if unread := [loss for loss in restoration.losses if not loss.state]:
            log.error("%s. Accepted: gone on behind them", refusal(self._broker, unread))
        return ownership

    async def _deliver(self, ownership: Ownership[State]) -> None:
        """Deliver fetches until the producer is lost; raises what ended it."""
        budget.WORKER.join(ownership)
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
            budget.WORKER.leave(ownership)

    async def _pump(self, ownership: Ownership[State]) -> None:
        while True:
            await ownership.slots.acquire()
            records, size_bytes = await self._fetch(ownership)
            await self._feed.deliver(
                self._tp, Delivery(ownership, Fetch(self._tp.topic, self._tp.partition, records), size_bytes)
            )

    async def _fetch(self, ownership: Ownership[State]) -> tuple[list[Received], int]:
        """Wait for a record, then take what is there up to a bound.

        A small fetch gets some time to fill with what comes. The bounds are records, bytes, and what the
        worker's budget leaves. Also returns the bytes, which it has taken of the budget.
        """
        collected: list[Received] = []
        size, deadline_s, records_max = 0, 0.0, ownership.records_max
        while len(collected) < records_max and size < limits.FETCH_BYTES_MAX:
            left_s = deadline_s - clock.monotonic_s() if collected else _POLL_S
            room = await self._room(ownership, size)
            if left_s <= 0 or room <= 0:
                break
            most = min(max(room // self._value_bytes, 1), records_max - len(collected))
            try:
                await self._feed.flowing()
                some, taken = await self._read(ownership, left_s, most)
            except NoOffsetForPartitionError:
                # aiokafka looked for a committed offset before the explicit seek, and says so only now.
                await self._feed.seek(self._tp, ownership.next_offset)
                continue
            except OffsetOutOfRangeError as error:
                raise InputError(outside_sentence(error)) from error
            if not some and not collected:
                await ownership.rest()
            if some and not collected:
                deadline_s = clock.monotonic_s() + limits.FETCH_WAIT_MS / 1000
            collected += some
            size += taken
        return collected, size

    async def _room(self, ownership: Ownership[State], size: int) -> int:
        """Bytes that the next read may bring.

        One that waits for a first record waits on the partition's own share.
        """
        if size:
            return min(budget.WORKER.room_bytes(ownership), limits.FETCH_BYTES_MAX - size)
        await budget.WORKER.wait_for_room(ownership)
        return min(
            budget.WORKER.room_bytes(ownership, common=False) or self._value_bytes, limits.FETCH_BYTES_MAX
        )

    async def _read(
        self, ownership: Ownership[State], timeout_s: float, most: int
    ) -> tuple[Sequence[Received], int]:
        """Read at most `most` records.

        Meanwhile the budget holds what they are expected to take, and afterwards what they take.
        """
        taken = 0
        budget.WORKER.expect(ownership, most * self._value_bytes)
        try:
            some = await self._feed.records(self._tp, timeout_s, most)
            if some:
                taken = sum(len(record.value or b"") for record in some)
                self._value_bytes = max(taken // len(some), 1)
        finally:
            budget.WORKER.take(ownership, taken)
        return some, taken
