"""How far agents are behind, as `sightline status` tells it of a real broker."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from click.testing import CliRunner

from streams import clock
from streams.cli.main import main
from streams.kafka.topics import declare
from streams.topology import AGENTS
from tests.kafka.conftest import PARTITIONS, Room
from tests.snapshots.build import store

pytestmark = pytest.mark.kafka
AGENT, AT = "glasses", 1


async def write(room: Room, count: int) -> None:
    """Write records into a partition, each in a transaction of its own, and one that is taken back."""
    producer = AIOKafkaProducer(bootstrap_servers=room.broker, transactional_id=f"{room.agent}-writer")
    await producer.start()
    for number in range(count + 1):
        await producer.begin_transaction()
        await producer.send_and_wait(room.source, b"%d" % number, b"g1", partition=AT)
        await (producer.commit_transaction() if number < count else producer.abort_transaction())
    await producer.stop()


async def commit(room: Room, offset: int) -> None:
    """Commit as the agent's group."""
    consumer = AIOKafkaConsumer(bootstrap_servers=room.broker, group_id=room.agent, enable_auto_commit=False)
    await consumer.start()
    place = TopicPartition(room.source, AT)
    consumer.assign([place])
    await consumer.commit({place: offset})
    await consumer.stop()


async def told(room: Room, path: Path) -> dict[tuple[str, int], dict[str, Any]]:
    """What a status says of the room's agent and of the store, by reader and partition."""
    asked = ["status", "--store", str(path), "--broker", room.broker, "--role", "privacy-officer", "--json"]
    result = await asyncio.to_thread(CliRunner().invoke, main, asked)
    assert result.exit_code == 0, result.output
    answer = orjson.loads(result.stdout)
    assert answer["broker"] == {"present": True, "address": room.broker}
    return {(one["agent"], one["partition"]): one for one in answer["lag"]}


async def test_lag_is_told_in_records_and_seconds(own_broker: str, tmp_path: Path) -> None:
    await declare(own_broker)
    room = Room(own_broker, AGENT, AGENTS[AGENT], "", tmp_path)
    path = store(tmp_path / "s")
    began_s = clock.now_ns() / 1e9
    await write(room, 5)
    never = await told(room, path)
    # A record and the mark of its transaction take a place each; the last record was taken back.
    await commit(room, 6)
    some = (await told(room, path))[AGENT, AT]
    await commit(room, 10)
    rest = (await told(room, path))[AGENT, AT]
    lasted_s = clock.now_ns() / 1e9 - began_s
    assert (never[AGENT, AT]["records"], some["records"], rest["records"]) == (12, 6, 0)
    assert (some["next_offset"], some["end_offset"], rest["seconds"]) == (6, 12, 0)
    assert 0 < never[AGENT, AT]["seconds"] <= lasted_s
    assert 0 < some["seconds"] <= lasted_s
    others = [one for key, one in never.items() if key[0] == AGENT and key != (AGENT, AT)]
    assert [(one["records"], one["seconds"]) for one in others] == [(0, 0)] * (PARTITIONS - 1)
    assert {reader for reader, _ in never} == {*AGENTS, "snapshots"}
    # An offset that is gone lags by what is there.
    await commit(room, 600)
    lag = (await told(room, path))[AGENT, AT]
    assert (lag["next_offset"], lag["end_offset"], lag["records"], lag["seconds"] > 0) == (600, 12, 12, True)
