"""The contract with Kafka, and the whole loop, against the image apache/kafka, by testcontainers.

Skipped, with the reason, where no engine answers or the image cannot be had.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.kafka.broker import answers, free_port
from streams.kafka.jars import KAFKA_VERSION
from streams.kafka.node import HOST, node_properties

pytestmark = pytest.mark.docker
ROOT = Path(__file__).parents[2]
IMAGE = f"apache/kafka:{KAFKA_VERSION}"
START_S, DEMO_S, CONTRACT_S = 60.0, 240.0, 400.0
#: What a Kafka must do for us: transactions, offsets, groups, reading what is committed.
CONTRACT = ("groups", "reader")


def _environment(port: int) -> dict[str, str]:
    """The embedded broker's settings as the image takes them, with the addresses of a container."""
    values = dict(line.split("=", 1) for line in node_properties(Path("/"), port, {}).splitlines())
    values |= {
        "controller.quorum.voters": "1@localhost:9093",
        # What Kafka asks of itself (whether a transaction is open) cannot go by the address on this machine.
        "listeners": "INSIDE://localhost:19092,PLAINTEXT://:9092,CONTROLLER://:9093",
        "advertised.listeners": f"INSIDE://localhost:19092,PLAINTEXT://{HOST}:{port}",
        "inter.broker.listener.name": "INSIDE",
        "log.dirs": "/tmp/kafka-data",
        "listener.security.protocol.map": "INSIDE:PLAINTEXT,PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    }
    return {f"KAFKA_{name.upper().replace('.', '_')}": value for name, value in values.items()}


@pytest.fixture(scope="module")
def container() -> Iterator[str]:
    """`host:port` of an Apache Kafka in a container."""
    containers = pytest.importorskip(
        "testcontainers.core.container", reason="testcontainers is not installed"
    )
    from docker.errors import DockerException  # noqa: PLC0415
    from testcontainers.core.config import testcontainers_config  # noqa: PLC0415

    # It would fetch an image of its own, only to remove what `with` removes.
    testcontainers_config.ryuk_disabled = True
    port, away = free_port(), ""
    with warnings.catch_warnings():
        # Where no engine answers its client leaves a socket open: collected here, not in some test.
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            made = containers.DockerContainer(IMAGE)
            # On the loopback address only, which `with_bind_ports` cannot say.
            made.ports["9092/tcp"] = (HOST, port)
            for name, value in _environment(port).items():
                made = made.with_env(name, value)
            made.start()
        except DockerException as error:
            away = type(error).__name__
        if away:
            gc.collect()
    if away:
        pytest.skip(f"no Docker engine answers, or it has no {IMAGE}: {away}")
    try:
        deadline_s = time.monotonic() + START_S
        while not answers(HOST, port):
            assert time.monotonic() < deadline_s, b"".join(made.get_logs())[-2000:]
            time.sleep(0.5)
        yield f"{HOST}:{port}"
    finally:
        made.stop()


def _ran(*arguments: str, timeout_s: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def test_the_whole_loop_is_clean(container: str, tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    asked = [
        "demo",
        "--broker",
        container,
        "--store",
        store,
        "--speed",
        "20",
        "--duration-s",
        "120",
        "--json",
    ]
    done = _ran("streams.cli", *asked, timeout_s=DEMO_S)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout)["clean"]


def test_the_contract_with_kafka_holds(container: str) -> None:
    files = [f"tests/kafka/test_{name}.py" for name in CONTRACT]
    done = _ran("pytest", "-q", "-m", "kafka", "--broker", container, *files, timeout_s=CONTRACT_S)
    assert done.returncode == 0, done.stdout[-6000:]
