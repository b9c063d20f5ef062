"""The embedded broker: its jars, its ports, its directory, its topics."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from streams import settings, topology
from streams.cli.broker import command as broker_command
from streams.connection.connect import administering
from streams.errors import InputError, UnavailableError
from streams.kafka import broker as broker_module
from streams.kafka import jars, reader, topics
from streams.kafka.broker import EmbeddedBroker, answers, free_port
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.kafka


@pytest.mark.parametrize("taken", [0, 1])
def test_taken_port_is_a_sentence_before_java_starts(tmp_path: Path, taken: int) -> None:
    port = free_port()
    with socket.socket() as other:
        other.bind(("127.0.0.1", port + taken))
        other.listen()
        sentence = rf"Port {port + taken} on 127.0.0.1, needed for .*Address already in use.*--port"
        with pytest.raises(UnavailableError, match=sentence) as raised:
            EmbeddedBroker().start(tmp_path / "data", port)
    assert raised.value.exit_code == 3
    assert not (tmp_path / "data").exists()


def test_a_kafka_that_takes_the_port_meanwhile_is_not_taken_for_ours(
    broker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, port = split(broker)
    real, free = broker_module._refuse_taken, [port, port + 1]

    def refuse_later(wanted: int, clients: int) -> None:
        if wanted in free:
            free.remove(wanted)
        else:
            real(wanted, clients)

    monkeypatch.setattr(broker_module, "_refuse_taken", refuse_later)
    node = EmbeddedBroker()
    with pytest.raises(UnavailableError, match=rf"Port {port} on 127\.0\.0\.1, needed for clients, .*in use"):
        node.start(tmp_path, port)
    assert node.pid is None
    assert answers("127.0.0.1", port)


def test_no_network_on_the_first_run_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = settings.child_environment
    nowhere = {
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "https_proxy": "http://127.0.0.1:9",
        "NO_PROXY": "",
        "no_proxy": "",
    }
    monkeypatch.setattr(settings, "child_environment", lambda **extra: real(**nowhere, **extra))
    monkeypatch.setattr(settings, "CACHE", tmp_path)
    said: list[str] = []
    sentence = r"needs the jars of Apache Kafka 4\.3\.1 once.*Maven Central.*Later starts need no network"
    with pytest.raises(UnavailableError, match=sentence) as raised:
        EmbeddedBroker().start(tmp_path / "data", free_port(), said.append)
    assert raised.value.exit_code == 3
    assert "first run: fetching Apache Kafka 4.3.1" in said[0]
    assert [path.name for path in tmp_path.rglob("*")] == ["kafka-4.3.1", "fetching.lock"]


def test_of_two_first_runs_at_once_one_fetches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, said, fetched = tmp_path / "source.jar", list[str](), list[Path]()
    source.write_bytes(b"a jar")
    lock = {name: hashlib.sha256(b"a jar").hexdigest() for name in ("one.jar", "two.jar")}
    both_began, waits = threading.Barrier(2, timeout=PATIENCE_S), threading.Event()

    def resolve(work: Path, _expected: int, _on_progress: jars.Progress) -> list[Path]:
        fetched.append(work)
        assert waits.wait(PATIENCE_S), "the other one waits meanwhile, and says so"
        (work / "repository").mkdir()
        return [Path(shutil.copyfile(source, work / "repository" / name)) for name in lock]

    def progress(sentence: str) -> None:
        said.append(sentence)
        waits.set()

    def first_run(_number: int) -> list[int]:
        both_began.wait()
        return [jar.stat().st_mtime_ns for jar in jars.ensure_jars(progress, tmp_path / "kafka")]

    monkeypatch.setattr(jars, "read_lock", lambda: lock)
    monkeypatch.setattr(jars, "_run_resolver", resolve)
    with ThreadPoolExecutor(2) as pool:
        times = list(pool.map(first_run, range(2)))
    assert times[0] == times[1], "no jar is written twice: what is linked ahead of time holds for one time"
    assert len(fetched) == len(said) == 1
    assert "waiting for another process that fetches Apache Kafka" in said[0]


def test_differing_jar_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "CACHE", tmp_path)
    kept = tmp_path / f"kafka-{jars.KAFKA_VERSION}"
    kept.mkdir()
    for name in jars.read_lock():
        (kept / name).write_bytes(b"something else")
    found = hashlib.sha256(b"something else").hexdigest()
    with pytest.raises(
        InputError, match=rf"HdrHistogram-2\.2\.2\.jar has SHA-256 {found}, but broker\.lock expects 22d1d431"
    ):
        EmbeddedBroker().start(tmp_path / "data", free_port())


@pytest.mark.parametrize("port", [0, 65535, 70000])
def test_port_out_of_range_is_a_sentence(tmp_path: Path, port: int) -> None:
    with pytest.raises(InputError, match=f"Port {port} cannot be used; expected 1 to 65534"):
        EmbeddedBroker().start(tmp_path, port)


async def test_data_survives_a_kill_and_is_its_owners_alone(tmp_path: Path) -> None:
    node, umask, before = EmbeddedBroker(), os.umask(0), psutil.Process().children()
    try:
        node.start(tmp_path, free_port())
        await topics.declare(node.address, 2)
        cluster = (tmp_path / "cluster.id").read_text()
        node.kill()
        assert node.pid is None
        node.start(tmp_path, free_port())
        assert (tmp_path / "cluster.id").read_text() == cluster
        assert (tmp_path / "kafka.log").read_text().count("Kafka Server started") == 2
        assert set(await reader.end_offsets(node.address, [topology.CAPTURED])) == {
            (topology.CAPTURED, 0),
            (topology.CAPTURED, 1),
        }
        made = dict[str, int]()
        for path in tmp_path.rglob("*"):
            # Kafka writes its checkpoints under another name first: such a file may be gone by now.
            with contextlib.suppress(FileNotFoundError):
                made[str(path)] = path.stat().st_mode
        assert len(made) > 100
        assert [path for path, mode in made.items() if mode & 0o077] == []
    finally:
        os.umask(umask)
        node.stop()
    assert psutil.Process().children() == before, "no watchdog outlives its node"


def test_a_second_node_on_a_directory_is_refused_and_the_first_lives_on(tmp_path: Path) -> None:
    first, second = EmbeddedBroker(), EmbeddedBroker()
    first.start(tmp_path, free_port())
    try:
        with pytest.raises(UnavailableError, match=rf"Another Kafka \(process {first.pid}\) runs on"):
            second.start(tmp_path, free_port())
        assert answers(*split(first.address))
    finally:
        first.stop()
    second.start(tmp_path, free_port())
    second.stop()


_STARTER = """
import sys, time
from pathlib import Path
from streams.kafka.broker import EmbeddedBroker, free_port
node = EmbeddedBroker()
node.start(Path(sys.argv[1]), free_port())
print(node.pid, flush=True)
time.sleep(3600)
"""


def test_a_node_ends_in_order_when_who_started_it_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _STARTER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as starter:
        assert starter.stdout is not None
        node = psutil.Process(int(starter.stdout.readline()))
        (watchdog,) = [one for one in psutil.Process(starter.pid).children() if one != node]
        # It must hear of it even so.
        node.suspend()
        starter.kill()
    until_s = time.monotonic() + 30
    while not (ended(node) and ended(watchdog)):
        assert time.monotonic() < until_s
        time.sleep(0.05)
    assert (tmp_path / "log" / ".kafka_cleanshutdown").exists()


def ended(process: psutil.Process) -> bool:
    """Whether it has; where nobody takes note of that, its number stays."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    return True


