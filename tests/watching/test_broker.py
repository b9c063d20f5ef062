"""What `sightline watch` learns from a Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from aiokafka import AIOKafkaProducer

from streams.cli.watch_broker import BrokerWatch
from streams.kafka.topics import declare
from streams.settings.kafka import KafkaSettings
from streams.topology import REJECTED
from tests.patience import PATIENCE_S


def refusal(rule: str, run: str, *, outcome: str = "refused") -> list[tuple[str, bytes]]:
    """Headers of a record of `glasses.rejected`."""
    return [
        ("sightline-rule", rule.encode()),
        ("sightline-outcome", outcome.encode()),
        ("ce_id", b"g1/imu-right/" + run.split(maxsplit=1)[0].encode()),
        ("sightline-run", run.encode()),
    ]


async def write(kafka: KafkaSettings, records: Sequence[list[tuple[str, bytes]]]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=kafka.brokers)
    await producer.start()
    try:
        for headers in records:
            await producer.send_and_wait(
                kafka.wire_name(REJECTED), b"x", key=b"g1", partition=0, headers=headers
            )
    finally:
        await producer.stop()


@pytest.mark.kafka
async def test_refusals_are_counted_from_now_on_and_lag_is_known(broker: str) -> None:
    kafka = KafkaSettings(broker, topic_prefix="watched.")
    await declare(kafka)
    await write(kafka, [refusal("malformed", "0 1 20")])
    async with BrokerWatch(kafka, refusals=True) as watching, asyncio.timeout(PATIENCE_S):
        refused = await taken(watching, kafka, [refusal("marker", "0 1 1")], "marker")
        assert refused.keys() == {"marker"}, "what was there before is not counted"
        await write(
            kafka,
            [
                refusal("malformed", "20 1 20"),
                refusal("consent: none given", "40 1 5"),
                refusal("consent: withdrawn", "45 1 7"),
                refusal("repeat", "0 1 20", outcome="repeated"),
                refusal("malformed", "what nobody can read"),
            ],
        )
        refused = await taken(watching, kafka, [refusal("last", "0 1 1")], "last")
        assert {rule: refused[rule] for rule in refused if rule not in ("marker", "last")} == {
            "malformed": 21,
            "consent": 12,
        }
        readers = set[str]()
        while not {"glasses", "training"} <= readers:
            readers |= {reader.agent for reader in watching.taken()[0] or ()}
            await asyncio.sleep(0.05)


async def taken(
    watching: BrokerWatch, kafka: KafkaSettings, records: Sequence[list[tuple[str, bytes]]], until: str
) -> dict[str, int]:
    """Write records again and again until one of a rule comes; events by rule."""
    refused: dict[str, int] = {}
    while until not in refused:
        await write(kafka, records)
        await asyncio.sleep(0.2)
        for each in watching.taken()[1] or ():
            refused[each.rule] = refused.get(each.rule, 0) + each.events
    return refused


async def test_a_broker_that_is_away_delays_nothing() -> None:
    for refusals in (True, False):
        async with BrokerWatch("127.0.0.1:9", refusals=refusals) as watching:
            assert watching.taken() == (None, None), "so the store tells of refusals"
