"""On a real Kafka: what a zone seals opens for its purpose, and for nobody after an erasure."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from click.testing import CliRunner
from msgspec import structs

from streams import open_sealed
from streams.cli.main import main
from streams.consent.record import withdrawal_record
from streams.errors import InputError
from streams.events.batch import Batch
from streams.events.codec import encode
from streams.events.headers import envelope
from streams.kafka.publish import publish_now
from streams.kafka.reader import read_all
from streams.sealing.key_store import KeyStore
from streams.sealing.sealed import is_sealed
from streams.topology import ANSWERS, CAPTURED, DERIVED, EXAMPLES, ZONED
from streams.worker.sealing import key_store_of
from tests import build
from tests.e2e.staying import running
from tests.patience import PATIENCE_S

WORDS = "wake me at seven"


def spoken(path: Path) -> Path:
    """A policy that seals what is said, and gives keys for the sink of other teams to `care`."""
    before, sink, after = build.sealing("voice-assistant").text.partition(f'name = "{ZONED}"')
    path.write_text(f'{before}{sink}\nkeys_for = ["care"]{after}', encoding="utf-8")
    return path


def batches() -> list[Batch]:
    now_ns = time.time_ns()
    made = [
        build.imu(1.2, 0, 20, t0_ns=now_ns),
        build.query(7, WORDS, now_ns + 1),
        build.query(8, WORDS, now_ns + 2, people_near="strangers"),
    ]
    return [structs.replace(each, wearer_id="w1") for each in made]


async def sent(broker: str, some: list[Batch]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=broker) as producer:
        for each in some:
            headers = list(envelope(each))
            await producer.send_and_wait(CAPTURED, encode(each), b"g1", 1, each.t0_ns // 1_000_000, headers)


async def arrived(broker: str) -> dict[str, Mapping[str, Any]]:
    """Records of the topics by id, once both questions are answered."""
    async with asyncio.timeout(PATIENCE_S):
        while len(await read_all(broker, ANSWERS)) < 2:
            await asyncio.sleep(0.2)
    # Only now: a transaction that ends between two looks would be seen in part.
    return {
        topic: {dict(record.headers)["ce_id"].decode(): record for record in await read_all(broker, topic)}
        for topic in (ZONED, DERIVED, ANSWERS, EXAMPLES)
    }


def test_what_is_said_lies_sealed_and_opens_for_its_purpose_until_it_is_erased(
    own_broker: str, tmp_path: Path
) -> None:
    keys, policy, made = tmp_path / "keys", spoken(tmp_path / "spoken.toml"), batches()
    words = ("worker", "--broker", own_broker, "--policy", str(policy), "--keys", str(keys))
    asyncio.run(build.say_on(own_broker))
    with running(*words, log=tmp_path / "log"):
        asyncio.run(sent(own_broker, made))
        topics = asyncio.run(arrived(own_broker))
        sealed = {
            name for some in topics.values() for name, record in some.items() if is_sealed(record.headers)
        }
        assert sealed == {"g1/voice-query/7", "g1/situation/7"}
        # Near strangers another zone takes what is said, which this policy does not seal.
        for name, holds in (("g1/voice-query/7", False), ("g1/voice-query/8", True)):
            assert (WORDS.encode() in topics[ZONED][name].value) is holds
        asyncio.run(opens_as_the_policy_permits(own_broker, keys, topics, made))
    # The worker before must not have been the only one that knows the keys.
    with running(*words, log=tmp_path / "log-2"):
        pass
    for other, error in ((tmp_path / "none", "found no key store"), (tmp_path / "other", "expected")):
        if other.name == "other":
            KeyStore.made(other)
        with pytest.raises(InputError, match=error):
            asyncio.run(key_store_of(own_broker, other))
    assert not (tmp_path / "none").exists(), (
        "there is no example, and still it is not taken for a first start"
    )
    with running(*words, log=tmp_path / "log-3"):
        receipt = tmp_path / "receipt.json"
        where = ["--broker", own_broker, "--keys", str(keys), "--no-store", "--receipt", str(receipt)]
        told = CliRunner().invoke(main, ["rights", "erase", "--wearer", "w1", *where])
        assert told.exit_code == 0, told.output
        notes = {each["place"]: each for each in json.loads(receipt.read_bytes())["receipt"]["places"]}
        assert notes[ZONED]["note"] == "what is sealed is unreadable, the rest gone by retention within 24 h"
        asyncio.run(opens_for_nobody(own_broker, keys, topics))


async def opens_as_the_policy_permits(
    broker: str, keys: Path, topics: dict[str, Mapping[str, Any]], made: list[Batch]
) -> None:
    async with open_sealed(broker, ZONED, "care", keys=keys) as reader:
        query, situation = topics[ZONED]["g1/voice-query/7"], topics[DERIVED]["g1/situation/7"]
        assert await reader.opened(query, ZONED) == (encode(made[1]), "")
        value, rule = await reader.opened(situation, DERIVED)
        assert (rule, b'"kind":"situation"' in (value or b"")) == ("", True)
        open_one = topics[ZONED]["g1/imu-right/0"]
        assert await reader.opened(open_one, ZONED) == (open_one.value, "")
        assert await reader.opened(query, DERIVED) == (None, "key: it is broken")
        with pytest.raises(InputError, match="found a topic on which nothing is sealed"):
            await reader.opened(query, ANSWERS)
        await publish_now(broker, [withdrawal_record("w1", 0)])
        for _ in range(int(PATIENCE_S)):
            value, rule = await reader.opened(query, ZONED)
            if value is None:
                break
            await asyncio.sleep(0.2)
        assert (value, rule) == (None, "consent: it is withdrawn")


async def opens_for_nobody(broker: str, keys: Path, topics: dict[str, Mapping[str, Any]]) -> None:
    async with open_sealed(broker, ZONED, "care", keys=keys) as reader:
        for topic, name in ((ZONED, "g1/voice-query/7"), (DERIVED, "g1/situation/7")):
            assert await reader.opened(topics[topic][name], topic) == (None, "key: it is erased")
