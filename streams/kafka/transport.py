"""A transport for Faust in which one fetch of one partition is one event and one transaction.

It uses Faust's own extension point. Faust keeps the app, the agents and the group membership. Its commits are
turned off, because they can lose records; its acknowledgements are off too (`acks=False` of the topic),
because they only serve those commits and would accumulate without them.

Delivery: exactly once from the source topic to everything that a core writes.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Coroutine, Iterable, Mapping, Sequence
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

from streams import clock, limits, logs
from streams.connection.connect import let_go
from streams.ends import COMMITTED_STANDS, End, end_process, end_with
from streams.errors import reason
from streams.events.record import LiveCore, Received
from streams.kafka import budget, groups
from streams.kafka.behind import ends_of
from streams.kafka.last_will import LastWill
from streams.kafka.ownership import Delivery, Ownership
from streams.kafka.partition import PartitionOwner
from streams.settings.kafka import KafkaSettings

log = logging.getLogger(__name__)

T = TypeVar("T")
#: Time for which a fetch without records occupies the connection to the broker; other partitions wait for it.
IDLE_FETCH_MS = 100
#: How often a group leader requests another assignment before it ends its process, so that the group can
#: form without it.
REJOINS_MAX = 5
#: Shared by all agents of this process.
LAST_WILL = LastWill(limits.SESSION_TIMEOUT_S)


class WatchfulAssignor(RoundRobinPartitionAssignor):  # type: ignore[misc]
    """Round-robin assignment of the declared partitions, under a protocol name of its own.

    The broker refuses consumers that do not support this name, so only workers can join the group.

    It notes when a subscribed topic had no partitions. The group's leader can see that for a moment after a
    broker restart; the assignment is then empty, and remains so unless another one is requested.
    """

    name = groups.PROTOCOL

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        self.missed = False
        self._assigned = False

    def assign(self, cluster: ClusterMetadata, members: Mapping[str, Any]) -> Any:
        """Assign round robin, and note whether any subscribed topic had no partitions."""
        subscribed = {topic for member in members.values() for topic in member.subscription}
        self._assigned = True
        self.missed = any(not cluster.partitions_for_topic(topic) for topic in subscribed)
        return super().assign(_Declared(cluster, self._partitions), members)

    def on_assignment(self, assignment: Any) -> None:
        """Reset `missed` if another member, as the leader, made the assignment."""
        self.missed, self._assigned = self.missed and self._assigned, False
        super().on_assignment(assignment)


class _Declared:
    """Cluster metadata for the assignor, without partitions that were added to a topic later."""

    def __init__(self, cluster: ClusterMetadata, partitions: int) -> None:
        self._cluster, self._partitions = cluster, partitions

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        numbers = self._cluster.partitions_for_topic(topic)
        return None if numbers is None else {number for number in numbers if number < self._partitions}


class ConsumerThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    """The thread of the group member, which sends heartbeats while a core computes."""

    def _create_worker_consumer(self, transport: driver.Transport) -> aiokafka.AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"
        consumer._fetch_max_wait_ms = IDLE_FETCH_MS
        self.assignor = WatchfulAssignor(self.consumer.partitions)
        consumer._partition_assignment_strategy = [self.assignor]
        return consumer

    async def on_start(self) -> None:
        """Connect; while consumers with another protocol occupy the group, keep trying to join."""
        await super().on_start()
        groups.leave_to_lookout()
        coordinator, address = self._ensure_consumer()._coordinator, self.consumer.broker.open_address
        joined, send = coordinator._do_rejoin_group, coordinator._send_req

        async def joining(subscription: Any) -> bool:
            try:
                return bool(await joined(subscription))
            except InconsistentGroupProtocolError:
                # aiokafka would give up on this error. `Lookout` reports who is in the group.
                await asyncio.sleep(limits.CONNECTION_BACKOFF_MAX_S)
                return False

        async def sending(request: Any) -> Any:
            # Noted with the first request that has a member id, because the broker waits for a member that
            # dies while it joins too.
            if coordinator.member_id and address:
                LAST_WILL.joined(address, self.consumer.group, coordinator.member_id)
            return await send(request)

        coordinator._do_rejoin_group, coordinator._send_req = joining, sending

    async def on_thread_stop(self) -> None:
        """Leave the group and disconnect, without an error if the broker is unavailable."""
        # Skips Faust's method, which calls the consumer's `stop` directly.
        await super(driver.AIOKafkaConsumerThread, self).on_thread_stop()
        if self._consumer is not None:
            await let_go(self._consumer)
            LAST_WILL.left(self.consumer.broker.open_address, self.consumer.group)


class BatchConsumer(driver.Consumer):  # type: ignore[misc]
    """Runs a `PartitionOwner` for each assigned partition, and is their `Feed`.

    Delivery: exactly once. Offsets are committed only by the transaction of each fetch.
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

    # -- methods that Faust calls --------------------------------------------

    async def commit(self, topics: object = None, start_new_transaction: bool = True) -> bool:  # noqa: ARG002  Faust names them
        """Commit nothing: each fetch's transaction commits its offset."""
        return False

    def track_message(self, message: ConsumerMessage) -> None:
        """Keep no list of pending events: their number is bounded by the partition's slots."""

    async def perform_seek(self) -> None:
        """Seek nothing: every owner seeks its partition itself before it delivers."""

    async def wait_empty(self) -> None:
        """Wait for nothing: `on_partitions_revoked` and `on_stop` end the owners and their transactions."""

    async def verify_all_partitions_active(self) -> None:
        """Check nothing: Faust's check counts its own commits."""

    async def _drain_messages(self, fetcher: Any) -> None:
        # Faust's fetcher has nothing to do, because each owner reads its own partition, so that a full one
        # never blocks another.
        waits = [asyncio.create_task(stopped.wait()) for stopped in (self._stopped, fetcher._stopped)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Let Faust start its actors, then start an owner for every assigned partition."""
        if self._watch is None:
            # Started first and as a task of its own, because aiokafka swallows errors of this callback.
            with logs.at(self.agent):
                self._watch = asyncio.create_task(self._watch_assignments(), name=f"watch of {self.agent}")
            self._watch.add_done_callback(end_with)
        await self._end_owners()
        await super().on_partitions_assigned(assigned, generation_id)
        self.waiting_since_s = None
        budget.WORKER.announce(self.agent, len(assigned))
        for tp in sorted(assigned):
            place = TopicPartition(self.broker.plain_name(tp.topic), tp.partition)
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
                task = asyncio.create_task(owner.run(), name=f"owner of {place.topic} {place.partition}")
            task.add_done_callback(self._owner_done)
            self._owners[place] = task

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """End every owner before another worker gets the partitions.

        Each owner finishes or aborts its transaction and closes its producer.
        """
        self.waiting_since_s = clock.monotonic_s()
        await self._end_owners()
        await super().on_partitions_revoked(revoked)

    async def on_stop(self) -> None:
        """End every owner, then leave the group."""
        await self._end_owners()
        if self._watch is not None:
            self._watch.cancel()
        await super().on_stop()

    @property
    def let_in(self) -> bool:
        """Whether the broker has made it a member; with another protocol than the group's it gets no id."""
        return bool(getattr(getattr(self._thread._consumer, "_coordinator", None), "member_id", ""))

    # -- the owners ----------------------------------------------------------

    def ownerships(self) -> Mapping[TopicPartition, Ownership[Any]]:
        """Current ownerships by partition."""
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
            end_process(
                f"The {task.get_name()} failed: {reason(error)}; {COMMITTED_STANDS}", error, End.OWNER
            )

    async def _watch_assignments(self) -> None:
        """Request another assignment whenever this member, as the leader, made one without partitions."""
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
                    f"{COMMITTED_STANDS}",
                    end=End.NO_ASSIGNMENT,
                )
            log.warning(
                "%s: a subscribed topic had no partitions when they were assigned; "
                "asking for another assignment",
                self.agent,
            )
            try:
                await self._in_thread(_assign_again(self._thread._ensure_consumer()))
            except Exception as error:  # noqa: BLE001  tried again after any error, because the group needs an assignment
                log.warning(
                    "%s: another assignment could not be asked for, tried again: %s",
                    self.agent,
                    reason(error),
                )

    async def _in_thread(self, work: Coroutine[Any, Any, T]) -> T:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._thread.thread_loop))

    # -- the feed of the owners, who know topics by their plain names --------

    def _on_wire(self, tp: TopicPartition) -> TopicPartition:
        return TopicPartition(self.broker.wire_name(tp.topic), tp.partition)

    async def seek(self, tp: TopicPartition, offset: int) -> None:
        """Set the position of one partition."""
        await self._in_thread(_call(self._thread._ensure_consumer().seek, self._on_wire(tp), offset))

    async def flowing(self) -> None:
        """Wait until Faust has finished its rebalance."""
        while not self.flow_active:
            await self.can_resume_flow.wait()

    async def records(self, tp: TopicPartition, timeout_s: float, max_records: int) -> Sequence[Received]:
        """Read records of one partition in the consumer's thread."""
        consumer, on_wire = self._thread._ensure_consumer(), self._on_wire(tp)
        fetched = await self._in_thread(_fetched(consumer._fetcher, on_wire, timeout_s, max_records))
        records: Sequence[Received] = fetched.get(on_wire, ())
        return records

    async def ends(self, tps: Iterable[TopicPartition]) -> Mapping[TopicPartition, tuple[int, int]]:
        """See `streams.kafka.behind.ends_of`."""
        on_wire = {self._on_wire(tp): tp for tp in tps}
        ends = await self._in_thread(ends_of(self._thread._ensure_consumer(), list(on_wire)))
        return {on_wire[tp]: both for tp, both in ends.items()}

    async def deliver(self, tp: TopicPartition, delivery: Delivery) -> None:
        """Pass one fetch, as one Faust event, to the agent's actor of its partition."""
        last, on_wire = delivery.fetch.records[-1], self._on_wire(tp)
        await self.callback(
            ConsumerMessage(
                *on_wire,
                last.offset,
                last.timestamp / 1000.0,
                0,
                None,
                None,
                delivery,
                None,
                0,
                0,
                TP(*on_wire),
                generation_id=self.app.consumer_generation_id,
            )
        )


class _AsRead(OrderedDict[TopicPartition, Any]):
    """The buffers of aiokafka's fetcher, with records left as the decoder made them.

    Wrapping each record would take a third of the time of reading it.
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
    # Otherwise the leader would assign with its cached metadata, which is refreshed every five minutes.
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
    """Make a transport for `app` whose consumer passes fetches to `core`, for agent `agent`.

    The group has the name of the app. `partitions` is the declared number; partitions beyond it are not read.
    `accept_loss`: records that were deleted before they were read are skipped, and the loss is recorded.
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
