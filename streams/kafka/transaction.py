"""One transactional producer per source partition.

A fetch's outputs, state and source offset commit together or not at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import (
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
    InvalidTxnState,
    KafkaError,
    OutOfOrderSequenceNumber,
    ProducerFenced,
)
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.producer.sender import Sender
from aiokafka.structs import OffsetAndMetadata

from streams import limits
from streams.connection.connect import ask_to_the_end, reach
from streams.connection.credentials import client_options
from streams.errors import UnavailableError
from streams.events.record import Outgoing
from streams.kafka.groups import MARK
from streams.settings.kafka import Broker, KafkaSettings

log = logging.getLogger(__name__)

#: Before compression, which can add a few bytes to incompressible data; the headroom leaves room for these.
BATCH_BYTES_MAX = limits.MESSAGE_BYTES_MAX - limits.OUTPUT_HEADROOM_BYTES
ATTEMPTS_MAX = 3
COMMIT_TIMEOUT_S = limits.TRANSACTION_TIMEOUT_MS / 1000 + 5.0
_CLOSE_STEP_S = 1.0
_CLIENT_BACKOFF_MS = 300
_FATAL = (
    ProducerFenced,
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
    InvalidTxnState,
    OutOfOrderSequenceNumber,
    TimeoutError,
    AssertionError,
)


class ProducerLostError(Exception):
    """The producer cannot be used any more (fenced, timed out, produce refused).

    Close it and repeat the steps of the assignment.
    """


class _PatientSender(Sender):  # type: ignore[misc]
    """aiokafka's sender with a retry pause of 5 ms that doubles up to 1 s while the broker is unreachable.

    aiokafka uses one setting for two cases. After nearly every commit the broker returns
    CONCURRENT_TRANSACTIONS, and the default pause of 100 ms would slow each transaction down. With 5 ms, on
    the other hand, an absent broker would cause thousands of connection attempts per second.
    """

    _pause_s = limits.TRANSACTION_BACKOFF_MS / 1000

    @property
    def _retry_backoff(self) -> float:
        return self._pause_s

    @_retry_backoff.setter
    def _retry_backoff(self, _value: float) -> None:
        """Ignore the fixed value that the base class sets."""

    def reached(self, answered: bool) -> None:
        """Adapt the pause to whether a request was answered or did not reach a broker."""
        calm = limits.TRANSACTION_BACKOFF_MS / 1000
        self._pause_s = (
            calm if answered else min(max(self._pause_s, calm) * 2, limits.CONNECTION_BACKOFF_MAX_S)
        )


def _counted(call: Callable[..., Awaitable[Any]], sender: _PatientSender) -> Callable[..., Awaitable[Any]]:
    async def counting(*arguments: Any, **named: Any) -> Any:
        try:
            answer = await call(*arguments, **named)
        except KafkaError:
            sender.reached(answered=False)
            raise
        sender.reached(answered=answer is not False)
        return answer

    return counting


def _new_producer(broker: Broker, transactional_id: str) -> AIOKafkaProducer:
    producer = AIOKafkaProducer(
        **client_options(broker),
        transactional_id=transactional_id,
        transaction_timeout_ms=limits.TRANSACTION_TIMEOUT_MS,
        acks="all",
        enable_idempotence=True,
        compression_type="zstd",
        max_batch_size=BATCH_BYTES_MAX,
        max_request_size=limits.MESSAGE_BYTES_MAX,
        retry_backoff_ms=_CLIENT_BACKOFF_MS,
    )
    old = producer._sender
    sender = _PatientSender(
        producer.client,
        acks=-1,
        txn_manager=producer._txn_manager,
        message_accumulator=producer._message_accumulator,
        retry_backoff_ms=limits.TRANSACTION_BACKOFF_MS,
        request_timeout_ms=old._request_timeout_ms,
    )
    producer._sender = sender
    ask_to_the_end(producer.client)
    # Every request of the sender goes through `send` or `ready`.
    producer.client.send, producer.client.ready = (
        _counted(producer.client.send, sender),
        _counted(producer.client.ready, sender),
    )
    return producer


class TransactionWriter:
    """Writes the outputs of one source partition, each fetch in one transaction.

    Delivery: exactly once, if every writer of the partition uses the same transactional id
    (`group-topic-partition`, the topic by its name on the Kafka), is started before the committed offset is
    read, and is not used again after `ProducerLostError`. The committed offset is the next one to read.

    `outputs` are all partitions that writers of this source partition may write to.
    """

    def __init__(
        self, broker: Broker, group: str, source: TopicPartition, outputs: Sequence[TopicPartition] = ()
    ) -> None:
        self._kafka, self._group, self._outputs = KafkaSettings.of(broker), group, outputs
        self._source = TopicPartition(self._kafka.wire_name(source.topic), source.partition)
        self._producer: AIOKafkaProducer | None = None

    @property
    def group(self) -> str:
        """Group whose offsets it commits."""
        return self._group

    @property
    def partition(self) -> int:
        """Number of the source partition."""
        return int(self._source.partition)

    async def start(self, wait_s: float) -> None:
        """Start the producer; when this returns, its predecessor is fenced and has no open transaction.

        Raises
        ------
        UnavailableError
            The broker did not answer in `wait_s` seconds.
        ProducerLostError
            An open transaction of a predecessor could not be ended.
        """
        transactional_id = f"{self._group}-{self._source.topic}-{self._source.partition}"

        async def start() -> AIOKafkaProducer:
            producer = _new_producer(self._kafka, transactional_id)
            try:
                async with asyncio.timeout(max(wait_s, _CLOSE_STEP_S)):
                    await producer.start()
            except TimeoutError as error:
                await _close(producer)
                raise UnavailableError(
                    f"The broker {self._kafka} gave no producer id to {transactional_id} in {wait_s:g} s."
                ) from error
            except BaseException:
                await _close(producer)
                raise
            return producer

        self._producer = await reach(self._kafka, start, wait_s)
        await self._end_left_open()

    async def _end_left_open(self) -> None:
        """Abort a transaction over all output partitions, to end a *hanging* transaction (KIP-890).

        A broker that was frozen and continues can append records of the predecessor after that one's
        transaction was ended. The coordinator does not know these records, so neither a new producer nor a
        timeout ends their transaction, and read-committed consumers wait for ever; a chaos test found a
        partition that stood still for this reason. An abort marker of the same producer id ends it, and is
        written only to partitions of a transaction, hence the record to each. No committed record is
        affected, because fencing waits for commits that are under way.
        """
        producer = self._running()
        try:
            async with asyncio.timeout(COMMIT_TIMEOUT_S):
                await producer.begin_transaction()
                deliveries = [
                    await producer.send(
                        self._kafka.wire_name(place.topic), b"", key=b"aborted", partition=place.partition
                    )
                    for place in self._outputs
                ]
                await _all(deliveries)
                await producer.abort_transaction()
        except (KafkaError, TimeoutError, AssertionError) as error:
            raise ProducerLostError(
                f"{self._source.topic} partition {self._source.partition}: what a predecessor may have left "
                f"open could not be ended: {error!r}"
            ) from error

    async def write(self, outputs: Sequence[Outgoing], next_offset: int) -> None:
        """Commit `outputs` and `next_offset` in one transaction.

        The steps are: 1. begin the transaction; 2. send the outputs, batched by topic and partition, in
        order; 3. await *every* delivery (aiokafka would commit a transaction whose produce failed); 4. send
        the source offset; 5. commit. After a failure in step 1 or 4 the transaction is aborted and retried
        with growing pauses. A failure in step 3 ends the producer, whose sequence numbers no longer fit the
        broker's. A failure in step 5 ends it too; the committed offset then shows whether the commit
        succeeded.

        Raises
        ------
        ProducerLostError
            This writer must not be used any more.
        """
        pause_s = limits.TRANSACTION_BACKOFF_MS / 1000
        for attempt in range(1, ATTEMPTS_MAX + 1):
            try:
                async with asyncio.timeout(COMMIT_TIMEOUT_S):
                    await self._attempt(outputs, next_offset)
            except _FATAL as error:
                raise ProducerLostError(f"{self._place(next_offset)}: {error!r}") from error
            except KafkaError as error:
                if self._running()._txn_manager.is_fatal_error() or attempt == ATTEMPTS_MAX:
                    raise ProducerLostError(f"{self._place(next_offset)}: {error!r}") from error
                log.warning(
                    "%s: %r; aborted, tried again from memory in %.0f ms",
                    self._place(next_offset),
                    error,
                    pause_s * 1000,
                )
                await self._abort()
            else:
                return
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 10, limits.CONNECTION_BACKOFF_MAX_S)

    async def close(self) -> None:
        """Abort an open transaction and disconnect, within about 2 s even if the broker is unavailable."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        if producer._txn_manager.is_in_transaction():
            # Otherwise consumers of the outputs would wait until the transaction times out.
            with contextlib.suppress(KafkaError, TimeoutError, AssertionError):
                async with asyncio.timeout(_CLOSE_STEP_S):
                    await producer.abort_transaction()
        await _close(producer)

    async def _attempt(self, outputs: Sequence[Outgoing], next_offset: int) -> None:
        producer = self._running()
        await producer.begin_transaction()  # step 1
        deliveries: list[asyncio.Future[Any]] = []
        sent = [
            _send(producer, self._kafka.wire_name(topic), partition, some, deliveries)
            for (topic, partition), some in _by_place(outputs).items()
        ]
        try:
            await _all(sent)  # step 2
            await _all(deliveries)  # step 3
        except KafkaError as error:
            if not producer._txn_manager.is_fatal_error():
                await self._abort()
            raise ProducerLostError(
                f"{self._place(next_offset)}: an output was not accepted, nothing is committed: {error!r}"
            ) from error
        await producer.send_offsets_to_transaction(
            {self._source: OffsetAndMetadata(next_offset, MARK)}, self._group
        )  # step 4
        try:
            await producer.commit_transaction()  # step 5
        except KafkaError as error:
            raise ProducerLostError(
                f"{self._place(next_offset)}: the end of the commit is unknown: {error!r}"
            ) from error

    async def _abort(self) -> None:
        try:
            await self._running().abort_transaction()
        except (KafkaError, AssertionError) as error:
            raise ProducerLostError(f"the transaction could not be aborted: {error!r}") from error

    def _running(self) -> AIOKafkaProducer:
        if self._producer is None:
            raise ProducerLostError(
                f"the producer of {self._source.topic} partition {self._source.partition} is closed"
            )
        return self._producer

    def _place(self, next_offset: int) -> str:
        return f"{self._source.topic} partition {self._source.partition} up to offset {next_offset}"


