"""The device on a real broker: partitions, order, acknowledgements, answers, a signal in the middle."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from device_sim import kafka, load
from device_sim.kafka import KafkaLink, partition_of
from device_sim.runner import Run
from device_sim.wearer import Queries
from streams import topology
from streams.errors import InputError, UnavailableError
from streams.events import codec, journal
from streams.kafka import topics
from tests.device_sim.play import options

pytestmark = pytest.mark.kafka


@pytest.fixture
async def ready(broker: str) -> str:
    await topics.declare(broker)
    return broker


@asynccontextmanager
async def reading(broker: str) -> AsyncIterator[AIOKafkaConsumer]:
    """Consumer of what is captured from now on."""
    consumer = AIOKafkaConsumer(bootstrap_servers=broker, isolation_level="read_committed")
    await consumer.start()
    try:
        places = [TopicPartition(topology.CAPTURED, partition) for partition in range(4)]
        consumer.assign(places)
        await consumer.seek_to_end(*places)
        for place in places:
            await consumer.position(place)
        yield consumer
    finally:
        await consumer.stop()


async def captured(consumer: AIOKafkaConsumer, devices: int) -> list[Any]:
    """Records until each device has ended its session, and then whatever still comes."""
    records: list[Any] = []
    ended = 0
    async with asyncio.timeout(20):
        while ended < devices:
            for some in (await consumer.getmany(timeout_ms=200)).values():
                records += some
                ended += sum(b'["ended"]' in record.value for record in some)
    for some in (await consumer.getmany(timeout_ms=300)).values():
        records += some
    return records


async def answer_queries(broker: str, consumer: AIOKafkaConsumer, producer: AIOKafkaProducer) -> None:
    """Answer every query in a transaction: right for even numbers, wrong for odd ones."""
    draws = {f"g{i + 1}": Queries("nlu-queries", 7, i, 2) for i in range(2)}
    while True:
        for place, records in (await consumer.getmany(timeout_ms=100)).items():
            for query in [
                batch for record in records if (batch := codec.decode(record.value, 0)).kind == "voice_query"
            ]:
                number = query.run.first
                intent = "wrong" if number % 2 else draws[query.source].query(number)[1]
                value = {
                    "stream": "answer",
                    "device_id": query.source,
                    "first": number,
                    "n": 1,
                    "columns": {"intent": [intent], "confidence": [0.5], "model_version": [1]},
                }
                async with producer.transaction():
                    await producer.send(topology.ANSWERS, orjson.dumps(value), partition=place.partition)


async def test_everything_arrives_once_in_order_and_answers_come_back(ready: str, tmp_path: Path) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=ready, transactional_id="answers-of-the-test")
    async with reading(ready) as consumer, reading(ready) as asked:
        await producer.start()
        answering = asyncio.ensure_future(answer_queries(ready, asked, producer))
        try:
            summary = await Run(options(tmp_path, duration_s=12.0, speed=10, broker=ready)).run()
        finally:
            answering.cancel()
            await asyncio.gather(answering, return_exceptions=True)
            await producer.stop()
        records = await captured(consumer, 2)
    assert (summary.queries, summary.feedback, summary.sessions, summary.unacknowledged) == (10, 10, 2, 0)
    for name in ("g1", "g2"):
        sent = list(journal.sent(tmp_path / f"{name}.jsonl"))
        own = [record for record in records if record.key == name.encode()]
        assert [(r.value, tuple(r.headers), r.timestamp) for r in own] == [
            (s.value, s.headers, s.timestamp_ms) for s in sent
        ]
        assert {record.partition for record in own} == {partition_of(name, 4)}
        acks = [line for line in journal.lines(tmp_path / f"{name}.jsonl") if line["line"] == "ack"]
        places = [(s.id, r.partition, r.offset) for s, r in zip(sent, own, strict=True)]
        assert [(a["id"], a["partition"], a["offset"]) for a in acks] == places
        thumbs = {
            batch.columns["target"][i]: batch.columns["thumb"][i]
            for s in sent
            if (batch := codec.decode(s.value, 0)).kind == "feedback"
            for i in range(batch.run.count)
        }
        assert thumbs == {f"{name}/answer/{number}": -1 if number % 2 else 1 for number in range(5)}


async def test_a_signal_ends_the_session_and_the_next_run_goes_on(ready: str, tmp_path: Path) -> None:
    async def start(duration_s: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "device_sim",
            "run",
            "--broker",
            ready,
            "--journal",
            str(tmp_path),
            "--duration-s",
            duration_s,
            "--speed",
            "10",
            "--devices",
            "1",
            "--no-faults",
            "--json",
            stdout=asyncio.subprocess.PIPE,
        )

    async with reading(ready) as consumer:
        process = await start("600")
        await asyncio.sleep(2.5)
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(3):
            out, _ = await process.communicate()
        assert process.returncode == 0
        summary = orjson.loads(out)
        assert summary["sessions"] >= 1
        assert summary["unacknowledged"] == 0
        records = await captured(consumer, 1)
        assert codec.decode(records[-1].value, 0).columns["session"] == ["ended"]
        assert len(records) == summary["batches_sent"]
        # No answers come, but interrupted work waits for none; a run that ends by itself would wait 6 s.
        again = await start("0.4")
        await again.communicate()
        more = await captured(consumer, 1)
    numbers = [
        n
        for record in [*records, *more]
        if (b := codec.decode(record.value, 0)).stream == "imu-right"
        for n in b.run
    ]
    assert numbers == list(range(len(numbers)))
    assert codec.decode(more[0].value, 0).columns["session"] == ["resumed"]


async def test_a_failed_send_is_repeated(ready: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = KafkaLink._send_block
    failed: list[str] = []

    async def failing(
        link: KafkaLink, partition: int, batches: list[tuple[int, journal.Sent]]
    ) -> list[tuple[int, journal.Sent]]:
        if any(sent.stream == "location" for _, sent in batches) and not failed:
            failed.extend(sent.id for _, sent in batches if sent.stream == "location")
            future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            future.add_done_callback(
                lambda done: link._settled([number for number, _ in batches], link._producer, done)
            )
            future.set_exception(KafkaError("broken on purpose"))
            return []
        return await real(link, partition, batches)

    monkeypatch.setattr(KafkaLink, "_send_block", failing)
    async with reading(ready) as consumer:
        summary = await Run(options(tmp_path, devices=1, duration_s=2.0, speed=10, broker=ready)).run()
        records = await captured(consumer, 1)
    assert failed == ["g1/location/0"]
    assert summary.unacknowledged == 0
    arrived = list(dict.fromkeys(record.value for record in records))
    assert sorted(arrived) == sorted(sent.value for sent in journal.sent(tmp_path / "g1.jsonl"))


async def test_blocks_that_are_full_keep_order_and_places(
    ready: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two or three batches fill a block, and the largest does not fit one at all.
    monkeypatch.setattr(kafka, "BLOCK_BYTES_MAX", 4000)
    async with reading(ready) as consumer:
        await Run(options(tmp_path, duration_s=4.0, speed=float("inf"), broker=ready)).run()
        records = await captured(consumer, 2)
    for name in ("g1", "g2"):
        sent = list(journal.sent(tmp_path / f"{name}.jsonl"))
        own = [record for record in records if record.key == name.encode()]
        assert [record.value for record in own] == [one.value for one in sent]
        acks = [line for line in journal.lines(tmp_path / f"{name}.jsonl") if line["line"] == "ack"]
        places = {line["id"]: (line["partition"], line["offset"]) for line in acks}
        assert places == {
            dict(record.headers)["ce_id"].decode(): (record.partition, record.offset) for record in own
        }


async def test_a_backlog_comes_at_full_speed_and_then_time_counts(ready: str, tmp_path: Path) -> None:
    made = load.options(
        "hike",
        1,
        load.batches_per_s("hike"),
        1,
        1.0,
        tmp_path,
        4,
        ready,
        first=9,
        backlog_s=120.0,
        faults=False,
    )
    assert made.speed == 1
    async with asyncio.timeout(30), reading(ready) as consumer:
        summary = await Run(made).run()
        records = await captured(consumer, 1)
    imu = [one for one in journal.sent(tmp_path / "g9.jsonl") if one.stream == "imu-right"]
    assert 120 * 5 <= len(imu) <= 135 * 5, "two minutes that were past, and then about a second"
    assert len(records) == summary.batches_sent


def test_a_device_keeps_its_partition_for_ever() -> None:
    assert [partition_of(f"g{i}", 4) for i in range(1, 9)] == [1, 3, 1, 2, 0, 2, 0, 1]


async def test_a_full_buffer_holds_the_device_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka, "BUFFER_BATCHES_MAX", 2)
    acks: list[str] = []
    link = KafkaLink(
        "nobody:1", 4, ["g1"], lambda sent, partition, offset: acks.append(sent.id), lambda value: None
    )
    sents = [journal.Sent(f"g1/imu-right/{i}", b"g1", b"{}", (), 0, 0, "imu-right", i, 1) for i in range(2)]
    for sent in sents:
        link.send(sent)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await link.room()
    assert await link.flush(0.05) == 2
    done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    done.set_result(SimpleNamespace(partition=0, offset=9))
    link._settled([0], None, done)
    await link.room()
    assert acks == ["g1/imu-right/0"]


async def test_no_broker_and_another_partition_count_are_sentences(
    ready: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        InputError, match=r"--partitions is 3, but glasses\.captured on .* has 4: use --partitions 4"
    ):
        await Run(options(tmp_path, broker=ready, partitions=3)).run()
    monkeypatch.setattr(kafka, "_START_WAIT_S", 0.2)
    with pytest.raises(UnavailableError, match=r"No Kafka answers at 127\.0\.0\.1:1 "):
        await Run(options(tmp_path, broker="127.0.0.1:1")).run()
    with pytest.raises(InputError, match=r"'127\.0\.0\.1:kafka' is not HOST:PORT"):
        await Run(options(tmp_path, broker="127.0.0.1:kafka")).run()
