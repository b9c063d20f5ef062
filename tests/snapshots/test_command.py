"""`sightline snapshots` on the embedded Apache Kafka: to the end, and until it is told to stop."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from streams import clock
from streams.consent.record import erasure_record
from streams.errors import UnavailableError
from streams.events.record import Outgoing
from streams.kafka.publish import publish_now
from streams.kafka.reader import log_bounds
from streams.kafka.topics import declare
from streams.queries.store import Store
from streams.sealing.key_store import KeyStore
from streams.settings.kafka import KafkaSettings
from streams.snapshots.writer import Writer
from streams.topology import LINEAGE
from tests.patience import PATIENCE_S
from tests.snapshots.build import POLICY, batch, record

pytestmark = pytest.mark.kafka
SOURCE = "writer-test"


async def produce(broker: str, first: int, count: int) -> None:
    """Events of our source, one record each in a transaction each, over two partitions.

    Every other one is aborted first.
    """
    await declare(broker)
    producer = AIOKafkaProducer(bootstrap_servers=broker, transactional_id=SOURCE)
    await producer.start()
    try:
        for number in range(first, first + count):
            for zone, abort in (("aborted", True), ("public", False)):
                await producer.begin_transaction()
                partition = number % 2
                # With a time of the broker: what was appended in 1970 is over.
                where = {"zone": zone, "partition": partition, "appended_ns": clock.now_ns()}
                one = batch(SOURCE, "imu", number * 20, 20, **where)
                rows = {"policies": [POLICY], "events": [one]}
                await producer.send_and_wait(
                    LINEAGE, record(0, rows).value, key=b"glasses/%d" % partition, partition=partition
                )
                await (producer.abort_transaction() if abort else producer.commit_transaction())
    finally:
        await producer.stop()


def command(broker: str, store: Path, *more: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "streams.cli",
        "snapshots",
        "--broker",
        broker,
        "--store",
        str(store),
        *more,
    ]


def stored(store: Path) -> list[tuple[int, str]]:
    with Store.open(store) as opened:
        rows = opened.sql(
            f"SELECT \"first\" // 20, zone FROM events WHERE source = '{SOURCE}' ORDER BY ALL"
        ).rows
    return [(number, zone) for number, zone in rows]


async def test_the_writer_takes_every_committed_record_once(broker: str, tmp_path: Path) -> None:
    await produce(broker, 0, 4)
    first = subprocess.run(
        command(broker, tmp_path / "s", "--until-end"),
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert first.returncode == 0, first.stderr
    assert stored(tmp_path / "s") == [(number, "public") for number in range(4)]
    await produce(broker, 4, 3)
    with subprocess.Popen(command(broker, tmp_path / "s"), stdout=subprocess.PIPE, text=True) as running:
        deadline = time.monotonic() + 30
        while len(stored(tmp_path / "s")) < 7 and time.monotonic() < deadline:
            time.sleep(0.2)
        running.send_signal(signal.SIGTERM)
        said, _ = running.communicate(timeout=PATIENCE_S)
    assert running.returncode == 0
    assert "the last epoch is" in said
    assert stored(tmp_path / "s") == [(number, "public") for number in range(7)]


async def test_two_writers_take_some_partitions_each(broker: str, tmp_path: Path) -> None:
    await produce(broker, 20, 4)

    def ended(store: str, partitions: str, code: int = 0) -> str:
        done = subprocess.run(
            command(broker, tmp_path / store, "--until-end", "--partitions", partitions),
            check=False,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        assert done.returncode == code, done.stderr
        return done.stderr

    ended("a", "0")
    ended("b", "1-3")
    even, odd = ({number for number, _ in stored(tmp_path / name)} for name in "ab")
    assert {number % 2 for number in even} == {0}
    assert {number % 2 for number in odd} == {1}
    assert {20, 21, 22, 23} <= even | odd
    ended("a", "0")
    assert "the store holds partitions 0 of glasses.lineage" in ended("a", "1", code=2)
    assert "which has 0 to 3" in ended("c", "3-4", code=2)
    assert "the range 2-1, which is empty" in ended("c", "2-1", code=2)


def test_no_broker_is_exit_3_and_no_store_is_spoilt(tmp_path: Path) -> None:
    result = subprocess.run(
        command("127.0.0.1:9", tmp_path / "s"),
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert result.returncode == UnavailableError.exit_code
    assert "Traceback" not in result.stderr
    Writer.open(tmp_path / "s").close()


async def test_erasures_are_applied_before_anything_is_taken_in_and_need_the_key_store(
    broker: str, tmp_path: Path
) -> None:
    prefix, keys = "erased.", KeyStore.made(tmp_path / "keys")
    apart = KafkaSettings(broker, topic_prefix=prefix)
    await declare(apart)
    rows = {
        "policies": [POLICY],
        "events": [batch("d1", "imu", 0, 20, wearer="w1"), batch("d2", "imu", 0, 20, wearer="w2")],
    }
    value = record(0, rows).value
    erased = erasure_record(keys.mark_of("w1"), 7)
    await publish_now(apart, [Outgoing(LINEAGE, 0, b"glasses/0", value, (), 0), erased])
    words = command(broker, tmp_path / "s", "--topic-prefix", prefix, "--until-end")

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*words, *more], check=False, capture_output=True, text=True, timeout=PATIENCE_S
        )

    refused = run("--keys", str(tmp_path / "none"))
    assert refused.returncode == 2, refused.stderr
    assert "glasses.consents has 1 erasures" in refused.stderr
    assert "no key store" in refused.stderr
    taken = run("--keys", str(tmp_path / "keys"))
    assert taken.returncode == 0, taken.stderr
    with Store.open(tmp_path / "s") as opened:
        assert opened.sql("SELECT source, wearer FROM events").rows == [("d2", "w2")]
        assert opened.sql("SELECT number, rows FROM erasures").rows == [(7, 0)]
    keys.close()


async def test_what_the_log_no_longer_has_comes_from_a_backup_without_the_erased(
    broker: str, tmp_path: Path
) -> None:
    prefix, keys = "cut.", KeyStore.made(tmp_path / "keys")
    apart = KafkaSettings(broker, topic_prefix=prefix)
    await declare(apart)

    async def put(first: int, *more: Outgoing) -> None:
        now_ns = clock.now_ns()
        rows = [batch(f"d{at}", "imu", first, 20, wearer=f"w{at}", appended_ns=now_ns) for at in (1, 2)]
        value = record(0, {"policies": [POLICY], "events": rows}).value
        await publish_now(
            apart, [Outgoing(LINEAGE, 0, b"glasses/0", value, (), clock.now_ns() // 1_000_000), *more]
        )

    def run(store: str) -> subprocess.CompletedProcess[str]:
        more = ("--topic-prefix", prefix, "--until-end", "--keys", str(tmp_path / "keys"))
        ended = subprocess.run(
            command(broker, tmp_path / store, *more),
            check=False,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        assert ended.returncode == 0, ended.stderr
        return ended

    def held(store: str) -> list[tuple[object, ...]]:
        with Store.open(tmp_path / store) as opened:
            return opened.sql("SELECT source, first, wearer FROM events ORDER BY ALL").rows

    await put(0)
    run("backup")
    assert held("backup") == [("d1", 0, "w1"), ("d2", 0, "w2")]
    await put(20, erasure_record(keys.mark_of("w1"), 7))
    begin = (await log_bounds(apart, LINEAGE))[0][0]
    await forget(broker, f"{prefix}{LINEAGE}", begin + 1)
    cut = "no longer has its first records on partitions 0, and neither has this store"
    assert cut not in run("backup").stderr
    assert held("backup") == [("d2", 0, "w2"), ("d2", 20, "w2")]
    assert cut in run("new").stderr
    assert held("new") == [("d2", 20, "w2")]
    keys.close()


async def forget(broker: str, topic: str, before: int) -> None:
    """Let the broker delete the records of partition 0 before an offset, as retention does."""
    admin = AIOKafkaAdminClient(bootstrap_servers=broker)
    await admin.start()
    try:
        await admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(before)})
    finally:
        await admin.close()
