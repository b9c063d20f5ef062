"""The connection to Kafka, for batches, answers and notices; no other module of the simulator uses Kafka."""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial
from itertools import count
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from streams import clock, limits, topology
from streams.connection.connect import let_go, reach
from streams.connection.credentials import client_options
from streams.errors import InputError, UnavailableError
from streams.events.journal import Sent
from streams.settings.kafka import Broker, KafkaSettings
from streams.waiting import saying

BUFFER_BATCHES_MAX = (
    4096  #: sent or waiting, without acknowledgement; a device captures nothing more until there is room
)
_START_WAIT_S = 10.0
_STOP_WAIT_S = 1.0
_TOPICS_PAUSE_S = 0.25
BLOCK_BYTES_MAX = 256 * 1024  #: of one write to a partition, before compression
_POLL_MS = 500
_APPEND_TIME = 1  #: type of a timestamp that the broker set
_LOOK_RECORDS = 50_000  #: of one block that is looked at

log = logging.getLogger(__name__)


def partition_of(device: str, partitions: int) -> int:
    """Partition of a device: a fixed function of its name, so that all its batches are in one order.

    It is computed here and not by the client's hash of the key, which differs between client libraries.
    """
    return zlib.crc32(device.encode()) % partitions


class KafkaLink:
    """Sends batches in order to `glasses.captured`; receives `glasses.answers` and `glasses.notices`.

    Delivery guarantee: at least once. The producer is idempotent with acks=all, and a batch stays in the
    buffer until it is acknowledged. After a failed send, a new producer sends everything unacknowledged again
    in order, so a batch may arrive twice. Batches that are unacknowledged when the process ends are in the
    journal.

    Batches for one partition are sent in blocks with one acknowledgement each, at a fifth of the cost of
    single sends.

    Parameters
    ----------
    broker
        `host:port`.
    partitions
        Partition count of the topics; another count on the broker is refused.
    devices
        Names of the devices whose answers are received.
    on_ack
        Called with (batch, partition, offset, append time) on acknowledgement; the append time is in ns, None
        if the topic has the timestamps of devices.
    on_answer
        Called with the value of each committed answer record that is written after `start`.
    on_notice
        Called with the value of each committed record of `glasses.notices`, also of those from before: a
        device may have been away. A broker that has no such topic delivers none.
    """

    def __init__(
        self,
        broker: Broker,
        partitions: int,
        devices: Iterable[str],
        on_ack: Callable[[Sent, int, int, int | None], None],
        on_answer: Callable[[bytes | None], None],
        on_notice: Callable[[bytes | None], None] = lambda _value: None,
    ) -> None:
        self.broker, self.partitions = KafkaSettings.of(broker), partitions
        self._on_ack, self._on_answer, self._on_notice = on_ack, on_answer, on_notice
        self._hears_notices = False
        self._answer_partitions = sorted({partition_of(device, partitions) for device in devices})
        # By the number of the send, because the radio may send a batch twice.
        self._unacknowledged: dict[int, Sent] = {}
        self._waiting: deque[tuple[int, Sent]] = deque()
        self._numbers = count()
        self._partitions: dict[bytes, int] = {}
        self._changed = asyncio.Event()
        self._wake = asyncio.Event()
        self._broken = False
        self._producer: Any = None
        self._consumer: Any = None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Connect to the broker, and seek to the end of the answers.

        Raises
        ------
        UnavailableError
            The broker or its topics are not available within 10 s.
        InputError
            The topics have another partition count, or the broker's address is invalid.
        """
        deadline = clock.monotonic_s() + _START_WAIT_S
        self._producer = await self._reach(self._new_producer, deadline)
        await self._check_topics(deadline)
        self._consumer = await self._reach(self._new_consumer, deadline)
        tasks: tuple[Awaitable[None], ...] = (self._send_all(), self._hear())
        self._tasks = [asyncio.ensure_future(task) for task in tasks]
        for running in self._tasks:
            running.add_done_callback(lambda _: self._changed.set())

    async def _check_topics(self, deadline_s: float) -> None:
        """Wait for the topics until a deadline, and refuse an unexpected partition count."""
        needed = (topology.CAPTURED, topology.ANSWERS)
        while True:
            metadata = await self._producer.client.fetch_all_metadata()
            sizes = {
                topic.name: len(metadata.partitions_for_topic(self.broker.wire_name(topic.name)) or ())
                for topic in topology.TOPICS
            }
            absent = [self.broker.wire_name(name) for name in needed if not sizes[name]]
            if not absent:
                break
            if clock.monotonic_s() > deadline_s:
                raise UnavailableError(
                    f"Topic {' and '.join(absent)} is not on {self.broker} (waited {_START_WAIT_S:g} s). "
                    "`sightline broker`, `demo` and `worker` declare the topics."
                )
            await asyncio.sleep(_TOPICS_PAUSE_S)
        if wrong := topology.uneven(str(self.broker), sizes, self.partitions):
            raise InputError(wrong)
        self._hears_notices = bool(sizes[topology.NOTICES])

    def send(self, sent: Sent) -> None:
        """Queue a batch. Never blocks; check `unacknowledged` before capturing more."""
        number = next(self._numbers)
        self._unacknowledged[number] = sent
        self._waiting.append((number, sent))
        self._wake.set()

    @property
    def unacknowledged(self) -> int:
        """Number of batches that were sent or queued, and are not acknowledged."""
        return len(self._unacknowledged)

    async def until(self, met: Callable[[], bool]) -> None:
        """Wait until `met` returns True; it is called after every acknowledgement."""
        if met():
            return
        async with saying(f"{self.broker} to acknowledge batches ({self.unacknowledged} are on their way)"):
            while not met():
                for task in self._tasks:
                    if task.done():
                        task.result()  # raises: neither task ends by itself
                self._changed.clear()
                await self._changed.wait()

    async def flush(self, timeout_s: float) -> int:
        """Wait for all acknowledgements, at most `timeout_s` seconds; return how many batches lack one."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self.until(lambda: not self._unacknowledged)
        return self.unacknowledged

    async def look(self, topic: str, partition: int, take: Callable[[Any], None], until_s: float) -> int:
        """Pass the current records of a partition to `take`, newest block first, until a deadline.

        Return how many offsets were not read. Records of open and aborted transactions are included, because
        they too were made from batches that a device sent.
        """
        place = self._place(topic, partition)
        consumer = await self._reach(partial(_new_reader, self.broker), until_s)
        # Until the bounds of the log are known, count as if one record were unread.
        begin, high = 0, 1
        try:
            async with asyncio.timeout(until_s - clock.monotonic_s()):
                begin = (await consumer.beginning_offsets([place]))[place]
                high = (await consumer.end_offsets([place]))[place]
                consumer.assign([place])
                while high > begin:
                    low = max(begin, high - _LOOK_RECORDS)
                    consumer.seek(place, low)
                    # Transaction markers take offsets but are no records: the position tells the end.
                    while await consumer.position(place) < high:
                        for record in (await consumer.getmany(place, timeout_ms=_POLL_MS)).get(place, ()):
                            take(record)
                    high = low
        except (KafkaError, TimeoutError):
            pass  # the caller learns how many offsets were not read
        finally:
            await _stop(consumer)
        return high - begin

    async def close(self) -> None:
        """Disconnect. Unacknowledged batches stay unacknowledged."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(
            *(_stop(client) for client in (self._consumer, self._producer) if client is not None)
        )

    async def _new_producer(self) -> Any:
        producer = AIOKafkaProducer(
            **client_options(self.broker),
            enable_idempotence=True,
            acks="all",
            compression_type="zstd",
            max_batch_size=BLOCK_BYTES_MAX,
            max_request_size=limits.MESSAGE_BYTES_MAX,
        )
        return await _started(producer)

    async def _new_consumer(self) -> Any:
        consumer = await _started(
            AIOKafkaConsumer(
                **client_options(self.broker),
                group_id=None,
                enable_auto_commit=False,
                isolation_level="read_committed",
            )
        )
        answers = [self._place(topology.ANSWERS, partition) for partition in self._answer_partitions]
        notices = [
            self._place(topology.NOTICES, partition)
            for partition in self._answer_partitions
            if self._hears_notices
        ]
        try:
            consumer.assign([*answers, *notices])
            await consumer.seek_to_end(*answers)
            if notices:
                await consumer.seek_to_beginning(*notices)
            for place in answers:
                # The client looks the position up lazily; it must be known before the first query is sent.
                await consumer.position(place)
        except BaseException:
            await _stop(consumer)
            raise
        return consumer

    async def _reach(self, start: Callable[[], Awaitable[Any]], deadline_s: float) -> Any:
        # The client's log is off, because this class logs failures itself, not on every attempt.
        return await reach(self.broker, start, deadline_s - clock.monotonic_s(), client_logs=False)

    async def _send_all(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                while self._waiting and not self._broken:
                    waiting, self._waiting = self._waiting, deque()
                    await self._send_waiting(waiting)
            except KafkaError as error:
                self._fail(error)
            if self._broken:
                await self._begin_again()

    async def _send_waiting(self, waiting: Iterable[tuple[int, Sent]]) -> None:
        """Send batches, in order within each partition."""
        by_partition: dict[int, list[tuple[int, Sent]]] = {}
        for number, sent in waiting:
            by_partition.setdefault(self.partition(sent.key), []).append((number, sent))
        for partition, batches in by_partition.items():
            left = batches
            # After a failure the rest is still unacknowledged, and is sent again from there.
            while left and not self._broken:
                left = await self._send_block(partition, left)

    async def _send_block(self, partition: int, batches: list[tuple[int, Sent]]) -> list[tuple[int, Sent]]:
        """Send as many batches as fit one block; return those that do not."""
        producer = self._producer
        block = producer.create_batch()
        taken = 0
        for _, sent in batches:
            # The first batch is always accepted, whatever its size; the broker may refuse it.
            if (
                block.append(
                    timestamp=sent.timestamp_ms, key=sent.key, value=sent.value, headers=list(sent.headers)
                )
                is None
            ):
                break
            taken += 1
        block.close()
        future = await producer.send_batch(
            block, self.broker.wire_name(topology.CAPTURED), partition=partition
        )
        future.add_done_callback(partial(self._settled, [number for number, _ in batches[:taken]], producer))
        return batches[taken:]

    def _place(self, topic: str, partition: int) -> TopicPartition:
        return TopicPartition(self.broker.wire_name(topic), partition)

    def partition(self, key: bytes) -> int:
        """Partition of a device by its key."""
        if key not in self._partitions:
            self._partitions[key] = partition_of(key.decode(), self.partitions)
        return self._partitions[key]

    def _settled(self, numbers: Iterable[int], producer: Any, future: asyncio.Future[Any]) -> None:
        """Handle the result of a block; its batches have consecutive offsets."""
        error = None if future.cancelled() else future.exception()
        if not future.cancelled() and error is None:
            placed = future.result()
            # The broker returns no append time if the topic has the timestamps of devices.
            appended_ns = placed.timestamp * 1_000_000 if placed.timestamp_type == _APPEND_TIME else None
            for offset, number in enumerate(numbers, placed.offset):
                sent = self._unacknowledged.pop(number, None)
                if sent is not None:
                    self._on_ack(sent, placed.partition, offset, appended_ns)
            self._changed.set()
        elif producer is self._producer:
            self._fail(error)

    def _fail(self, error: BaseException | None) -> None:
        if not self._broken:
            log.warning(
                "a send to %s failed (%s); everything unacknowledged is sent again",
                self.broker,
                type(error).__name__,
            )
        self._broken = True
        self._wake.set()

    async def _begin_again(self) -> None:
        # Batches after the failed one may have arrived. To keep the order, a new producer sends everything
        # again from the first unacknowledged batch on.
        old, self._producer = self._producer, None
        await _stop(old)
        self._producer = await self._reach(self._new_producer, float("inf"))
        self._waiting = deque(self._unacknowledged.items())
        self._broken = False
        self._wake.set()

    async def _hear(self) -> None:
        while True:
            try:
                fetched = await self._consumer.getmany(timeout_ms=_POLL_MS)
            except KafkaError as error:
                log.warning(
                    "answers cannot be read from %s (%s); trying again", self.broker, type(error).__name__
                )
                await asyncio.sleep(limits.CONNECTION_BACKOFF_MAX_S)
                continue
            for place, records in fetched.items():
                is_answer = place.topic == self.broker.wire_name(topology.ANSWERS)
                for record in records:
                    (self._on_answer if is_answer else self._on_notice)(record.value)


async def _new_reader(broker: Broker) -> Any:
    return await _started(
        AIOKafkaConsumer(
            **client_options(broker),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
    )


async def _started(client: Any) -> Any:
    try:
        await client.start()
    except BaseException:
        await _stop(client)
        raise
    return client


async def _stop(client: Any) -> None:
    await let_go(client, _STOP_WAIT_S)
    sender = client._sender.sender_task if isinstance(client, AIOKafkaProducer) else None
    if sender is not None and not sender.done():
        # Otherwise it would continue to send, beside its successor, when the broker is back.
        sender.cancel()
        await client.client.close()
