"""Reading without a group: to the end, from given offsets, and past transaction markers.

It never reads past what is committed.
"""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import AIOKafkaProducer

from streams.errors import InputError, UnavailableError
from streams.kafka import reader
from tests.kafka.conftest import Room

pytestmark = pytest.mark.kafka


async def test_the_end_is_reached_past_markers_and_aborted_records(room: Room) -> None:
    async with AIOKafkaProducer(bootstrap_servers=room.broker, transactional_id=room.agent) as producer:
        async with producer.transaction():
            await producer.send_and_wait(room.source, b"kept", partition=0)
        await producer.begin_transaction()
        await producer.send_and_wait(room.source, b"aborted", partition=0)
        await producer.abort_transaction()
    assert [record.value for record in await reader.read_all(room.broker, room.source)] == [b"kept"]
    assert [record.value for record in await reader.read_all(room.broker, room.source, committed=False)] == [
        b"kept",
        b"aborted",
    ]
    async with reader.Follower(room.broker, room.source) as follower:
        assert [record.value for record in (await follower.poll(2000, 10))[0]] == [b"kept"]
        while await follower.poll(200, 10):
            pass
        assert await follower.positions() == {0: 4, 1: 0, 2: 0, 3: 0} == await follower.end_offsets()


async def test_an_open_transaction_is_waited_for(room: Room) -> None:
    async with AIOKafkaProducer(bootstrap_servers=room.broker, transactional_id=room.agent) as producer:
        await producer.begin_transaction()
        await producer.send_and_wait(room.source, b"open", partition=1)
        reading = asyncio.create_task(reader.read_all(room.broker, room.source, 1))
        await asyncio.sleep(0.7)
        assert not reading.done()
        await producer.commit_transaction()
        assert [record.value for record in await reading] == [b"open"]


async def test_follower_goes_on_from_its_positions(room: Room) -> None:
    await room.produce([b"%d" % number for number in range(40)])
    seen: list[bytes] = []
    positions: dict[int, int] = {}
    for _ in range(8):
        async with reader.Follower(room.broker, room.source, positions) as follower:
            polled = await follower.poll(2000, 5)
            seen += [record.value for records in polled.values() for record in records]
            positions = await follower.positions()
    assert sorted(map(int, seen)) == list(range(40))


async def test_offset_outside_the_log_is_an_error_and_no_reset(room: Room) -> None:
    await room.produce([b"only"])
    with pytest.raises(
        InputError, match=r"Offset 7 of source-\S+ partition 0 lies outside its log, which holds 0 to 1"
    ):
        await reader.read_all(room.broker, room.source, from_offsets={0: 7})
    with pytest.raises(InputError, match="Offset 7"):
        await reader.Follower(room.broker, room.source, {0: 7}).start()


async def test_absent_topic_partition_and_broker_are_sentences(room: Room) -> None:
    with pytest.raises(UnavailableError, match="There is no topic nowhere on"):
        await reader.read_all(room.broker, "nowhere")
    with pytest.raises(UnavailableError, match=r"has partitions 0 to 3, not partition 9"):
        await reader.read_all(room.broker, room.source, 9)
    with pytest.raises(UnavailableError, match=r"No Kafka answers at 127\.0\.0\.1:1"):
        await reader.end_offsets("127.0.0.1:1", ["x"], wait_s=0.2)
