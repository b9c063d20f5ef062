"""A Kafka with TLS and names: whoever may gets in, whoever may not is told why, and no secret is shown."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from click.testing import CliRunner

from streams.brokers import KafkaSettings
from streams.cli.main import main
from streams.kafka import topics
from streams.kafka.node import HOST
from streams.kafka.reader import read_all
from streams.secured import client_options
from tests.kafka import guarded
from tests.kafka.guarded import PASSWORD, USER, Guarded

pytestmark = pytest.mark.kafka
TOPIC = "glasses.zoned"


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    made = guarded.started(tmp_path_factory.mktemp("guarded"))
    asyncio.run(topics.declare(made.node.address))
    yield made
    made.node.stop()


async def test_each_way_in_reads_and_writes(
    kafka: Guarded, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    ways = [
        *(kafka.settings(mechanism=name) for name in ("SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN")),
        kafka.by_token(guarded.token(tmp_path / "token", 60)),
        KafkaSettings(f"{HOST}:{kafka.tls_port}", ca_file=kafka.authority),
    ]
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