async def _all(awaitables: Iterable[Awaitable[Any]]) -> None:
    """Await all, even after a failure, then raise the first failure.

    asyncio would log a traceback for a failed future that nobody awaited.
    """
    results = await asyncio.gather(*awaitables, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result


def _by_place(outputs: Sequence[Outgoing]) -> Mapping[tuple[str, int], list[Outgoing]]:
    places: dict[tuple[str, int], list[Outgoing]] = {}
    for output in outputs:
        places.setdefault((output.topic, output.partition), []).append(output)
    return places


async def _send(
    producer: AIOKafkaProducer,
    topic: str,
    partition: int,
    outputs: Sequence[Outgoing],
    deliveries: list[asyncio.Future[Any]],
) -> None:
    batch, number = producer.create_batch(), 0
    for output in outputs:
        if not _append(batch, number, output):
            deliveries.append(await _sent(producer, batch, number, topic, partition))
            batch, number = producer.create_batch(), 0
            # The first record of a batch is always accepted, whatever its size; the broker may refuse it.
            _append(batch, number, output)
        number += 1
    deliveries.append(await _sent(producer, batch, number, topic, partition))


def _append(batch: BatchBuilder, number: int, output: Outgoing) -> bool:
    # Bypasses `BatchBuilder.append`, whose serializers and counters take as long as the packing itself.
    headers = output.headers if isinstance(output.headers, list) else list(output.headers)
    return batch._builder.append(number, output.timestamp_ms, output.key, output.value, headers) is not None


async def _sent(
    producer: AIOKafkaProducer, batch: BatchBuilder, number: int, topic: str, partition: int
) -> asyncio.Future[Any]:
    batch._relative_offset = number
    batch.close()
    delivery: asyncio.Future[Any] = await producer.send_batch(batch, topic, partition=partition)
    return delivery


async def _close(producer: AIOKafkaProducer) -> None:
    """Stop a producer within a bounded time; its own `stop` would wait for ever if the broker is gone."""
    task = producer._sender.sender_task
    try:
        async with asyncio.timeout(_CLOSE_STEP_S):
            await producer.stop()
    except (TimeoutError, KafkaError):
        if task is not None:
            task.cancel()
        await producer.client.close()
    finally:
        retrieve(producer)


def retrieve(producer: AIOKafkaProducer) -> None:
    """Retrieve the errors in futures that nobody awaits, as they are reported already, now and when it ends.

    Otherwise aiokafka leaves a traceback for each of them in the log.
    """
    _retrieve(producer)
    if producer._sender.sender_task is not None:
        # It may fail only now, or its failure may be passed on with the next turn of the loop.
        producer._sender.sender_task.add_done_callback(lambda _: _retrieve(producer))


def _retrieve(producer: AIOKafkaProducer) -> None:
    undrained = (batch for batches in producer._message_accumulator._batches.values() for batch in batches)
    for future in (producer._txn_manager._transaction_waiter, *(batch._drain_waiter for batch in undrained)):
        if future is not None and future.done() and not future.cancelled():
            future.exception()
