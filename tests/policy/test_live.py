"""Consents and policies on a real Apache Kafka.

Consents take effect on other partitions; a policy decides beside the one in force, and replaces it.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from click.testing import CliRunner
from msgspec import structs

from streams.cli.main import main as sightline
from streams.events.codec import encode
from streams.events.headers import ZONE, envelope
from streams.policy.load import load, version_of
from streams.policy.versions import CURRENT_KEY
from streams.readiness import Awaited
from streams.topology import CAPTURED, LINEAGE, POLICIES, REJECTED, ZONED
from tests import build
from tests.e2e.staying import running
from tests.patience import PATIENCE_S
from tests.policy.test_outside import BOMBS, published

pytestmark = pytest.mark.kafka
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def worker(own_broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a broker with a worker that began under `household`."""
    log = tmp_path_factory.mktemp("worker") / "log"
    asyncio.run(build.say_on(own_broker))
    with running("worker", "--broker", own_broker, "--policy", "household", log=log):
        yield own_broker


class Glasses:
    """Two devices of one wearer, and a device that is bound to nobody, each on a partition of its own."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer, self._next = producer, dict.fromkeys(("g1", "g2", "g4"), 0)

    async def send(
        self, source: str, kind: str = "imu", columns: dict[str, list[Any]] | None = None, **around: Any
    ) -> None:
        """Send the next batch; return when the broker has it."""
        number = self._next[source]
        self._next[source] += 20
        count = 20 if kind == "imu" else 1
        made = structs.replace(
            build.batch(
                kind, None, number, count, source=source, columns=columns, t0_ns=time.time_ns(), **around
            ),
            wearer_id="w1",
        )
        await self._producer.send_and_wait(
            CAPTURED,
            encode(made),
            source.encode(),
            int(source[1:]) % 4,
            made.t0_ns // 1_000_000,
            list(envelope(made)),
        )


@asynccontextmanager
async def glasses(broker: str) -> AsyncIterator[tuple[Glasses, AIOKafkaConsumer]]:
    """The glasses, and a consumer of everything that is written from now on."""
    consumer = AIOKafkaConsumer(
        ZONED,
        REJECTED,
        LINEAGE,
        bootstrap_servers=broker,
        isolation_level="read_committed",
        auto_offset_reset="latest",
        group_id=None,
    )
    async with AIOKafkaProducer(bootstrap_servers=broker) as producer, consumer:
        await consumer.seek_to_end()
        yield Glasses(producer), consumer


async def until(consumer: AIOKafkaConsumer, wanted: Any, send: Any = None) -> Any:
    """Wait for the first record for which `wanted` returns a true value; meanwhile call `send` repeatedly."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            if send is not None:
                await send()
            for records in (await consumer.getmany(timeout_ms=20)).values():
                for record in records:
                    if found := wanted(record):
                        return found


def zone_of(source: str) -> Any:
    return lambda record: (
        record.topic == ZONED and record.key == source.encode() and dict(record.headers)[ZONE].decode()
    )


def rows(table: str) -> Any:
    def found(record: Any) -> Any:
        if record.topic != LINEAGE:
            return None
        blocks = orjson.loads(record.value)["tables"].get(table, ())
        return [
            {**block["all"], **{name: values[0] for name, values in block["each"].items()}}
            for block in blocks
        ] or None

    return found


def policy(*arguments: str) -> Any:
    return CliRunner().invoke(sightline, ["policy", *arguments])


async def test_a_withdrawal_on_one_partition_is_honoured_on_another(worker: str) -> None:
    async with glasses(worker) as (sent, consumer):
        await sent.send("g1")
        assert await until(consumer, zone_of("g2"), lambda: sent.send("g2")) == "home-private"
        await sent.send(
            "g1", "consent_change", {"consent": [1], "status": ["dpv:ConsentWithdrawn"], "purposes": [""]}
        )
        began = time.monotonic()
        refused = await until(
            consumer,
            lambda record: record.topic == REJECTED and record.key == b"g2" and dict(record.headers),
            lambda: sent.send("g2"),
        )
        print(  # noqa: T201
            f"a withdrawal was honoured on another partition {time.monotonic() - began:.3f} s "
            "after the broker had it"
        )
        assert refused["sightline-rule"] == b"no zone's condition holds"
        # A new record ends a withdrawal for data captured after it, on any device of the wearer.
        given: dict[str, list[Any]] = {
            "consent": [2],
            "status": ["dpv:ConsentGiven"],
            "purposes": ["dpv:RequestedServiceProvision"],
        }
        await sent.send("g1", "consent_change", given)
        assert await until(consumer, zone_of("g2"), lambda: sent.send("g2")) == "home-private"


