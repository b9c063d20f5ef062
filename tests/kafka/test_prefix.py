"""Two installations on one Kafka: each has topics and groups under its own prefix, and sees nothing else."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from aiokafka import TopicPartition
from click.testing import CliRunner

from streams.connection.address import broker_option, topic_prefix
from streams.connection.connect import administering
from streams.events.record import Outgoing
from streams.kafka import reader, topics
from streams.kafka.groups import commits
from streams.kafka.log_ids import log_ids
from streams.kafka.publish import publish_now
from streams.kafka.transaction import TransactionWriter
from streams.settings.kafka import KafkaSettings
from streams.topology import CAPTURED, LINEAGE, TOPICS, ZONED

NAMES = {topic.name for topic in TOPICS}
PREFIXES = ("acme.", "bolt.")


async def _listed(kafka: KafkaSettings) -> set[str]:
    async with administering(kafka) as admin:
        return set(await admin.list_topics())


async def _take(kafka: KafkaSettings, group: str, value: bytes) -> None:
    """Commit the first record of a partition, and what was made of it, as the owner of the partition does."""
    writer = TransactionWriter(
        kafka, group, TopicPartition(CAPTURED, 1), [TopicPartition(name, 1) for name in (ZONED, LINEAGE)]
    )
    await writer.start(10.0)
    try:
        await writer.write([Outgoing(ZONED, 1, b"g1", value, (), 1)], 1)
    finally:
        await writer.close()


async def _changed_alone(kafka: KafkaSettings, other: KafkaSettings) -> None:
    async with administering(kafka) as admin:
        await topics._set(admin, kafka, [topics.Differing(ZONED, "retention.ms", "", "1000")])
    assert [(each.topic, each.actual) for each in await topics.plan(kafka)] == [(ZONED, "1000")]
    assert await topics.plan(other) == []
    await topics.migrate(kafka)
    assert await topics.plan(kafka) == []


@pytest.mark.kafka
async def test_what_one_installation_writes_the_other_does_not_see(broker: str) -> None:
    installations = [KafkaSettings(broker, topic_prefix=prefix) for prefix in PREFIXES]
    before = await _listed(installations[0])
    for kafka in installations:
        await topics.declare(kafka)
    # The same group in both, so that nothing but the names of topics keeps them apart.
    for kafka in installations:
        value = kafka.topic_prefix.encode()
        await publish_now(kafka, [Outgoing(CAPTURED, 1, b"g1", value, (), 1)])
        await _take(kafka, "both-prefixed", value)
    for kafka in installations:
        value = kafka.topic_prefix.encode()
        for name in (CAPTURED, ZONED):
            assert [record.value for record in await reader.read_all(kafka, name, 1)] == [value]
        # Each name comes back as the topology has it.
        ends = await reader.end_offsets(kafka, [CAPTURED, ZONED])
        assert {name for name, _ in ends} == {CAPTURED, ZONED}
        assert await reader.committed_offsets(kafka, "both-prefixed", [CAPTURED]) == {(CAPTURED, 1): 1}
        async with administering(kafka) as admin:
            place = TopicPartition(CAPTURED, 1)
            assert (await commits(admin, kafka, "both-prefixed", [place]))[place].ours
    first, second = [await log_ids(kafka, NAMES) for kafka in installations]
    assert first.keys() == second.keys() == NAMES
    assert not {log_id.topic for log_id in first.values()} & {log_id.topic for log_id in second.values()}
    made = {name for name in await _listed(installations[0]) - before if not name.startswith("__")}
    assert made == {prefix + name for prefix in PREFIXES for name in NAMES}, "nothing but under a prefix"
    await _changed_alone(*installations)
    unprefixed = await topics.plan(KafkaSettings(broker))
    assert {each.topic for each in unprefixed if not each.actual} >= NAMES - before


def test_an_option_goes_before_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    reached: list[tuple[KafkaSettings | None, str]] = []

    @click.command()
    @broker_option()
    def command(broker: KafkaSettings | None) -> None:
        reached.append((broker, topic_prefix()))

    monkeypatch.setenv("SIGHTLINE_KAFKA_TOPIC_PREFIX", "acme.")
    monkeypatch.setenv("SIGHTLINE_KAFKA_CLIENT_ID", "acme")
    for given in ([], ["--topic-prefix", "bolt."], ["--topic-prefix", ""]):
        # The address stands first: a click that took options in the order of the line would miss the prefix.
        assert CliRunner().invoke(command, ["--broker", "a:1", *given]).exit_code == 0
    expected = [KafkaSettings("a:1", client_id="acme", topic_prefix=name) for name in ("acme.", "bolt.", "")]
    assert reached == [(kafka, kafka.topic_prefix) for kafka in expected]
    assert [kafka.group_prefix("") for kafka in expected] == ["acme.", "bolt.", ""]
    assert expected[0].group_prefix("other.") == "other."
    monkeypatch.setenv("SIGHTLINE_KAFKA_TOPIC_PREFIX", "no topic")
    refused = CliRunner().invoke(command, ["--broker", "a:1"])
    assert "topic_prefix: expected" in str(refused.exception)


@pytest.fixture
def demos(own_broker: str, tmp_path: Path) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """A demo under each prefix, of the same glasses, beside each other on one Kafka."""
    command = [sys.executable, "-m", "streams.cli", "demo", "--speed", "20", "--json", "--broker", own_broker]
    started = {
        prefix: subprocess.Popen(
            [*command, "--topic-prefix", prefix, "--store", str(tmp_path / prefix), "--seed", str(seed)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed, prefix in enumerate(PREFIXES)
    }
    yield started
    for demo in started.values():
        demo.kill()
        demo.communicate()


@pytest.mark.kafka
@pytest.mark.slow
def test_two_installations_run_beside_each_other(
    own_broker: str, demos: dict[str, subprocess.Popen[str]]
) -> None:
    """Worker, writer and glasses of each find what is theirs: the ledger misses nothing, and finds nothing.

    The ledger names a batch that no journal knows, and both have glasses of the same names.
    """
    for prefix, demo in demos.items():
        answer, words = demo.communicate(timeout=500)
        assert demo.returncode == 0, prefix + words
        assert json.loads(answer.splitlines()[-1])["clean"]

    async def groups() -> set[str]:
        async with administering(own_broker) as admin:
            return {name for name, *_ in await admin.list_consumer_groups()}

    ours = {prefix + agent for prefix in PREFIXES for agent in ("glasses", "training")}
    assert asyncio.run(groups()) == ours
    assert asyncio.run(_listed(KafkaSettings(own_broker))) & NAMES == set()
