"""A Kafka with TLS and names: whoever may gets in, whoever may not is told why, and no secret is shown."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import NewTopic
from click.testing import CliRunner

from streams.cli.main import main
from streams.connection.connect import administering
from streams.connection.credentials import client_options
from streams.kafka import topics
from streams.kafka.node import HOST
from streams.kafka.reader import read_all
from streams.settings.kafka import KafkaSettings
from streams.topology import CAPTURED
from tests.kafka import guarded
from tests.kafka.guarded import PASSWORD, USER, Guarded

pytestmark = pytest.mark.kafka
#: None of ours: the ledger of the whole loop misses and finds nothing.
TOPIC = "ways-in"
SESSIONS = "sessions"
#: Takes the key of a certificate out of Java's store.
OPENSSL = shutil.which("openssl")
#: How long a token lasts, and how often there is another.
TOKEN_S, RENEWED_S = 60, 45


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    made = guarded.started(tmp_path_factory.mktemp("guarded"))
    asyncio.run(topics.declare(made.node.address))
    yield made
    made.node.stop()


async def _create(kafka: Guarded, *names: str) -> None:
    async with administering(kafka.node.address) as admin:
        await admin.create_topics([NewTopic(name, 1, 1) for name in names])
        await topics.until_known(admin, kafka.node.address, list(names))


async def test_each_way_in_reads_and_writes(
    kafka: Guarded, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    ways = [
        *(kafka.settings(mechanism=name) for name in ("SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN")),
        kafka.by_token(guarded.token(tmp_path / "token", 60)),
        KafkaSettings(f"{HOST}:{kafka.tls_port}", ca_file=kafka.authority),
        *([kafka.by_certificate()] if OPENSSL else []),
    ]
    await _create(kafka, TOPIC)
    for number, way in enumerate(ways):
        async with AIOKafkaProducer(**client_options(way)) as producer:
            await producer.send_and_wait(TOPIC, str(number).encode())
    values = [record.value for record in await read_all(ways[0], TOPIC)]
    assert sorted(values) == [str(number).encode() for number in range(len(ways))]
    assert PASSWORD not in caplog.text + repr(ways)
    assert USER in repr(ways)


@pytest.mark.parametrize(
    "fault",
    [
        *("password", "certificate", "token", "plain to TLS", "TLS to plain", "nameless", "unknown"),
        pytest.param("strange", marks=pytest.mark.skipif(not OPENSSL, reason="needs openssl for a key")),
    ],
)
def test_who_is_not_let_in_is_told_why_at_once(
    kafka: Guarded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    named, known = f"{HOST}:{kafka.named_port}", f"{HOST}:{kafka.known_port}"
    wrong = guarded.secret(tmp_path / "secret", "quite-another-word")
    stranger = guarded.certificate(tmp_path, "stranger") if fault == "certificate" else kafka.authority
    by_password = {"MECHANISM": "SCRAM-SHA-256", "USER": USER, "PASSWORD_FILE": str(wrong)}
    over = guarded.token(tmp_path / "token", -10)
    pair = guarded.key_pair(kafka.directory, "node") if fault == "strange" else ()
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
        "unknown": (known, {"CA_FILE": str(stranger)}, "it may want a mechanism with it, or a cert_file"),
        # A certificate that is good for others: the node's own, which no client of it has.
        "strange": (
            known,
            {"CA_FILE": str(stranger), **dict(zip(("CERT_FILE", "KEY_FILE"), map(str, pair), strict=False))},
            f"it may not trust the certificate in {kafka.authority}",
        ),
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
    path = guarded.token(tmp_path / "token", 1)
    ways = {"scram": kafka.settings(), "token": kafka.by_token(path)}
    await _create(kafka, *(f"{SESSIONS}-{name}" for name in ways))
    numbers = [str(number).encode() for number in range(6)]

    async def renew() -> None:
        # From the beginning: a client that a busy machine lets connect too late must find another token.
        while True:
            guarded.token(tmp_path / "renewed", 1).replace(path)
            await asyncio.sleep(0.2)

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

    caplog.set_level(logging.INFO)
    renewing = asyncio.create_task(renew())
    await asyncio.gather(*(send(name, way) for name, way in ways.items()))
    for way in ways.values():
        assert f"via {way.mechanism}" in caplog.text, "no session ended"
    for name, way in ways.items():
        assert [record.value for record in await read_all(way, f"{SESSIONS}-{name}")] == numbers
    renewing.cancel()


def _demo(way: KafkaSettings, store: Path, *arguments: str, **variables: object) -> subprocess.Popen[str]:
    """A demo with all its processes, which reach the Kafka by variables."""
    given = {"CA_FILE": way.ca_file, "MECHANISM": way.mechanism, **variables}
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "streams.cli", "demo", "--json", *arguments),
            *("--broker", way.brokers, "--store", str(store)),
        ],
        env={**os.environ, **{f"SIGHTLINE_KAFKA_{name}": str(value) for name, value in given.items()}},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _clean(demo: subprocess.Popen[str]) -> None:
    """Wait for the end of a demo; its ledger misses nothing."""
    try:
        answer, words = demo.communicate(timeout=500)
    finally:
        demo.kill()
        demo.communicate()
    assert demo.returncode == 0, answer + words
    assert json.loads(answer.splitlines()[-1])["clean"]


@pytest.mark.slow
def test_the_whole_loop_runs_over_it(kafka: Guarded, tmp_path: Path) -> None:
    """Over TLS with a name, whose password stands in a variable and in no file afterwards."""
    way = kafka.settings()
    _clean(_demo(way, tmp_path / "store", "--speed", "20", USER=way.user, PASSWORD=PASSWORD))
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert written
    assert not [path for path in written if PASSWORD.encode() in path.read_bytes()]


@pytest.mark.slow
def test_tokens_that_end_while_data_flows_lose_nothing(kafka: Guarded, tmp_path: Path) -> None:
    """The broker ends each connection with its token, whatever transaction is open on it.

    The file has another by then: a command that begins with a token that is over ends with a sentence.
    """
    path = guarded.token(tmp_path / "token", TOKEN_S)
    way = replace(kafka.by_token(path), topic_prefix="tokens.")
    demo = _demo(way, tmp_path / "store", "--speed", "10", TOKEN_FILE=path, TOPIC_PREFIX=way.topic_prefix)
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(RENEWED_S):
            guarded.token(tmp_path / "renewed", TOKEN_S).replace(path)

    renewing = threading.Thread(target=renew)
    renewing.start()
    try:
        _clean(demo)
    finally:
        ended.set()
        renewing.join()
    opened = KafkaSettings(kafka.node.address, topic_prefix=way.topic_prefix)
    times_ms = [record.timestamp for record in asyncio.run(read_all(opened, CAPTURED))]
    assert max(times_ms) - min(times_ms) > 1000 * TOKEN_S, "no token was over while data flowed"