def split(address: str) -> tuple[str, int]:
    host, _, port = address.partition(":")
    return host, int(port)


async def test_only_a_kafka_answers(broker: str) -> None:
    host, port = broker.split(":")
    assert answers(host, int(port))
    async with administering(broker) as admin:
        cluster = (await admin.describe_cluster())["cluster_id"]
    assert answers(host, int(port), cluster=cluster)
    assert not answers(host, int(port), cluster="another")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        assert not answers("127.0.0.1", silent.getsockname()[1])


async def test_topics_are_declared_once_with_their_configuration(broker: str) -> None:
    await topics.declare(broker)
    await topics.declare(broker)
    ends = await reader.end_offsets(broker, [topic.name for topic in topology.TOPICS])
    for topic in topology.TOPICS:
        assert sum(name == topic.name for name, _partition in ends) == topology.partition_count(topic.name)


async def test_another_partition_count_is_refused(broker: str) -> None:
    await topics.declare(broker)
    with pytest.raises(InputError, match=r"found 4 on .*; expected 3 on .* use --partitions 4") as raised:
        await topics.declare(broker, 3)
    assert raised.value.exit_code == 2


async def test_absent_broker_is_a_sentence() -> None:
    with pytest.raises(
        UnavailableError, match=r"No Kafka answers at 127\.0\.0\.1:1 \(tried for 0\.3 s\)\. Start one with"
    ):
        await topics.declare("127.0.0.1:1", wait_s=0.3)


def test_command_says_that_the_port_is_taken(broker: str, tmp_path: Path) -> None:
    port = broker.split(":")[1]
    result = CliRunner().invoke(broker_command, ["--port", port, "--directory", str(tmp_path)])
    assert isinstance(result.exception, UnavailableError)
