"""Topics as declared, without a broker: what only a cluster of several has, and what two files say of one."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError

from streams import limits, topology
from streams.errors import UnavailableError
from streams.kafka import topics
from streams.kafka.node import node_properties
from streams.kafka.topics import Differing

ROOT = Path(__file__).parents[2]


class Cluster:
    """An admin client of a cluster in which a topic has some replicas, of which some must be in sync."""

    def __init__(self, replicas: int, in_sync: int) -> None:
        self.replicas, self.in_sync = replicas, in_sync

    async def describe_topics(self, names: list[str]) -> list[dict[str, Any]]:
        place = {"replicas": list(range(self.replicas))}
        return [{"topic": name, "partitions": [place, place]} for name in names]

    async def describe_configs(self, asked: list[Any]) -> list[Any]:
        entry = ("min.insync.replicas", str(self.in_sync), False, 5, False)
        return [SimpleNamespace(resources=[(0, "", 2, "glasses.zoned", [entry])])] if asked else []


@pytest.mark.parametrize(
    ("replicas", "in_sync", "wanted"), [(1, 1, ""), (2, 1, ""), (3, 1, "2"), (3, 2, ""), (5, 2, "4")]
)
async def test_all_replicas_but_one_are_to_have_what_counts_as_written(
    replicas: int, in_sync: int, wanted: str
) -> None:
    admin = cast("AIOKafkaAdminClient", Cluster(replicas, in_sync))
    found = await topics._in_sync(admin, "h:1", ["glasses.zoned"])
    differing = Differing("glasses.zoned", "min.insync.replicas", str(in_sync), wanted)
    assert found == ([differing] if wanted else [])


def test_commits_of_an_empty_group_are_kept_as_long_everywhere() -> None:
    ours = re.search(r"^offsets.retention.minutes=(\d+)$", node_properties(ROOT, 9092, {}), re.MULTILINE)
    compose = re.search(
        r"KAFKA_OFFSETS_RETENTION_MINUTES: (\d+)", (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    )
    assert ours is not None
    assert compose is not None
    assert int(ours[1]) == int(compose[1]) == limits.OFFSETS_RETENTION_MINUTES


async def test_a_broker_that_goes_away_between_two_requests_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It was killed while a worker started, which then ended with an error that nobody expected."""

    class Admin:
        async def create_topics(self, _topics: object) -> None:
            raise KafkaConnectionError

    @asynccontextmanager
    async def reached(_broker: object, _wait_s: float) -> AsyncIterator[Admin]:
        yield Admin()

    monkeypatch.setattr("streams.kafka.topics.administering", reached)
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:9 went away while it was asked"):
        await topics.declare("127.0.0.1:9")


HOUR_MS = 3_600_000


@pytest.mark.parametrize(
    ("name", "hours"),
    [
        *((name, 24) for name in (topology.CAPTURED, topology.ZONED, topology.REJECTED)),
        *((name, 7 * 24) for name in (topology.DERIVED, topology.ANSWERS)),
        (topology.LINEAGE, 30 * 24),
        (topology.EXAMPLES, 365 * 24),
    ],
)
def test_no_record_lies_on_a_topic_for_longer_than_it_says(name: str, hours: int) -> None:
    """Kafka deletes a whole segment, at its next look (5 min) after the newest record in it has expired."""
    config = topology.topic(name).config
    longest_ms = int(config["retention.ms"]) + int(config["segment.ms"]) + 5 * 60_000
    assert 0.9 * hours * HOUR_MS < longest_ms <= hours * HOUR_MS
    assert topology.topic(name).kept == (f"{hours} h" if hours == 24 else f"{hours // 24} days")


def test_what_is_not_sealed_is_kept_for_a_month_at_most_and_what_is_compacted_goes_within_a_day() -> None:
    for topic in topology.TOPICS:
        if topic.cleanup == "compact":
            assert not topic.kept
            within_ms = int(topic.config["max.compaction.lag.ms"]), int(topic.config["segment.ms"])
            assert max(within_ms) <= 24 * HOUR_MS
        else:
            assert topic.sealed or topic.kept_ms <= 30 * 24 * HOUR_MS
