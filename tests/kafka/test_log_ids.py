"""Offsets belong to a log: neither a topic made again nor another broker at the address is taken for it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.metadata import MetadataRequest_v5
from click.testing import CliRunner, Result

from streams import clock, topology
from streams.cli.main import main
from streams.errors import InputError
from streams.events.record import LogId
from streams.kafka import checkpoint, log_ids
from streams.kafka.broker import EmbeddedBroker, free_port
from streams.kafka.reader import Follower
from streams.kafka.topics import declare
from streams.queries.missing import LogRow, missing
from streams.queries.store import Store
from streams.snapshots.writer import Writer
from streams.topology import LINEAGE
from tests.kafka.conftest import Room, create
from tests.kafka.toy import ToyCore
from tests.snapshots.build import POLICY, batch, record

pytestmark = pytest.mark.kafka


async def remade(broker: str, topic: str) -> None:
    """Delete a topic and make it again."""
    admin = AIOKafkaAdminClient(bootstrap_servers=broker)
    await admin.start()
    try:
        await admin.delete_topics([topic])
        while topic in await admin.list_topics():
            await asyncio.sleep(0.05)
    finally:
        await admin.close()
    await (declare(broker) if topic == LINEAGE else create(broker, {topic: {}}))


async def tell(broker: str, first: int, count: int) -> None:
    """Captured events of one stream, a record each, on partition 0."""
    await declare(broker)
    async with AIOKafkaProducer(bootstrap_servers=broker) as producer:
        for number in range(first, first + count):
            # With a time of the broker, like all that workers write: what is from long ago would be over.
            one = batch("g1", "imu", number, appended_ns=clock.now_ns())
            rows = {"policies": [POLICY], "events": [one]}
            rows["streams"] = [{"source": "g1", "stream": "imu", "kind": "imu", "captured": True}]
            value = record(0, rows).value
            await producer.send_and_wait(LINEAGE, value, key=b"glasses/0", partition=0)


def take(broker: str, store: Path, *more: str) -> Result:
    arguments = ("snapshots", "--broker", broker, "--store", str(store), "--until-end", *more)
    return CliRunner().invoke(main, arguments)


def logs_of(store: Path) -> list[LogId]:
    """The logs that the epochs name, in their order, each once."""
    with Store.open(store) as opened:
        rows = opened.sql("SELECT cluster, topic FROM epochs ORDER BY epoch").rows
    return list(dict.fromkeys(LogId(*row) for row in rows))


def numbers(store: Path) -> list[int]:
    with Store.open(store) as opened:
        return [first for (first,) in opened.sql('SELECT "first" FROM events ORDER BY ALL').rows]


@pytest.fixture(scope="module")
def two_brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[EmbeddedBroker, int]]:
    """A broker, and its port: a test may put another one in its place."""
    node, port = EmbeddedBroker(), free_port()
    node.start(tmp_path_factory.mktemp("kafka"), port)
    yield node, port
    node.stop()


def test_a_store_takes_no_other_log_for_its_own(
    two_brokers: tuple[EmbeddedBroker, int], tmp_path: Path
) -> None:
    node, port = two_brokers
    broker, store = node.address, tmp_path / "s"
    asyncio.run(tell(broker, 0, 6))
    assert take(broker, store).exit_code == 0
    first = asyncio.run(log_ids.log_ids(broker, [LINEAGE]))[LINEAGE]
    assert asyncio.run(kafkas_own(broker)) == first.cluster
    assert logs_of(store) == [first]
    assert numbers(store) == list(range(6))

    asyncio.run(remade(broker, LINEAGE))
    asyncio.run(tell(broker, 6, 9))
    refused = take(broker, store)
    assert refused.exit_code == 2, refused.stderr
    assert "filled from another log of glasses.lineage" in refused.stderr
    assert "--adopt" in refused.stderr
    assert numbers(store) == list(range(6))
    assert take(broker, store, "--adopt").exit_code == 0
    assert numbers(store) == list(range(15)), "each once, none is missing"
    second = asyncio.run(log_ids.log_ids(broker, [LINEAGE]))[LINEAGE]
    assert second.cluster == first.cluster
    assert logs_of(store) == [first, second]

    node.stop()
    node.start(tmp_path / "other", port)
    asyncio.run(tell(node.address, 15, 3))
    refused = take(broker, store)
    assert (refused.exit_code, "found topic id" in refused.stderr) == (2, True), refused.stderr
    assert take(broker, store, "--adopt").exit_code == 0
    assert numbers(store) == list(range(18))
    assert len(logs_of(store)) == 3
    with Store.open(store) as opened:
        answer = missing(opened)
    assert answer.offsets == {"0": 3}
    assert isinstance(answer.log, LogRow)
    assert answer.log.cluster == logs_of(store)[-1].cluster
    assert answer.missing_events == 0


async def kafkas_own(broker: str) -> str:
    """The cluster's id as aiokafka itself reads it."""
    async with AIOKafkaConsumer(bootstrap_servers=broker) as consumer:
        client = consumer._client
        answer = await client.send(client.get_random_node(), log_ids._MetadataRequest([LINEAGE]))
        return str(answer.cluster_id)


