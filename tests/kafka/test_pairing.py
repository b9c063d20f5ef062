"""What operators say stands on `glasses.consents`, at the broker's time; other topics are refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from click.testing import CliRunner, Result

from streams import clock
from streams.cli.main import main
from streams.consent.words import Pairing, Word
from streams.kafka.broker import EmbeddedBroker, free_port
from streams.kafka.reader import read_all
from streams.kafka.topics import declare
from streams.topology import CAPTURED, CONSENTS, STATE
from streams.worker.on_topics import bind, consents_of_topic
from tests.kafka import world

pytestmark = pytest.mark.kafka
FAR_MS = 4_000_000_000_000


def sightline(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


async def write(broker: str, topic: str, key: bytes, value: bytes, timestamp_ms: int) -> None:
    async with AIOKafkaProducer(bootstrap_servers=broker) as producer:
        await producer.send_and_wait(topic, value, key, 0, timestamp_ms)


def test_the_broker_says_when_whatever_a_device_says(own_broker: str) -> None:
    broker = own_broker
    asyncio.run(declare(broker))
    for topic in (CAPTURED, CONSENTS):
        asyncio.run(write(broker, topic, b"g1", b"{}", FAR_MS))
        (record,) = asyncio.run(read_all(broker, topic, 0))
        assert abs(record.timestamp - clock.now_ns() // 1_000_000) < 60_000


def test_pairings_and_withdrawals_are_written_once_and_read_back(own_broker: str) -> None:
    broker = own_broker
    asyncio.run(declare(broker))
    at = ("--broker", broker)
    assert sightline("pair", "--device", "g1", "--wearer", "w1", *at).stdout == "g1 is bound to w1\n"
    assert sightline("pair", "--device", "g1", "--wearer", "w1", *at).stdout == "g1 is bound to w1 already\n"
    assert asyncio.run(bind(broker, [("g1", "w1"), ("g2", "w2"), ("g2", "w2")])) == 1
    assert sightline("pair", "--device", "g2", "--wearer", "w2", "--end", *at).exit_code == 0
    assert asyncio.run(bind(broker, [("g2", "w2")])) == 0, "what an operator ended stays so"
    listed = json.loads(sightline("pair", "--list", "--json", *at).stdout)
    assert listed == [
        {"device": "g1", "wearer": "w1", "bound": True},
        {"device": "g2", "wearer": "w2", "bound": False},
    ]
    for wrong, sentence in (
        (("--device", "g9", "--wearer", "w9", "--end"), "found no pairing"),
        (("--device", "G 1", "--wearer", "w9"), "device: found 'G 1', expected lower-case letters"),
        (("--device", "g1"), "wearer: found ''"),
    ):
        result = sightline("pair", *wrong, *at)
        assert (result.exit_code, sentence in result.stderr) == (2, True), result.output
    assert sightline("consent", "withdraw", "--wearer", "w1", *at).exit_code == 2
    said = {"number": 1, "status": "given", "purposes": ["ai:ModelTraining"], "expires_ns": 0, "at_ns": 5}
    word: dict[str, Any] = {"v": 2, "wearer": "w1", "event": "g1/consent-change/0", "device": "g1"}
    word |= {"incarnation": 1, **said}
    asyncio.run(write(broker, CONSENTS, b"w1/g1/consent-change/0", json.dumps(word).encode(), FAR_MS))
    assert sightline("consent", "withdraw", "--wearer", "w1", *at).exit_code == 0
    shown = json.loads(sightline("consent", "show", "--wearer", "w1", "--json", *at).stdout)
    assert [(one["said by"], one["status"]) for one in shown["said"]] == [
        ("g1", "given"),
        ("operator", "withdrawn"),
    ]
    consents = asyncio.run(consents_of_topic(broker))
    kinds = [type(said) for _, _, said in consents.between(0, consents.offset)]
    assert kinds == [Pairing, Pairing, Pairing, Word, Word]
    (last,) = [said for _, _, said in consents.between(consents.offset - 2, consents.offset)][-1:]
    assert abs(last.at_ns - clock.now_ns()) < 60_000_000_000


async def older(broker: str) -> None:
    """The two topics as 0.1.0 made them, with a consent of then, and somebody's own setting."""
    admin = AIOKafkaAdminClient(bootstrap_servers=broker)
    await admin.start()
    try:
        config = {"cleanup.policy": "compact", "max.message.bytes": "1048576", "min.insync.replicas": "1"}
        await admin.create_topics(
            [
                NewTopic(CAPTURED, 4, 1, topic_configs={"retention.ms": "86400000"}),
                NewTopic(CONSENTS, 1, 1, topic_configs=config),
            ]
        )
    finally:
        await admin.close()
    value = {"v": 1, "wearer": "w1", "event": "g1/consent-change/0", "number": 1, "status": "given"}
    value |= {"purposes": ["ai:ModelTraining"], "expires_ns": 0}
    await write(broker, CONSENTS, b"w1/g1/consent-change/0", json.dumps(value).encode(), 1_790_000_000_000)


@pytest.fixture
def older_broker(tmp_path: Path) -> Iterator[str]:
    """A broker of its own with the topics of 0.1.0."""
    made = EmbeddedBroker()
    made.start(tmp_path / "kafka", free_port())
    try:
        asyncio.run(older(made.address))
        yield made.address
    finally:
        made.stop()


def test_topics_of_an_older_version_are_refused_planned_and_migrated(
    older_broker: str, caplog: pytest.LogCaptureFixture
) -> None:
    broker = older_broker
    with pytest.raises(Exception, match=f"CreateTime on {CAPTURED} and {CONSENTS}, expected LogAppendTime"):
        asyncio.run(declare(broker))
    at = ("--broker", broker)
    planned = sightline("topics", "--plan", *at)
    assert planned.exit_code == 1
    assert [line.split()[:2] for line in planned.output.splitlines() if "timestamp.type" in line] == [
        [CAPTURED, "message.timestamp.type"],
        [CONSENTS, "message.timestamp.type"],
    ]
    assert "sightline pair --device g1 --wearer w1" in planned.output
    migrated = sightline("topics", "--migrate", *at)
    assert migrated.exit_code == 0, migrated.output
    assert "sightline pair --device g1 --wearer w1" in migrated.output
    after = sightline("topics", *at)
    assert (after.exit_code, after.output.splitlines()[0]) == (0, "every topic is as declared")
    asyncio.run(declare(broker))
    asyncio.run(world.configure(broker, STATE, {"cleanup.policy": "delete"}))
    with pytest.raises(Exception, match=f"found cleanup.policy delete on {STATE}, expected compact, since"):
        asyncio.run(declare(broker))
    assert STATE in sightline("topics", "--plan", *at).output
    asyncio.run(world.configure(broker, STATE, {"cleanup.policy": "compact", "segment.ms": "60001"}))
    asyncio.run(declare(broker))
    assert f"{STATE} on {broker}: found segment.ms 60001, expected 60000" in caplog.text
    assert sightline("topics", "--plan", "--partitions", "8", *at).exit_code == 1
    refused = sightline("topics", "--migrate", "--partitions", "8", *at)
    assert (refused.exit_code, "for the life of the topics" in refused.stderr) == (2, True)
