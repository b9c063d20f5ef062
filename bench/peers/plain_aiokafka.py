"""Plain aiokafka without framework or transactions: reads up to 5,000 records, packs and writes them.

Delivery is at least once.
"""

from __future__ import annotations

import asyncio
import sys

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from bench.peers import LINGER_MS
from bench.peers.tagging import FORWARD, adding_of
from streams.errors import MalformedError

_RECORDS_MAX = 5000
_BYTES = 1 << 20


async def main(broker: str, source: str, target: str, group: str, work: str = FORWARD) -> None:
    """Work until a signal; offsets are committed by the client every 5 s."""
    consumer = AIOKafkaConsumer(
        source,
        bootstrap_servers=broker,
        group_id=group,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=4 * _BYTES,
    )
    producer = AIOKafkaProducer(
        bootstrap_servers=broker,
        linger_ms=LINGER_MS,
        max_batch_size=_BYTES,
        acks="all",
        enable_idempotence=True,
    )
    adding = adding_of(work)
    async with consumer, producer:
        while True:
            for tp, records in (await consumer.getmany(timeout_ms=1000, max_records=_RECORDS_MAX)).items():
                packed = producer.create_batch()
                for record in records:
                    try:
                        added = adding(record.key, record.value, record.headers, record.timestamp)
                    except MalformedError:
                        continue
                    sent = {
                        "timestamp": record.timestamp,
                        "key": record.key,
                        "value": record.value,
                        "headers": [*record.headers, *added],
                    }
                    if packed.append(**sent) is None:
                        packed.close()
                        await producer.send_batch(packed, target, partition=tp.partition)
                        packed = producer.create_batch()
                        packed.append(**sent)
                packed.close()
                await producer.send_batch(packed, target, partition=tp.partition)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
