"""Training's "now" goes by the times on `glasses.examples`: nobody can name one that lies far ahead."""

from __future__ import annotations

from dataclasses import replace

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import InvalidTimestampError

from streams import clock, topology
from streams.errors import InputError
from streams.kafka.topics import declare, migrate
from streams.limits import EXAMPLES_AHEAD_MS_MAX
from streams.topology import AHEAD_MS, EXAMPLES, topic

pytestmark = pytest.mark.kafka


async def test_the_broker_takes_no_example_of_a_time_far_ahead(own_broker: str) -> None:
    await declare(own_broker)
    now_ms = clock.now_ns() // 1_000_000
    async with AIOKafkaProducer(bootstrap_servers=own_broker) as sender:
        for ahead_ms in (2 * EXAMPLES_AHEAD_MS_MAX, 365 * 86_400_000, 2**61):
            with pytest.raises(InvalidTimestampError):
                await sender.send_and_wait(EXAMPLES, b"", key=b"far", timestamp_ms=now_ms + ahead_ms)
        await sender.send_and_wait(EXAMPLES, b"", key=b"near", timestamp_ms=now_ms + 60_000)
        await sender.send_and_wait(EXAMPLES, b"", key=b"late", timestamp_ms=1)


async def test_a_topic_without_that_bound_is_refused_until_it_is_migrated(
    own_broker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await declare(own_broker)
    later = {**topic(EXAMPLES).config, AHEAD_MS: str(EXAMPLES_AHEAD_MS_MAX + 1)}
    topics = [replace(one, config=later) if one.name == EXAMPLES else one for one in topology.TOPICS]
    monkeypatch.setattr(topology, "TOPICS", tuple(topics))
    with pytest.raises(InputError, match=f"{AHEAD_MS} {EXAMPLES_AHEAD_MS_MAX} on {EXAMPLES}"):
        await declare(own_broker)
    monkeypatch.undo()
    assert await migrate(own_broker) == []