async def test_a_follower_returns_nothing_of_a_topic_made_anew(room: Room) -> None:
    before = (await log_ids.log_ids(room.broker, [room.source]))[room.source]
    async with Follower(room.broker, room.source, log_id=before) as follower:
        await room.produce([b"old"])
        assert [one.value for one in (await follower.poll(5000, 10))[0]] == [b"old"]
        await remade(room.broker, room.source)
        await room.produce([b"new"] * 40)
        with pytest.raises(InputError, match=r"made again while it was read|does not hold"):
            await next_of(follower)
    async with Follower(room.broker, room.source, log_id=before) as follower:
        with pytest.raises(InputError, match="made again while it was read"):
            await next_of(follower)


async def next_of(follower: Follower) -> None:
    """Poll until something comes."""
    while not await follower.poll(200, 10):
        pass


async def test_a_worker_does_not_run_on_with_a_state_of_another_log(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with room.running(ToyCore(room.target)):
        await room.produce([b"%d" % number for number in range(40)])
        await room.wait_for(40)
    logs = (await checkpoint.load(room.broker, room.agent, 0, wait_s=5)).logs
    assert logs == await log_ids.log_ids(room.broker, [room.source, topology.STATE])
    await remade(room.broker, room.source)
    await room.produce([b"%d" % number for number in range(80)])
    async with room.running(ToyCore(room.target)):
        for _ in range(100):
            if room.ended:
                break
            await asyncio.sleep(0.1)
    assert f"was made of another log of {room.source}" in room.ended[0]
    assert f"delete {topology.STATE} too" in room.ended[0]
    assert len(await room.outputs()) == 40, "nothing of the new log was taken for the old one's"


async def test_a_broker_without_topic_ids_is_said_once_and_worked_with(
    room: Room, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # As one answers that speaks metadata up to version 5 only.
    monkeypatch.setattr(log_ids._MetadataRequest, "_CLASSES", (MetadataRequest_v5,))
    log_ids._say_unknown.cache_clear()
    for _ in range(2):
        found = (await log_ids.log_ids(room.broker, [room.source]))[room.source]
    assert (bool(found.cluster), found.topic) == (True, "")
    assert caplog.text.count("gives no ids of its topics") == 1
    writer = Writer.open(tmp_path / "s")
    assert writer.follow(found) == ""
    assert writer.follow(LogId(found.cluster, "told-later")) == ""
    with pytest.raises(InputError, match="another log"):
        writer.follow(LogId(found.cluster, "another"))
    assert writer.follow(found) == "", "what is not told proves nothing"
    writer.close()
