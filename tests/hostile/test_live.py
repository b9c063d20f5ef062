"""Ten thousand hostile records among good ones, through a real worker and a real store.

On every topic that something of ours reads.
"""

from __future__ import annotations

import asyncio
import random
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import psutil
import pytest
from aiokafka import AIOKafkaProducer, ConsumerRecord
from aiokafka.producer import message_accumulator, producer
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from hypothesis import strategies as st

from streams import clock
from streams.events.headers import LABEL, RESERVED, ZONE
from streams.events.record import StoredRecord
from streams.kafka import reader
from streams.topology import (
    CAPTURED,
    CONSENTS,
    EXAMPLES,
    LINEAGE,
    MODELS,
    PARTITIONS_DEFAULT,
    POLICIES,
    REJECTED,
    STATE,
    ZONED,
)
from tests import build
from tests.hostile import records as hostile
from tests.hostile.records import Hostile
from tests.hostile.test_cores import GOOD_EXAMPLES
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.kafka
ROOT = Path(__file__).parents[2]
SEED = random.randrange(2**32)
HOSTILE, HOSTILE_EXAMPLES, GOOD = 10_000, 400, 2_000
#: What a worker may grow by while 100 MB of hostile bytes pass; one that kept them would grow by all of it.
GROWTH_MAX_BYTES = 50 * 1024 * 1024
GARBAGE = [
    b"",
    b"\xff\xfe",
    b"[]",
    b"7",
    b"{}",
    b'{"version":[]}',
    b'{"version":"x","text":7}',
    b"[" * 5000,
    b'{"v":1,"tables":7}',
    b'{"v":1,"tables":{"events":{"first":["x"]}}}',
    b'{"v":1,"tables":{"moods":{}}}',
    b"\0" * 100_000,
    None,
]


@dataclass
class Worker:
    """A running `sightline worker` and the file that it speaks into."""

    process: subprocess.Popen[bytes]
    log: Path

    def rss(self) -> int:
        """Resident bytes."""
        return int(psutil.Process(self.process.pid).memory_info().rss)


def start_worker(broker: str, log: Path) -> Worker:
    with log.open("wb") as said:
        command = [
            sys.executable,
            "-m",
            "streams.cli",
            "worker",
            "--broker",
            broker,
            "--policy",
            build.patient(log.parent),
            "--metrics",
            str(log.with_name("worker.prom")),
        ]
        return Worker(subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=subprocess.STDOUT), log)


async def send(broker: str, topic: str, records: Sequence[tuple[int, StoredRecord]]) -> list[tuple[int, int]]:
    """Write records to their partitions; return (partition, offset) of each."""
    async with AIOKafkaProducer(
        bootstrap_servers=broker,
        compression_type="zstd",
        linger_ms=20,
        max_batch_size=1_000_000,
        max_request_size=1_048_000,
    ) as sender:
        sent = [
            await sender.send(
                topic,
                record.value,
                key=record.key,
                partition=partition,
                headers=list(record.headers),
                timestamp_ms=record.timestamp,
            )
            for partition, record in records
        ]
        return [(found.partition, found.offset) for found in await asyncio.gather(*sent)]


async def garbage(broker: str, topic: str, keys: Sequence[bytes | None]) -> int:
    """Write what no stage writes, with keys of all kinds; return how many."""
    made = [(0, StoredRecord(0, 1, key, value)) for key in keys for value in GARBAGE]
    await send(broker, topic, made)
    return len(made)


async def until_committed(
    broker: str, worker: Worker, group: str, topic: str, timeout_s: float, places: Sequence[tuple[int, int]]
) -> None:
    """Wait until the group has committed what lies at `places`.

    Behind them there may be what no transaction committed.
    """
    ends = {
        (topic, partition): max(offset for at, offset in places if at == partition) + 1
        for partition, _ in places
    }
    async with asyncio.timeout(timeout_s):
        while True:
            assert worker.process.poll() is None, worker.log.read_text()[-2000:]
            found = await reader.committed_offsets(broker, group, [topic])
            if all(found.get(place, 0) >= end for place, end in ends.items()):
                return
            await asyncio.sleep(0.3)


