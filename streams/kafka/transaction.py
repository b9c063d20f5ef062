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
from streams.connection.connect import reach
from streams.connection.credentials import client_options
from streams.connection.settings import Broker
from streams.errors import UnavailableError
from streams.events.record import Outgoing
from streams.kafka.groups import MARK

log = logging.getLogger(__name__)

#: Uncompressed; compression can only add a few bytes to what cannot be compressed, hence the headroom.
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
    """The producer cannot go on (fenced, timed out, produce refused).

    Close it and go through the assignment order again.
    """


class _PatientSender(Sender):  # type: ignore[misc]
    """aiokafka's sender with pauses of 5 ms, doubled up to 1 s from a failed connection to a good one.

    The same setting governs both: the broker says CONCURRENT_TRANSACTIONS right after nearly every commit,
    where 100 ms would be added to each transaction, while 5 ms against an absent broker are thousands of
    connection attempts a second.
    """

    _pause_s = limits.TRANSACTION_BACKOFF_MS / 1000

    @property
    def _retry_backoff(self) -> float:
        return self._pause_s

    @_retry_backoff.setter
    def _retry_backoff(self, _value: float) -> None:
        """Ignore the fixed value that the base class sets."""

    def reached(self, answered: bool) -> None:
        """Take note of a request that was answered, or that met no broker."""
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
    # `send` and `ready` are where every request of the sender meets the network.
    producer.client.send, producer.client.ready = (
        _counted(producer.client.send, sender),
        _counted(producer.client.ready, sender),
    )
    return producer


class TransactionWriter:
    """Writes fetches of one source partition, each in one transaction of one producer.

    Delivery: exactly once, if every writer of the partition uses the same transactional id
    (`group-topic-partition`), starts before it reads the committed offset and is left after
    `ProducerLostError`. The offset that it commits is the next one to read.

    `outputs` are the partitions that writers of this source partition write to.
    """

    def __init__(
        self, broker: Broker, group: str, source: TopicPartition, outputs: Sequence[TopicPartition] = ()
    ) -> None:
        self._broker, self._group, self._source, self._outputs = broker, group, source, outputs
        self._producer: AIOKafkaProducer | None = None

    @property
    def group(self) -> str:
        """The group that it commits in."""
        return self._group

    @property
    def partition(self) -> int:
        """Number of the source partition."""
        return int(self._source.partition)

    async def start(self, wait_s: float) -> None:
        """Make the producer: fences its predecessor and ends that one's open transaction before this returns.

        Raises
        ------
        UnavailableError
            The broker did not answer in `wait_s` seconds.
        ProducerLostError
            What a predecessor left open could not be ended.
        """
        transactional_id = f"{self._group}-{self._source.topic}-{self._source.partition}"

        async def start() -> AIOKafkaProducer:
            producer = _new_producer(self._broker, transactional_id)
            try:
                async with asyncio.timeout(max(wait_s, _CLOSE_STEP_S)):
                    await producer.start()
            except TimeoutError as error:
                await _close(producer)
                raise UnavailableError(
                    f"The broker {self._broker} gave no producer id to {transactional_id} in {wait_s:g} s."
                ) from error
            except BaseException:
                await _close(producer)
                raise
            return producer

        self._producer = await reach(self._broker, start, wait_s)
        await self._end_left_open()

    async def _end_left_open(self) -> None:
        """Abort a transaction over all outputs.

        A frozen broker that goes on can append what a predecessor sent after it has ended that one's
        transaction (a *hanging* transaction, KIP-890). The coordinator knows nothing of it any more, so
        neither a new producer nor a timeout ends it, and readers of what is committed wait for ever; chaos
        found a partition standing still for the rest of the run. An abort marker of the same producer id does
        end it, and goes only where the transaction wrote. Nothing of it can have been meant to stay: whoever
        fences waits for commits that are under way.
        """
        producer = self._running()
        try:
            async with asyncio.timeout(COMMIT_TIMEOUT_S):
                await producer.begin_transaction()
                deliveries = [
                    await producer.send(place.topic, b"", key=b"aborted", partition=place.partition)
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

        Retried from memory with growing pauses where that is safe.

        1. begin the transaction; 2. send the outputs, batched by topic and partition, in order; 3. await
        *every* delivery (aiokafka commits a transaction whose produce failed); 4. send the source offset;
        5. commit. A failure in 1 or 4 aborts and is retried; one in 3 aborts and ends the producer, whose
        sequence numbers no longer fit the broker's; one in 5 ends it too: whether it was committed is read
        from the committed offset.

        Raises
        ------
        ProducerLostError
            Nothing may be written with this writer any more.
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
        """Abort an open transaction and disconnect, within about 2 s even when the broker is away."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        if producer._txn_manager.is_in_transaction():
            # Otherwise readers of the outputs wait for the transaction's timeout.
            with contextlib.suppress(KafkaError, TimeoutError, AssertionError):
                async with asyncio.timeout(_CLOSE_STEP_S):
                    await producer.abort_transaction()
        await _close(producer)

    async def _attempt(self, outputs: Sequence[Outgoing], next_offset: int) -> None:
        producer = self._running()
        await producer.begin_transaction()  # step 1
        deliveries: list[asyncio.Future[Any]] = []
        sent = [_send(producer, place, some, deliveries) for place, some in _by_place(outputs).items()]
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
    """Await every one, also after a failure, then raise the first failure.

    A forgotten failed future would complain later.
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
    place: tuple[str, int],
    outputs: Sequence[Outgoing],
    deliveries: list[asyncio.Future[Any]],
) -> None:
    topic, partition = place
    batch, number = producer.create_batch(), 0
    for output in outputs:
        if not _append(batch, number, output):
            deliveries.append(await _sent(producer, batch, number, topic, partition))
            batch, number = producer.create_batch(), 0
            # The first record of a batch is always taken, whatever its size: the broker decides.
            _append(batch, number, output)
        number += 1
    deliveries.append(await _sent(producer, batch, number, topic, partition))


def _append(batch: BatchBuilder, number: int, output: Outgoing) -> bool:
    # Past `BatchBuilder.append`, which takes as long for its serializers and counters as the packing behind
    # it.
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
    """Stop a producer with bounded patience.

    Its own stop waits for deliveries, for ever when the broker is away.
    """
    try:
        async with asyncio.timeout(_CLOSE_STEP_S):
            await producer.stop()
    except (TimeoutError, KafkaError):
        task = producer._sender.sender_task
        if task is not None:
            task.cancel()
        await producer.client.close()
    # What ended the producer is reported already; aiokafka leaves it in futures that nobody awaits, and each
    # would log a traceback.
    undrained = (batch for batches in producer._message_accumulator._batches.values() for batch in batches)
    for future in (producer._txn_manager._transaction_waiter, *(batch._drain_waiter for batch in undrained)):
        if future is not None and future.done() and not future.cancelled():
            future.exception()