async def test_a_policy_decides_beside_the_one_in_force_and_is_switched_to(
    worker: str, tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(load("household").text.replace("people_near", "people_nere"), encoding="utf-8")
    at_work: dict[str, Any] = {"place": "work"}
    async with glasses(worker) as (sent, consumer):
        # After this record, nothing that earlier tests sent is still in transit.
        await until(
            consumer, lambda record: zone_of("g2")(record) == "public", lambda: sent.send("g2", **at_work)
        )
        result = await asyncio.to_thread(policy, "publish", str(wrong), "--broker", worker)
        assert (result.exit_code, "did you mean 'people_near'" in result.stderr) == (2, True)
        result = await asyncio.to_thread(policy, "publish", "enterprise", "--next", "--broker", worker)
        assert (result.exit_code, "decides beside it" in result.stdout) == (0, True), result.output
        shadow = await until(consumer, rows("shadow"), lambda: sent.send("g2", **at_work))
        assert {(row["zone"], row["next_zone"], row["verdict"], row["next_verdict"]) for row in shadow} == {
            ("public", "work", "allow", "allow")
        }
        assert {row["next_version"] for row in shadow} == {load("enterprise").version}
        assert await until(consumer, zone_of("g2"), lambda: sent.send("g2", **at_work)) == "public"
        result = await asyncio.to_thread(policy, "publish", "enterprise", "--broker", worker)
        assert result.exit_code == 0, result.output
        inputs = await until(consumer, rows("inputs"), lambda: sent.send("g2", **at_work))
        assert [(row["kind"], row["value"]) for row in inputs] == [
            ("policy-takeup", load("enterprise").version)
        ]
        assert await until(
            consumer, lambda record: zone_of("g2")(record) == "work", lambda: sent.send("g2", **at_work)
        )
        decided = await until(consumer, rows("decisions"), lambda: sent.send("g2", **at_work))
        assert {row["policy_version"] for row in decided} == {load("enterprise").version}


async def test_bombs_on_the_topic_end_nobody_and_are_on_record(worker: str) -> None:
    """Hostile policies on the topic; the next test starts a worker while they are there."""
    count = len(BOMBS) - 1  # what is longer than a record may be is refused by the broker
    async with glasses(worker) as (sent, consumer):
        async with AIOKafkaProducer(bootstrap_servers=worker) as producer:
            for name, bomb in BOMBS.items():
                record = published(bomb, 0)
                if name != "long":
                    await producer.send_and_wait(POLICIES, record.value, record.key, 0)
            pointer = b'{"version":"%s"}' % version_of(BOMBS["loops"]).encode()
            await producer.send_and_wait(POLICIES, pointer, CURRENT_KEY, 0)
        refused: list[str] = []

        def all_refused(record: Any) -> bool:
            headers = dict(record.headers)
            if record.topic == REJECTED and headers["sightline-stage"] == b"policies":
                refused.append(headers["sightline-place"].decode())
            return len(refused) > count

        await until(consumer, all_refused, lambda: sent.send("g4"))
        assert len(set(refused)) == count + 1
        assert {place.split()[0] for place in refused} == {POLICIES}
        # A policy that is published after them is adopted, so the worker still follows the topic.
        result = await asyncio.to_thread(policy, "publish", "clinic", "--broker", worker)
        assert result.exit_code == 0, result.output
        inputs = await until(consumer, rows("inputs"), lambda: sent.send("g2"))
        assert ("policy-takeup", load("clinic").version) in [(row["kind"], row["value"]) for row in inputs]
        result = await asyncio.to_thread(policy, "publish", "enterprise", "--broker", worker)
        assert result.exit_code == 0, result.output


async def test_a_worker_that_starts_with_the_first_policy_goes_on_under_the_one_in_force(worker: str) -> None:
    command = [sys.executable, "-m", "streams.cli", "worker", "--broker", worker, "--policy", "household"]
    ready = Awaited()
    with ready.given():
        child = await asyncio.create_subprocess_exec(
            *command,
            *ready.arguments,
            cwd=ROOT,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=ready.descriptors,
        )
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not ready.is_ready():
                await asyncio.sleep(0.1)
    finally:
        child.terminate()
        said = (await child.communicate())[1].decode()
    assert f"to enterprise {load('enterprise').version}, which is in force" in said
    result = await asyncio.to_thread(policy, "publish", "--withdraw-next", "--broker", worker)
    assert result.exit_code == 0
