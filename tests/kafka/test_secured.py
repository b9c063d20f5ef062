"""A Kafka with TLS and names: whoever may gets in, whoever may not is told why, and no secret is shown."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import NewTopic
from click.testing import CliRunner

from streams.cli.main import main
from streams.connection.connect import administering
from streams.connection.credentials import client_options
from streams.connection.settings import KafkaSettings
from streams.kafka import topics
from streams.kafka.node import HOST
from streams.kafka.reader import read_all
from tests.kafka import guarded
from tests.kafka.guarded import PASSWORD, USER, Guarded

pytestmark = pytest.mark.kafka
#: None of ours: the ledger of the whole loop misses and finds nothing.
TOPIC = "ways-in"
SESSIONS = "sessions"


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    made = guarded.started(tmp_path_factory.mktemp("guarded"))
    asyncio.run(topics.declare(made.node.address))
    yield made
    made.node.stop()


async def _create(kafka: Guarded, *names: str) -> None:
    async with administering(kafka.node.address) as admin:
        await admin.create_topics([NewTopic(name, 1, 1) for name in names])


async def test_each_way_in_reads_and_writes(
    kafka: Guarded, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    ways = [
        *(kafka.settings(mechanism=name) for name in ("SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN")),
        kafka.by_token(guarded.token(tmp_path / "token", 60)),
        KafkaSettings(f"{HOST}:{kafka.tls_port}", ca_file=kafka.authority),
    ]
    await _create(kafka, TOPIC)
    for number, way in enumerate(ways):
        async with AIOKafkaProducer(**client_options(way)) as producer:
            await producer.send_and_wait(TOPIC, str(number).encode())
    values = [record.value for record in await read_all(ways[0], TOPIC)]
    assert sorted(values) == [b"0", b"1", b"2", b"3", b"4"]
    assert PASSWORD not in caplog.text + repr(ways)
    assert USER in repr(ways)


@pytest.mark.parametrize(
    "fault", ["password", "certificate", "token", "plain to TLS", "TLS to plain", "nameless"]
)
def test_who_is_not_let_in_is_told_why_at_once(
    kafka: Guarded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    named = f"{HOST}:{kafka.named_port}"
    wrong = guarded.secret(tmp_path / "secret", "quite-another-word")
    stranger = guarded.certificate(tmp_path, "stranger") if fault == "certificate" else kafka.authority
    by_password = {"MECHANISM": "SCRAM-SHA-256", "USER": USER, "PASSWORD_FILE": str(wrong)}
    over = guarded.token(tmp_path / "token", -10)
    address, variables, sentence = {
        "password": (named, {"CA_FILE": str(stranger), **by_password}, f"does not know user '{USER}'"),
        "certificate": (named, {"CA_FILE": str(stranger), **by_password}, "is not trusted (self-signed"),
        "token": (
            named,
            {"CA_FILE": str(stranger), "MECHANISM": "OAUTHBEARER", "TOKEN_FILE": str(over)},
            f"does not take the token in {over}",
        ),
        "plain to TLS": (named, {}, "speaks TLS alone"),
        "TLS to plain": (kafka.node.address, {"TLS": "true"}, "speaks no TLS"),
        "nameless": (named, {"CA_FILE": str(stranger)}, "ends the connections of a client like this one"),
    }[fault]
    for name, value in variables.items():
        monkeypatch.setenv(f"SIGHTLINE_KAFKA_{name}", value)
    ended = CliRunner().invoke(main, ["topics", "--plan", "--broker", address])
    assert (ended.exit_code, ended.stdout) == (3, ""), ended.stderr
    assert sentence in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert "quite-another-word" not in ended.stderr


async def test_a_session_that_ends_in_the_middle_of_a_transaction_loses_nothing(
    kafka: Guarded, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The broker cuts a client off that has not proven itself again; what was not answered is sent again."""
    renewed = tmp_path / "token"
    ways = {"scram": kafka.settings(), "token": kafka.by_token(guarded.token(renewed, 2))}
    await _create(kafka, *(f"{SESSIONS}-{name}" for name in ways))
    numbers = [str(number).encode() for number in range(6)]

    async def send(name: str, way: KafkaSettings) -> None:
        topic = f"{SESSIONS}-{name}"
        async with (
            AIOKafkaProducer(transactional_id=topic, **client_options(way)) as producer,
            producer.transaction(),
        ):
            await producer.send_and_wait(topic, numbers[0])
            # Whoever comes in again from here on was cut off.
            caplog.clear()
            for number in numbers[1:]:
                await producer.send_and_wait(topic, number)
                await asyncio.sleep(2 * guarded.SESSION_MS / 1000 / len(numbers))
                guarded.token(renewed, 60)

    caplog.set_level(logging.INFO)
    await asyncio.gather(*(send(name, way) for name, way in ways.items()))
    for way in ways.values():
        assert f"via {way.mechanism}" in caplog.text, "no session ended"
    for name, way in ways.items():
        assert [record.value for record in await read_all(way, f"{SESSIONS}-{name}")] == numbers


@pytest.mark.slow
def test_the_whole_loop_runs_over_it(kafka: Guarded, tmp_path: Path) -> None:
    """The demo with all its processes, over TLS with a name; its ledger misses nothing."""
    way = kafka.settings()
    variables = {
        "CA_FILE": way.ca_file,
        "MECHANISM": way.mechanism,
        "USER": way.user,
        "PASSWORD": PASSWORD,
    }
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "streams.cli", "demo", "--speed", "20", "--json"),
            *("--broker", way.brokers, "--store", str(tmp_path / "store")),
        ],
        env={**os.environ, **{f"SIGHTLINE_KAFKA_{name}": str(value) for name, value in variables.items()}},
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert json.loads(ended.stdout.splitlines()[-1])["clean"]
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert written
    assert not [path for path in written if PASSWORD.encode() in path.read_bytes()]
