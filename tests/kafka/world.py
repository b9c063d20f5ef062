"""What time, operators and strangers do to a broker while nobody looks, by Kafka's own means."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.protocol.admin import DeleteGroupsRequest

from streams import topology
from streams.kafka.lag import lags
from streams.kafka.reader import committed_offsets
from streams.kafka.standing import NEXT
from streams.kafka.topics import declare, until_known
from streams.settings.kafka import Broker
from tests.patience import PATIENCE_S


@asynccontextmanager
async def administering(broker: str) -> AsyncIterator[AIOKafkaAdminClient]:
    """An admin client."""
    admin = AIOKafkaAdminClient(bootstrap_servers=broker)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def retention(broker: str, topic: str, before: Mapping[int, int]) -> None:
    """What retention does: of some partitions the records before an offset are gone."""
    async with administering(broker) as admin:
        await admin.delete_records(
            {TopicPartition(topic, number): RecordsToDelete(offset) for number, offset in before.items()}
        )


async def expire(broker: str, *groups: str) -> None:
    """What `offsets.retention.minutes` does to groups that are empty: they are forgotten."""
    async with administering(broker) as admin, asyncio.timeout(PATIENCE_S):
        for group in groups:
            while True:
                node = await admin.find_coordinator(group)
                answer = await admin._client.send(node, DeleteGroupsRequest([group]))
                if [code for _, code in answer.results] in ([0], [69]):  # done, or there is none
                    break
                await asyncio.sleep(0.1)


async def configure(broker: str, topic: str, settings: Mapping[str, str]) -> None:
    """Somebody sets a topic otherwise than it was declared."""
    async with administering(broker) as admin:
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, dict(settings))])


async def commit(broker: str, group: str, topic: str, offsets: Mapping[int, int]) -> None:
    """What a stranger with our group's name does."""
    async with AIOKafkaConsumer(
        bootstrap_servers=broker, group_id=group, enable_auto_commit=False
    ) as consumer:
        places = {TopicPartition(topic, number): offset for number, offset in offsets.items()}
        consumer.assign(list(places))
        await consumer.commit(places)


async def remade(broker: str, topic: str, partitions: int) -> None:
    """Somebody deletes a topic, and it is made again."""
    async with administering(broker) as admin, asyncio.timeout(PATIENCE_S):
        await admin.delete_topics([topic])
        while topic in await admin.list_topics():
            await asyncio.sleep(0.05)
        if topic in {one.name for one in topology.TOPICS}:
            await declare(broker, partitions)
        else:
            await admin.create_topics([NewTopic(topic, partitions, 1)])
            await until_known(admin, broker, [topic])


def until_all_is_read(broker: Broker, group_prefix: str) -> None:
    """Wait until no agent has a record left to read."""

    async def left() -> int:
        records = 0
        for agent, topic in topology.AGENTS.items():
            group = topology.group(agent, group_prefix)
            committed = await committed_offsets(broker, group, [topic])
            offsets = {partition: offset for (_, partition), offset in committed.items()}
            records += sum(each.records for each in await lags(broker, topic, offsets, wait_s=PATIENCE_S))
        return records

    async def none_left() -> None:
        async with asyncio.timeout(PATIENCE_S):
            while await left():
                await asyncio.sleep(0.5)

    asyncio.run(none_left())


async def produce(broker: str, topic: str, values: Sequence[bytes], partitions: int, key: bytes) -> None:
    """Write values to the partitions of a topic in turn."""
    async with AIOKafkaProducer(bootstrap_servers=broker, enable_idempotence=True) as producer:
        sent = [
            await producer.send(topic, value, key=key, partition=number % partitions)
            for number, value in enumerate(values)
        ]
        await asyncio.gather(*sent)


async def write_lineage(broker: str, agent: str, partition: int, next_offset: int) -> None:
    """What an agent writes in the transaction that commits an offset."""
    async with AIOKafkaProducer(bootstrap_servers=broker) as producer:
        await producer.send_and_wait(
            topology.LINEAGE,
            b"{}",
            key=f"{agent}/{partition}".encode(),
            partition=partition,
            headers=[(NEXT, b"%d" % next_offset)],
        )


async def write_state(broker: str, agent: str, partition: int, entries: Mapping[str, bytes | None]) -> None:
    """Put entries of an agent's state on their topic, or remove them (None)."""
    async with AIOKafkaProducer(bootstrap_servers=broker) as producer:
        for name, value in entries.items():
            key = f"{agent}/{partition}/{name}".encode()
            await producer.send_and_wait(topology.STATE, value, key=key, partition=partition)


async def raised(broker: str, topic: str, partitions: int) -> None:
    """Somebody adds partitions to a topic."""
    async with administering(broker) as admin, asyncio.timeout(PATIENCE_S):
        await admin.create_partitions({topic: NewPartitions(partitions)})
        while len((await admin.describe_topics([topic]))[0]["partitions"]) < partitions:
            await asyncio.sleep(0.05)


async def commit_in_transaction(broker: str, group: str, topic: str, offsets: Mapping[int, int]) -> None:
    """What a stranger does who needs no place in a group for it."""
    places = {TopicPartition(topic, number): offset for number, offset in offsets.items()}
    name = f"stranger-{group}"
    async with (
        AIOKafkaProducer(bootstrap_servers=broker, transactional_id=name) as producer,
        producer.transaction(),
    ):
        await producer.send_offsets_to_transaction(places, group)
