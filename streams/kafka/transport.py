"""Faust's transport, replaced on Faust's own extension point.

One fetch of one partition is one event, one transaction.

Delivery: exactly once from the source topic to everything that a core writes. Faust keeps the app, the agents
and the group membership; its commits are off, because they are where it can lose records (so are its acks, by
the topic's `acks=False`: they only feed those commits, and without them would grow for ever).
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import aiokafka
import faust
import yarl
from aiokafka import TopicPartition
from aiokafka.cluster import ClusterMetadata
from aiokafka.consumer.fetcher import Fetcher, FetchResult
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import InconsistentGroupProtocolError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage

from streams import clock, limits, logs, metrics
from streams.connection.connect import let_go
from streams.connection.settings import KafkaSettings
from streams.ends import End, end_process, end_with
from streams.errors import reason
from streams.events.record import LiveCore, Received
from streams.kafka import budget, groups
from streams.kafka.last_will import LastWill
from streams.kafka.ownership import Delivery, Ownership
from streams.kafka.partition import PartitionOwner

log = logging.getLogger(__name__)

T = TypeVar("T")
#: An idle fetch holds the one connection to a broker this long; a partition that was just emptied waits for
#: its end.
IDLE_FETCH_MS = 100
#: So often a leader asks for another assignment before its process ends, and with it whatever holds the group
#: up.
REJOINS_MAX = 5
#: Faust would acknowledge an event that failed and go on, or restart the agent with the next one; both are a
#: loss. So the process ends, and another worker, or the next start, reads from the committed offset.
NOTHING_LOST = "this worker ends now, nothing is lost: the next one goes on from the committed offset"
#: Of this process, for all its agents.
LAST_WILL = LastWill(limits.SESSION_TIMEOUT_S)


class WatchfulAssignor(RoundRobinPartitionAssignor):  # type: ignore[misc]
    """Round robin under a name of its own, over the partitions that were declared.

    A consumer that does not know the name is not let into the group by the broker.

    It remembers when it met a subscribed topic without partitions. After a broker restart the group's leader
    can see that for a moment. The assignment is then empty and stays so for ever, unless somebody asks for
    another one.
    """

    name = groups.PROTOCOL

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        self.missed = False
        self._assigned = False

    def assign(self, cluster: ClusterMetadata, members: Mapping[str, Any]) -> Any:
        """Assign as round robin does, and note whether any subscribed topic had no partitions."""
        subscribed = {topic for member in members.values() for topic in member.subscription}
        self._assigned = True
        self.missed = any(not cluster.partitions_for_topic(topic) for topic in subscribed)
        return super().assign(_Declared(cluster, self._partitions), members)

    def on_assignment(self, assignment: Any) -> None:
        """Forget what was missed once somebody else, as the leader, has made the assignment."""
        self.missed, self._assigned = self.missed and self._assigned, False
        super().on_assignment(assignment)


class _Declared:
    """What an assignment asks of a cluster, without partitions that somebody added later."""

    def __init__(self, cluster: ClusterMetadata, partitions: int) -> None:
        self._cluster, self._partitions = cluster, partitions

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        numbers = self._cluster.partitions_for_topic(topic)
        return None if numbers is None else {number for number in numbers if number < self._partitions}


class ConsumerThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    """The thread of the group member: heartbeats go on there while a core computes."""

    def _create_worker_consumer(self, transport: driver.Transport) -> aiokafka.AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"
        consumer._fetch_max_wait_ms = IDLE_FETCH_MS
        self.assignor = WatchfulAssignor(self.consumer.partitions)
        consumer._partition_assignment_strategy = [self.assignor]
        return consumer

    async def on_start(self) -> None:
        """Connect; a group that somebody else has taken is asked for again, until it is free."""
        await super().on_start()
        groups.leave_to_lookout()
        coordinator, address = self._ensure_consumer()._coordinator, self.consumer.broker.open_address
        joined, send = coordinator._do_rejoin_group, coordinator._send_req

        async def joining(subscription: Any) -> bool:
            try:
                return bool(await joined(subscription))
            except InconsistentGroupProtocolError:
                # Fatal to the client, which would never ask again; the lookout says who is in the group.
                await asyncio.sleep(limits.CONNECTION_BACKOFF_MAX_S)
                return False

        async def sending(request: Any) -> Any:
            # From its first request under an id on: one that dies while it joins is waited for as well.
            if coordinator.member_id and address:
                LAST_WILL.joined(address, self.consumer.group, coordinator.member_id)
            return await send(request)

        coordinator._do_rejoin_group, coordinator._send_req = joining, sending

    async def on_thread_stop(self) -> None:
        """Leave the group and disconnect; a broker that is away does not end the thread in an error."""
        # Past Faust's own, which does the same with the bare `stop` of the consumer.
        await super(driver.AIOKafkaConsumerThread, self).on_thread_stop()
        if self._consumer is not None:
            await let_go(self._consumer)
            LAST_WILL.left(self.consumer.broker.open_address, self.consumer.group)


class BatchConsumer(driver.Consumer):  # type: ignore[misc]
    """Owns the assigned partitions, each through a `PartitionOwner`; is their `Feed`.

    Delivery: exactly once. Offsets are committed by the transaction of each fetch, nowhere else.
    """

    core: ClassVar[LiveCore[Any]]
    broker: ClassVar[KafkaSettings]
    agent: ClassVar[str]
    group: ClassVar[str]
    partitions: ClassVar[int]
    accept_loss: ClassVar[bool]

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._owners: dict[TopicPartition, asyncio.Task[None]] = {}
        self._owning: dict[TopicPartition, PartitionOwner[Any]] = {}
        self.waiting_since_s: float | None = clock.monotonic_s()
        self._watch: asyncio.Task[None] | None = None

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    # -- what Faust asks for -------------------------------------------------

    async def commit(self, topics: object = None, start_new_transaction: bool = True) -> bool:  # noqa: ARG002  Faust names them
        """Commit nothing: the transaction of each fetch has done it."""
        return False

    def track_message(self, message: ConsumerMessage) -> None:
        """Keep no list of pending events: what is in flight is bounded by the partition's slots."""

    async def perform_seek(self) -> None:
        """Seek nothing: every owner seeks its partition itself, explicitly, before it delivers."""

    async def wait_empty(self) -> None:
        """Wait for nothing: `on_partitions_revoked` and `on_stop` end the owners.

        An owner that ends finishes or aborts its transaction.
        """

    async def verify_all_partitions_active(self) -> None:
        """Check nothing: Faust's check counts its own commits."""

    async def _drain_messages(self, fetcher: Any) -> None:
        # Each owner reads its own partition, so that a full one never holds up another; Faust's fetcher has
        # nothing to do.
        waits = [asyncio.create_task(stopped.wait()) for stopped in (self._stopped, fetcher._stopped)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Let Faust start its actors, then own every partition of the source topic."""
        if self._watch is None:
            # From the first assignment on, and apart from what follows here: an error in it is swallowed by
            # the client.
            with logs.at(self.agent):
                self._watch = asyncio.create_task(self._watch_assignments(), name=f"watch of {self.agent}")
            self._watch.add_done_callback(end_with)
        await self._end_owners()
        await super().on_partitions_assigned(assigned, generation_id)
        self.waiting_since_s = None
        budget.WORKER.announce(self.agent, len(assigned))
        for tp in sorted(assigned):
            place = TopicPartition(tp.topic, tp.partition)
            owner = self._owning[place] = PartitionOwner(
                self.broker,
                self.agent,
                self.core,
                place,
                self,
                group=self.group,
                accept_loss=self.accept_loss,
            )
            with logs.at(self.agent, tp.partition):
                task = asyncio.create_task(owner.run(), name=f"owner of {tp.topic} {tp.partition}")
            task.add_done_callback(self._owner_done)
            self._owners[place] = task

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """End every owner before the partitions go to somebody else.

        Each finishes or aborts its transaction and closes its producer.
        """
        self.waiting_since_s = clock.monotonic_s()
        await self._end_owners()
        await super().on_partitions_revoked(revoked)

    async def on_stop(self) -> None:
        """End every owner, then leave."""
        await self._end_owners()
        if self._watch is not None:
            self._watch.cancel()
        await super().on_stop()

    @property
    def let_in(self) -> bool:
        """Whether the broker has made it a member; whoever assigns otherwise than the group gets no id."""
        return bool(getattr(getattr(self._thread._consumer, "_coordinator", None), "member_id", ""))

    # -- the owners ----------------------------------------------------------

    def ownerships(self) -> Mapping[TopicPartition, Ownership[Any]]:
        """What is owned now, by partition."""
        return {tp: owner.ownership for tp, owner in self._owning.items() if owner.ownership is not None}

    async def _end_owners(self) -> None:
        owners = list(self._owners.values())
        self._owners.clear()
        self._owning.clear()
        budget.WORKER.announce(self.agent, 0)
        for owner in owners:
            owner.cancel()
        await asyncio.gather(*owners, return_exceptions=True)

    def _owner_done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            end_process(f"The {task.get_name()} failed: {reason(error)}; {NOTHING_LOST}", error, End.OWNER)

    async def _watch_assignments(self) -> None:
        """Ask for another assignment whenever this member, as the leader, made one without partitions."""
        asked = 0
        while True:
            await asyncio.sleep(limits.EMPTY_ASSIGNMENT_REJOIN_S)
            if not self._thread.assignor.missed:
                asked = 0
                continue
            asked += 1
            if asked > REJOINS_MAX:
                end_process(
                    f"{self.agent}: asked {REJOINS_MAX} times for another assignment and none came; "
                    f"{NOTHING_LOST}",
                    end=End.NO_ASSIGNMENT,
                )
            log.warning(
                "%s: a subscribed topic had no partitions when they were assigned; "
                "asking for another assignment",
                self.agent,
            )
            try:
                await self._in_thread(_assign_again(self._thread._ensure_consumer()))
            except Exception as error:  # noqa: BLE001  whatever is wrong with the client now, the group must not stay without an assignment
                log.warning(
                    "%s: another assignment could not be asked for, tried again: %s",
                    self.agent,
                    reason(error),
                )

    async def _in_thread(self, work: Coroutine[Any, Any, T]) -> T:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._thread.thread_loop))

    # -- the feed of the owners ----------------------------------------------

    async def seek(self, tp: TopicPartition, offset: int) -> None:
        """Move the position of one partition, whether it ever committed or not."""
        await self._in_thread(_call(self._thread._ensure_consumer().seek, tp, offset))

    async def flowing(self) -> None:
        """Return once Faust has finished its rebalance."""
        while not self.flow_active:
            await self.can_resume_flow.wait()

    async def records(self, tp: TopicPartition, timeout_s: float, max_records: int) -> Sequence[Received]:
        """Read records of one partition in the consumer's thread."""
        consumer = self._thread._ensure_consumer()
        fetched = await self._in_thread(_fetched(consumer._fetcher, tp, timeout_s, max_records))
        records: Sequence[Received] = fetched.get(tp, ())
        if records and (end := consumer.highwater(tp)) is not None:
            metrics.gauge(
                "lag_records", end - records[-1].offset - 1, agent=self.agent, partition=str(tp.partition)
            )
        return records

    async def deliver(self, tp: TopicPartition, delivery: Delivery) -> None:
        """Give one fetch to the agent's actor of its partition, as one Faust event."""
        last = delivery.fetch.records[-1]
        await self.callback(
            ConsumerMessage(
                tp.topic,
                tp.partition,
                last.offset,
                last.timestamp / 1000.0,
                0,
                None,
                None,
                delivery,
                None,
                0,
                0,
                TP(tp.topic, tp.partition),
                generation_id=self.app.consumer_generation_id,
            )
        )


class _AsRead(OrderedDict[TopicPartition, Any]):
    """What a fetcher holds for its partitions, each record left as the decoder made it.

    To wrap it is a third of the work of reading it.
    """

    def __setitem__(self, tp: TopicPartition, fetched: Any) -> None:
        if isinstance(fetched, FetchResult):
            fetched._partition_records._consumer_record = _as_read
        super().__setitem__(tp, fetched)


def _as_read(_tp: TopicPartition, record: Received) -> Received:
    return record


async def _fetched(
    fetcher: Fetcher, tp: TopicPartition, timeout_s: float, max_records: int
) -> Mapping[TopicPartition, Sequence[Received]]:
    if not isinstance(fetcher._records, _AsRead):
        fetcher._records = _AsRead(fetcher._records)
    records: Mapping[TopicPartition, Sequence[Received]] = await fetcher.fetched_records(
        [tp], timeout=timeout_s, max_records=max_records
    )
    return records


async def _assign_again(consumer: aiokafka.AIOKafkaConsumer) -> None:
    # Without this the leader would assign by what it knows already, which is refreshed every five minutes.
    await consumer._client.force_metadata_update()
    consumer._coordinator.request_rejoin()


async def _call(function: Any, *arguments: Any) -> None:
    function(*arguments)


def batch_transport(
    app: faust.App,
    kafka: KafkaSettings,
    agent: str,
    core: LiveCore[Any],
    *,
    partitions: int,
    accept_loss: bool = False,
) -> driver.Transport:
    """A transport for `app` whose consumer feeds `core` fetch by fetch as `agent`.

    The name of the app is the group's. `partitions` of the source were declared; others that it has are left
    alone. `accept_loss`: records that were removed before they were read are put on record and left behind.
    """
    own = {
        "core": core,
        "broker": kafka,
        "agent": agent,
        "group": app.conf.id,
        "partitions": partitions,
        "accept_loss": accept_loss,
    }
    consumer = type("AgentConsumer", (BatchConsumer,), own)
    transport = type("BatchTransport", (driver.Transport,), {"Consumer": consumer})
    return transport([yarl.URL(url) for url in kafka.urls], app, loop=app.loop)
