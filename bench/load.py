"""Writing a load: by one sender, either at once for all subjects or at a steady rate."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from aiokafka import AIOKafkaProducer

from bench.traffic import Traffic
from device_sim.kafka import partition_of
from streams import limits
from streams.events.batch import Batch
from streams.events.codec import encode
from streams.events.headers import envelope
from streams.topology import PARTITIONS_DEFAULT

DEVICES = 8
#: Age of the last capture time: young enough for Kafka to keep the records, and not in the future.
AGE_NS = 3_600_000_000_000
_PACKED = 200
_HELD_MAX_MS = 300_000


class Sender:
    """Writes batches to one topic like a fleet of devices: idempotent, acks=all, zstd.

    Delivery: at least once; `send` returns futures that complete when the broker has acknowledged. Records
    are packed here by partition, which costs a fifth of `producer.send`, so the sender takes few of the cores
    that it shares with what is measured. With `held`, a name, everything is one transaction: readers of
    committed records see nothing before `release`, and then everything at once.
    """

    def __init__(self, broker: str, topic: str, held: str = "") -> None:
        self._topic, self._held = topic, held
        self._producer = AIOKafkaProducer(
            bootstrap_servers=broker,
            enable_idempotence=True,
            compression_type="zstd",
            transactional_id=held or None,
            transaction_timeout_ms=_HELD_MAX_MS,
            max_batch_size=limits.MESSAGE_BYTES_MAX,
            max_request_size=limits.MESSAGE_BYTES_MAX,
        )

    async def __aenter__(self) -> Sender:
        await self._producer.start()
        if self._held:
            await self._producer.begin_transaction()
        return self

    async def release(self) -> None:
        """Commit what was held, so that readers see it."""
        await self._producer.commit_transaction()

    async def __aexit__(self, *_exc: object) -> None:
        await self._producer.stop()

    async def send(self, some: Iterable[Batch]) -> list[asyncio.Future[Any]]:
        """Pass batches to the producer, in order; one future per packed partition."""
        packed: dict[int, Any] = {}
        for batch in some:
            partition = partition_of(batch.source, PARTITIONS_DEFAULT)
            if partition not in packed:
                packed[partition] = self._producer.create_batch()
            added = packed[partition].append(
                timestamp=batch.t0_ns // 1_000_000,
                key=batch.source.encode(),
                value=encode(batch),
                headers=envelope(batch),
            )
            if added is None:
                raise ValueError(
                    f"more than {limits.MESSAGE_BYTES_MAX} bytes for one partition at once; "
                    "hand over fewer batches"
                )
        for builder in packed.values():
            builder.close()
        return [
            await self._producer.send_batch(builder, self._topic, partition=partition)
            for partition, builder in packed.items()
        ]


async def fill(
    sender: Sender, traffic: Traffic, number: int, start_ns: int, device_count: int = DEVICES
) -> Mapping[int, list[bytes]]:
    """Write the first `number` batches of a traffic; return their ids by partition, in order.

    It returns when all are acknowledged.
    """
    ids: dict[int, list[bytes]] = {}
    load = traffic.batches(0, number, start_ns, device_count)
    sent: list[asyncio.Future[Any]] = []
    while some := list(islice(load, _PACKED)):
        for batch in some:
            ids.setdefault(partition_of(batch.source, PARTITIONS_DEFAULT), []).append(batch.first_id.encode())
        sent += await sender.send(some)
    await asyncio.gather(*sent)
    return ids
