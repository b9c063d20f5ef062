"""One assigned source partition, from assignment to revocation, with steps in an order that loses nothing."""

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
from streams.errors import InputError, reason
from streams.events.record import Fetch, LiveCore, Received
from streams.kafka import budget
from streams.kafka.compute import OUTSIDE
from streams.kafka.groups import say_foreign
from streams.kafka.log_ids import log_ids
from streams.kafka.ownership import Delivery, Ownership
from streams.kafka.reader import committed, outside_sentence
from streams.kafka.restore import restored
from streams.kafka.standing import own_offset, removed
from streams.kafka.transaction import ProducerLostError, TransactionWriter
from streams.settings.kafka import Broker

log = logging.getLogger(__name__)

State = TypeVar("State")
#: Assumed size of a value before the first read.
_VALUE_BYTES_FIRST = 64 * 1024
#: Pause after being fenced: by then a heartbeat has shown whether another worker has the partition.
FENCED_PAUSE_S = limits.HEARTBEAT_INTERVAL_S
WAIT_BROKER_S = 10.0
_POLL_S = 0.5


class Feed(Protocol):
    """What a partition needs from the consumer that owns its group membership."""

    async def seek(self, tp: TopicPartition, offset: int) -> None:
        """Set the consumer's position."""

    async def flowing(self) -> None:
        """Wait until records may be delivered (not during a rebalance)."""

    async def records(self, tp: TopicPartition, timeout_s: float, max_records: int) -> Sequence[Received]:
        """Read records of this partition only; empty after `timeout_s` seconds without any."""

    async def deliver(self, tp: TopicPartition, delivery: Delivery) -> None:
        """Pass a delivery to the agent of this partition."""


class PartitionOwner(Generic[State]):
    """Keeps one assigned partition running until it is revoked.

    If its producer is lost, it repeats all steps of the assignment.
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
        #: The current ownership; None during the steps of the assignment.
        self.ownership: Ownership[State] | None = None
        self._value_bytes = _VALUE_BYTES_FIRST

    async def run(self) -> None:
        """Own the partition until cancelled.

        Raises
        ------
        InputError
            State and committed offset do not belong together, or the log does not have the record that should
            be read next.
        CoreFailedError
            The core fails for a reason that is not in the data.
        """
        pause_s = FENCED_PAUSE_S / 4
        while True:
            began_s = clock.monotonic_s()
            try:
                await self._own()
            except (ProducerLostError, AssertionError, *OUTSIDE) as error:
                # An AssertionError means that the partition was lost: aiokafka asserts in `seek` that there
                # is an assignment (`SubscriptionState._assigned_state`), and there is none in a rebalance.
                # An owner that ran well for a while starts again with the shortest pause.
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
        """Own the partition once. The order of the steps matters: each relies on the one before."""
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
            self._core.left(self._tp.partition)
            await (writer.close() if ownership is None else ownership.end())

    async def _committed(self) -> tuple[int | None, bool]:
        """Return the offset that the agent committed, and whether the group has a foreign commit instead.

        Asks the broker directly, because the consumer's `committed()` may return the result of a request that
        was sent before the predecessor's last commit.
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
            # The losses and the commit that skips the lost records are written in one transaction.
            await ownership.save([record for loss in restoration.losses for record in self._core.tell(loss)])
        if unread := [loss for loss in restoration.losses if not loss.state]:
            log.error(
                "%s. That is accepted (--accept-loss): gone on behind them, and recorded as missing",
                removed(self._broker, unread),
            )
        return ownership

    async def _deliver(self, ownership: Ownership[State]) -> None:
        """Deliver fetches until the producer is lost; raises the error that ended it."""
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
        """Wait for a record, then collect more until a bound or a short time is reached.

        The bounds are records, bytes, and the rest of the worker's budget. Also returns the bytes that the
        fetch holds of the budget.
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
                # aiokafka looked for a committed offset before the explicit seek, and reports it only now.
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
        """Bytes that the next read may return.

        While it waits for a first record, a partition reserves only bytes of its own share.
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
        """Read at most `most` records; reserve their estimated size first, then take their real size."""
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
