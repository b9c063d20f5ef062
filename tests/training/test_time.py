"""Training takes its current time from `glasses.examples`, so the broker refuses times far in the future."""

from __future__ import annotations

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import InvalidTimestampError

from streams import clock
from streams.errors import InputError
from streams.kafka.topics import _config, declare, migrate
from streams.limits import EXAMPLES_AHEAD_MS_MAX
from streams.topology import AHEAD_MS, EXAMPLES, topic
from tests.kafka.world import configure

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


async def test_a_topic_without_that_bound_is_refused_until_it_is_migrated(own_broker: str) -> None:
    await declare(own_broker)
    later = {**_config(topic(EXAMPLES)), AHEAD_MS: str(EXAMPLES_AHEAD_MS_MAX + 1)}
    await configure(own_broker, EXAMPLES, later)
    with pytest.raises(InputError, match=f"{AHEAD_MS} {EXAMPLES_AHEAD_MS_MAX + 1} on {EXAMPLES}"):
        await declare(own_broker)
    assert [(one.topic, one.setting) for one in await migrate(own_broker)] == [(EXAMPLES, AHEAD_MS)]
    await declare(own_broker)
