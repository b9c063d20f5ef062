"""Write the first records of a new installation: all or none, and once, even if several workers start."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.errors import InvalidProducerEpoch, KafkaError, ProducerFenced, UnknownError

from streams import limits
from streams.connection.connect import let_go
from streams.connection.credentials import client_options
from streams.errors import UnavailableError
from streams.events.record import Outgoing, Received
from streams.kafka.reader import read_all
from streams.kafka.transaction import retrieve
from streams.settings.kafka import Broker, KafkaSettings

log = logging.getLogger(__name__)

TRANSACTIONAL_ID = "sightline-first-records"
#: After being fenced, wait this many seconds for the other worker's records; then assume that it is dead.
_LOOKS = limits.TRANSACTION_TIMEOUT_MS // 1000
#: A broker that is interrupted by another process hardly fails so often in a row; one that is broken does.
_FAILURES_MAX = 3


async def publish_once(
    broker: Broker,
    witness: str,
    records: Sequence[Outgoing],
    stands: Callable[[Sequence[Received]], Awaitable[bool]],
) -> bool:
    """Write `records` in one transaction unless the topic `witness` has valid records already.

    Return whether they were written. `stands` receives all records of the topic and decides whether they are
    valid, because a topic with only unreadable records counts as empty.

    Delivery: exactly once. Starting the producer fences every other worker's, so no other worker can write
    between the check and the commit. A worker that was fenced waits for the records of the one that fenced
    it.

    Raises
    ------
    UnavailableError
        The broker failed several times in a row.
    """
    failures = 0
    while True:
        try:
            return await _publish(broker, witness, records, stands)
        except KafkaError as error:
            failures = _taken_back(error, broker, failures)
            log.warning("another worker writes the first records; waiting for it")
        for _ in range(_LOOKS):
            await asyncio.sleep(1.0)
            if await stands(await read_all(broker, witness)):
                return False


async def _publish(
    broker: Broker,
    witness: str,
    records: Sequence[Outgoing],
    stands: Callable[[Sequence[Received]], Awaitable[bool]],
) -> bool:
    async with _producing(broker) as producer:
        if await stands(await read_all(broker, witness)):
            return False
        await _write(producer, broker, records)
        return True


class Placed(NamedTuple):
    """Where a record was written, and its append time by the broker's clock."""

    partition: int
    offset: int
    appended_ns: int


async def publish_now(broker: Broker, records: Sequence[Outgoing]) -> list[Placed]:
    """Write `records` in one transaction, all of them or, if it fails, none; return where each lies.

    If another process begins to write meanwhile, the broker takes back what this one had begun, and it begins
    anew. Delivery: once, but twice if the broker's answer to a commit is lost at that moment.

    Raises
    ------
    UnavailableError
        The broker failed several times in a row.
    """
    failures = 0
    while True:
        try:
            async with _producing(broker) as producer:
                return await _write(producer, broker, records)
        except KafkaError as error:
            failures = _taken_back(error, broker, failures)
            log.info("another process writes; beginning anew")
        # Not at the same time as the other one, should it have been fenced too.
        await asyncio.sleep(0.1 + secrets.randbelow(900) / 1000)


def _taken_back(error: KafkaError, broker: Broker, failures: int) -> int:
    """Return how often the broker has failed, if by this error it takes back what was begun; else raise it.

    Kafka fails over a commit that arrives when another producer of this id has begun to fence ours and our
    transaction is not yet aborted (`prepareAbortOrCommit` with PrepareEpochFence pending, of its
    TransactionCoordinator). It says UNKNOWN_SERVER_ERROR, commits nothing and goes on with the abort. The
    other errors by which the coordinator says so commit nothing either.
    """
    if isinstance(error, ProducerFenced | InvalidProducerEpoch):
        return failures
    # aiokafka raises errors that it does not know as the cause of one that says nothing.
    if not isinstance(error.__cause__, UnknownError):
        raise error
    if failures + 1 == _FAILURES_MAX:
        raise UnavailableError(
            f"The broker {broker} failed to end a transaction {_FAILURES_MAX} times, and nothing is written: "
            f"{error.__cause__!r}. Look into its log."
        ) from error
    return failures + 1


@contextlib.asynccontextmanager
async def _producing(broker: Broker) -> AsyncIterator[AIOKafkaProducer]:
    producer = _producer(broker)
    await producer.start()
    try:
        yield producer
    finally:
        try:
            await let_go(producer)
        finally:
            retrieve(producer)


def _producer(broker: Broker) -> AIOKafkaProducer:
    return AIOKafkaProducer(
        **client_options(broker),
        # Of each installation its own: one must not end what another writes.
        transactional_id=KafkaSettings.of(broker).topic_prefix + TRANSACTIONAL_ID,
        acks="all",
        compression_type="zstd",
        transaction_timeout_ms=limits.TRANSACTION_TIMEOUT_MS,
        max_request_size=limits.MESSAGE_BYTES_MAX + limits.OUTPUT_HEADROOM_BYTES,
    )


async def _write(producer: AIOKafkaProducer, broker: Broker, records: Sequence[Outgoing]) -> list[Placed]:
    kafka, placed = KafkaSettings.of(broker), list[Placed]()
    async with producer.transaction():
        for record in records:
            written = await producer.send_and_wait(
                kafka.wire_name(record.topic),
                value=record.value,
                key=record.key,
                partition=record.partition,
                timestamp_ms=record.timestamp_ms,
                headers=list(record.headers),
            )
            placed.append(Placed(written.partition, written.offset, written.timestamp * 1_000_000))
    return placed
