"""A hanging transaction (KIP-890): data reached a partition after the coordinator had ended it.

Nobody but the same producer id can end it: without that, restoring state waits for ever, and the next commit
would commit it too.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.producer.transaction_manager import TransactionState

from streams import topology
from streams.kafka.reader import read_all
from tests.kafka.conftest import PARTITIONS, Room, numbers_by_partition, values_by_partition
from tests.kafka.test_transport import batch, dealt
from tests.kafka.toy import ToyCore

GHOST = b"ghost"
HAUNTED = (topology.STATE, topology.LINEAGE)


@asynccontextmanager
async def unverified(broker: str) -> AsyncIterator[None]:
    """Let the broker take transactional data without asking its coordinator.

    It did so by itself under chaos.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=broker)
    await admin.start()
    try:
        await admin.alter_configs(
            [
                ConfigResource(
                    ConfigResourceType.BROKER, "1", {"transaction.partition.verification.enable": "false"}
                )
            ]
        )
        # The node applies what it is told a moment after it has answered.
        await asyncio.sleep(2.0)
        yield
        await admin.alter_configs([ConfigResource(ConfigResourceType.BROKER, "1", {})])
    finally:
        await admin.close()


async def haunt(room: Room, partition: int) -> None:
    """Leave data in an open transaction of which the coordinator never hears."""
    producer = AIOKafkaProducer(
        bootstrap_servers=room.broker, transactional_id=f"{room.agent}-{room.source}-{partition}"
    )
    await producer.start()
    try:
        await producer.begin_transaction()
        for name in HAUNTED:
            # The client takes the partitions for added, so it does not add them.
            producer._txn_manager._txn_partitions.add(TopicPartition(name, partition))
            await producer.send_and_wait(
                name, GHOST, key=f"{room.agent}/{partition}/{GHOST.decode()}".encode(), partition=partition
            )
    finally:
        # Stopped as if no transaction was open; the coordinator agrees.
        producer._txn_manager.state = TransactionState.READY
        await producer.stop()


async def hidden(broker: str) -> int:
    """How many records of the haunted topics lie behind the last stable offset."""
    places = [TopicPartition(name, partition) for name in HAUNTED for partition in range(PARTITIONS)]
    ends = []
    for isolation in ("read_uncommitted", "read_committed"):
        async with AIOKafkaConsumer(bootstrap_servers=broker, isolation_level=isolation) as consumer:
            ends.append(sum((await consumer.end_offsets(places)).values()))
    return int(ends[0] - ends[1])


@pytest.mark.kafka
async def test_a_hanging_transaction_is_ended_and_never_committed(room: Room) -> None:
    async with unverified(room.broker):
        for partition in range(PARTITIONS):
            await haunt(room, partition)
    assert await hidden(room.broker) >= len(HAUNTED) * PARTITIONS, "the transactions do not hang"
    await room.produce(batch(0, 80))
    async with room.running(ToyCore(room.target)):
        found = await room.wait_for(80)
    assert values_by_partition(found) == dealt(0, 80)
    assert numbers_by_partition(found) == {number: list(range(1, 21)) for number in range(PARTITIONS)}
    assert await hidden(room.broker) == 0
    for name in HAUNTED:
        assert GHOST not in [record.value for record in await read_all(room.broker, name)]
