"""Writing what an empty set of topics begins with.

It is written whole or not at all, once, however many workers start together.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from aiokafka import AIOKafkaProducer
from aiokafka.errors import InvalidProducerEpoch, ProducerFenced

from streams import limits
from streams.connection.connect import let_go
from streams.connection.credentials import client_options
from streams.connection.settings import Broker
from streams.events.record import Outgoing, Received
from streams.kafka.reader import read_all

log = logging.getLogger(__name__)

TRANSACTIONAL_ID = "sightline-first-records"
#: Whoever fenced this one has this many looks, a second apart, to come to an end; then it is taken for dead.
_LOOKS = limits.TRANSACTION_TIMEOUT_MS // 1000


async def publish_once(
    broker: Broker,
    witness: str,
    records: Sequence[Outgoing],
    stands: Callable[[Sequence[Received]], Awaitable[bool]],
) -> bool:
    """Write `records` in one transaction unless something stands on the topic `witness`.

    Return whether they were written.

    `stands` says so of all its records: a topic that holds only what nobody can read is as good as empty.
    Delivery: exactly once. Starting the producer fences any other that tries the same, so what is seen
    afterwards is true until the commit or this producer fails. One that was fenced leaves the work to the
    other.
    """
    while True:
        try:
            return await _publish(broker, witness, records, stands)
        except (ProducerFenced, InvalidProducerEpoch):
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
    producer = _producer(broker)
    await producer.start()
    try:
        if await stands(await read_all(broker, witness)):
            return False
        await _write(producer, records)
        return True
    finally:
        await let_go(producer)


async def publish_now(broker: Broker, records: Sequence[Outgoing]) -> None:
    """Write `records` in one transaction: all of them or, when this fails, none."""
    producer = _producer(broker)
    await producer.start()
    try:
        await _write(producer, records)
    finally:
        await let_go(producer)


def _producer(broker: Broker) -> AIOKafkaProducer:
    return AIOKafkaProducer(
        **client_options(broker),
        transactional_id=TRANSACTIONAL_ID,
        acks="all",
        compression_type="zstd",
        transaction_timeout_ms=limits.TRANSACTION_TIMEOUT_MS,
        max_request_size=limits.MESSAGE_BYTES_MAX + limits.OUTPUT_HEADROOM_BYTES,
    )


async def _write(producer: AIOKafkaProducer, records: Sequence[Outgoing]) -> None:
    async with producer.transaction():
        for record in records:
            await producer.send_and_wait(
                record.topic,
                value=record.value,
                key=record.key,
                partition=record.partition,
                timestamp_ms=record.timestamp_ms,
                headers=list(record.headers),
            )
