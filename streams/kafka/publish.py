"""Writing what an empty set of topics begins with: all of it or nothing, once, however many workers start together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aiokafka import AIOKafkaProducer

from streams import limits
from streams.events.record import Outgoing, Received
from streams.kafka.reader import read_all

TRANSACTIONAL_ID = "sightline-first-records"


async def publish_once(broker: str, witness: str, records: Sequence[Outgoing], stands: Callable[[Sequence[Received]], bool]) -> bool:
    """Write `records` in one transaction unless something stands on the topic `witness`; return whether they were written.

    `stands` says so of all its records: a topic that holds only what nobody can read is as good as empty.
    Delivery: exactly once. Starting the producer fences any other that tries the same, so what is seen afterwards is true until the
    commit or this producer fails.
    """
    producer = AIOKafkaProducer(bootstrap_servers=broker, transactional_id=TRANSACTIONAL_ID, acks="all", compression_type="zstd",
                                transaction_timeout_ms=limits.TRANSACTION_TIMEOUT_MS,
                                max_request_size=limits.MESSAGE_BYTES_MAX + limits.OUTPUT_HEADROOM_BYTES)
    await producer.start()
    try:
        if stands(await read_all(broker, witness)):
            return False
        async with producer.transaction():
            for record in records:
                await producer.send_and_wait(record.topic, value=record.value, key=record.key, partition=record.partition,
                                             timestamp_ms=record.timestamp_ms, headers=list(record.headers))
        return True
    finally:
        await producer.stop()