def mixture() -> list[Hostile | StoredRecord]:
    """Hostile records and good batches of a few devices, good ones in order."""
    # Each comes twice, at two places.
    bad = hostile.drawn(hostile.goods(), hostile.CAPTURED, HOSTILE // 2, SEED) * 2 + hostile.corpus(
        "captured"
    )
    good = iter([build.record(build.imu(0.1, 20 * (i // 4), 20, source=f"g{i % 4}"), 0) for i in range(GOOD)])
    mixed: list[Hostile | StoredRecord] = [*bad, *([None] * GOOD)]  # type: ignore[list-item]
    random.Random(SEED).shuffle(mixed)
    return [one if isinstance(one, Hostile) else next(good) for one in mixed]


def partition_of(one: Hostile | StoredRecord, index: int) -> int:
    """A good batch goes to its device's partition, a hostile one anywhere."""
    return (
        index % PARTITIONS_DEFAULT
        if isinstance(one, Hostile)
        else int((one.key or b"g0")[1:]) % PARTITIONS_DEFAULT
    )


def headers_of(record: ConsumerRecord) -> dict[str, str]:
    return {name: value.decode() for name, value in record.headers}


async def test_every_hostile_record_is_rejected_in_its_place_and_every_good_batch_arrives(
    own_broker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    print("seed", SEED)  # noqa: T201  shown when it fails
    for module in (message_accumulator, producer):
        # The one in C writes names that are text only.
        monkeypatch.setattr(module, "DefaultRecordBatchBuilder", _DefaultRecordBatchBuilderPy)
    await build.say_on(own_broker)
    for topic, keys in (
        (POLICIES, (b"policy/current", b"policy/x", b"")),
        (CONSENTS, (b"w1/g1/consent-change/0", b"w1", b"")),
        # A compacted topic takes no record without a key.
        (MODELS, (b"model/current", b"model/1", b"")),
        (STATE, (b"glasses/0/\xff", b"glasses/x/g1", b"nobody")),
    ):
        await garbage(own_broker, topic, keys)
    worker = start_worker(own_broker, tmp_path / "worker.log")
    try:
        mixed = await asyncio.to_thread(mixture)
        spoiled = hostile.drawn(
            st.just(GOOD_EXAMPLES[0]), hostile.EXAMPLES, HOSTILE_EXAMPLES, SEED
        ) + hostile.corpus("examples")
        placed = [
            (partition_of(one, i), one.record if isinstance(one, Hostile) else one)
            for i, one in enumerate(mixed)
        ]
        warm = len(placed) // 2
        places = await send(own_broker, CAPTURED, placed[:warm])
        # The broker itself takes no time of an example that lies far ahead (tests/training/test_time.py).
        now_ms = clock.now_ns() // 1_000_000
        littered = [replace(one.record, timestamp=min(one.record.timestamp, now_ms)) for one in spoiled]
        example_places = await send(own_broker, EXAMPLES, [(0, one) for one in littered])
        await until_committed(own_broker, worker, "glasses", CAPTURED, 40, places)
        before = worker.rss()
        places += await send(own_broker, CAPTURED, placed[warm:])
        lines = await garbage(own_broker, LINEAGE, (b"glasses/0", b"", b"\xff"))
        await until_committed(own_broker, worker, "glasses", CAPTURED, 40, places)
        await until_committed(own_broker, worker, "training", EXAMPLES, 40, example_places)
        grown = worker.rss() - before
        check_topics(
            await reader.read_all(own_broker, ZONED),
            await reader.read_all(own_broker, REJECTED),
            mixed,
            places,
            example_places,
        )
        print(f"grown by {grown / 1e6:.1f} MB from {before / 1e6:.0f}")  # noqa: T201  as above
        assert grown < GROWTH_MAX_BYTES
        worker.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(worker.process.wait, 10) == 0
    finally:
        worker.process.kill()
        worker.process.wait()
    said, measured = worker.log.read_text(), (tmp_path / "worker.prom").read_text()
    # The broker may have compacted the topic before the worker read it; the last of each key is there still.
    passed = re.findall(r'passed_over_total\{topic="glasses.models"\} (\d+)', measured)
    assert 2 <= int(passed[0]) <= 39
    assert 'sightline_output_total{agent="glasses",topic="glasses.rejected"} ' in measured
    assert "sightline_poisoned_total" not in measured, (
        "the core's own checks find all of them: bisection would cost seconds"
    )
    for topic in (POLICIES, MODELS):
        assert re.search(rf"{topic} partition 0 offset \d+ is passed over \(1 so far\)", said)
    assert "Traceback" not in said
    check_store(own_broker, tmp_path / "store", lines, len(places) - GOOD)


def check_topics(
    zoned: Sequence[ConsumerRecord],
    rejected: Sequence[ConsumerRecord],
    mixed: Sequence[Hostile | StoredRecord],
    places: Sequence[tuple[int, int]],
    example_places: Sequence[tuple[int, int]],
) -> None:
    """Good batches once each and tagged by us; hostile ones once each, with place and reason."""
    wanted = Counter(one.value for one in mixed if isinstance(one, StoredRecord))
    assert Counter(record.value for record in zoned) == wanted
    for record in zoned:
        assert Counter(
            name.strip().casefold() for name, _ in record.headers if name.strip().casefold() in RESERVED
        ) == {ZONE: 1, LABEL: 1}
        assert headers_of(record)[ZONE] == "home-private"
    bad = {
        f"{CAPTURED} {partition} {offset}": one.way
        for one, (partition, offset) in zip(mixed, places, strict=True)
        if isinstance(one, Hostile)
    }
    bad |= {f"{EXAMPLES} {partition} {offset}": "example" for partition, offset in example_places}
    found = [headers_of(record) for record in rejected]
    seen = Counter(headers["sightline-place"] for headers in found)
    assert Counter(bad[place] for place in bad.keys() - seen.keys()) == {}, "these left no trace"
    # What compaction left of the policies is on record too.
    policies = {place for place in seen if place.startswith(f"{POLICIES} 0 ")}
    assert 3 <= len(policies) <= 39
    assert seen.keys() == bad.keys() | policies
    assert set(seen.values()) == {1}
    assert {headers["sightline-rule"] for headers in found} <= {"malformed"}, (
        "found by the core's own checks, not by bisection"
    )
    assert all(headers["sightline-reason"] for headers in found)


def check_store(broker: str, store: Path, lines: int, refused: int) -> None:
    """The store takes all of it in: what is no lineage has a row of `rejected`."""
    command = [
        sys.executable,
        "-m",
        "streams.cli",
        "snapshots",
        "--broker",
        broker,
        "--store",
        str(store),
        "--until-end",
    ]
    subprocess.run(command, cwd=ROOT, check=True, timeout=PATIENCE_S, capture_output=True)
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{store / 'catalog.duckdb'}' AS s (READ_ONLY)")
        connection.execute("USE s")
        connection.execute(f"SET file_search_path = '{store}'")
        found = dict(connection.execute("SELECT stage, count(*) FROM rejected GROUP BY ALL").fetchall())
        assert (found["snapshots"], found["zones"]) == (lines, refused)
        (count,) = connection.execute("SELECT count(*) FROM events WHERE kind = 'imu'").fetchone() or (0,)
        assert count == GOOD
