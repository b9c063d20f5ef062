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
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from device_sim import kafka, load, runner
from device_sim.kafka import KafkaLink, partition_of
from device_sim.runner import Simulation
from device_sim.wearer import Queries
from streams import clock, topology
from streams.connection.connect import administering
from streams.errors import InputError, UnavailableError
from streams.events import journal
from streams.kafka import topics
from tests import build
from tests.device_sim.play import batches, options, under_consent_too_early
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.kafka


@pytest.fixture
async def ready(broker: str) -> str:
    await topics.declare(broker)
    taken = {"message.timestamp.type": "LogAppendTime", "retention.ms": "86400000"}
    async with administering(broker, 5.0) as admin:
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topology.CAPTURED, taken)])
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
    async with asyncio.timeout(PATIENCE_S):
        while ended < devices:
            for some in (await consumer.getmany(timeout_ms=200)).values():
                records += some
                ended += sum(b'["ended"]' in record.value for record in some)
    for some in (await consumer.getmany(timeout_ms=300)).values():
        records += some
    return records


async def answer_queries(broker: str, consumer: AIOKafkaConsumer, producer: AIOKafkaProducer) -> None:
    """Answer every query in a transaction: right for even numbers, wrong for odd ones."""
    draws = {f"g{i + 1}": Queries("nlu-queries", 7, i, 22) for i in (20, 21)}
    while True:
        for place, records in (await consumer.getmany(timeout_ms=100)).items():
            for query in [
                batch
                for record in records
                if (batch := build.CODEC.decode(record.value, 0)).kind == "voice_query"
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
            summary = await Simulation(
                options(tmp_path, first=21, duration_s=12.0, speed=10, broker=ready)
            ).run()
        finally:
            answering.cancel()
            await asyncio.gather(answering, return_exceptions=True)
            await producer.stop()
        records = await captured(consumer, 2)
    assert (summary.queries, summary.feedback, summary.sessions, summary.unacknowledged) == (10, 10, 2, 0)
    for name in ("g21", "g22"):
        sent = list(journal.sent(tmp_path / f"{name}.jsonl"))
        own = [record for record in records if record.key == name.encode()]
        assert [(r.value, tuple(r.headers)) for r in own] == [(s.value, s.headers) for s in sent]
        assert {record.partition for record in own} == {partition_of(name, 4)}
        acks = [line for line in journal.lines(tmp_path / f"{name}.jsonl") if line["line"] == "ack"]
        places = [(s.id, r.partition, r.offset) for s, r in zip(sent, own, strict=True)]
        assert [(a["id"], a["partition"], a["offset"]) for a in acks] == places
        assert [a["appended_ns"] for a in acks] == [record.timestamp * 1_000_000 for record in own]
        assert all(a["sent_ns"] <= a["appended_ns"] + 1_000_000 <= a["acked_ns"] + 1_000_000 for a in acks)
        thumbs = {
            batch.columns["target"][i]: batch.columns["thumb"][i]
            for s in sent
            if (batch := build.CODEC.decode(s.value, 0)).kind == "feedback"
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
        sent: list[Any] = []
        async with asyncio.timeout(PATIENCE_S):
            while not any(record.value.startswith(b'{"v":1,"kind":"imu"') for record in sent):
                sent.append(await consumer.getone())
            process.send_signal(signal.SIGINT)
            out, _ = await process.communicate()
        assert process.returncode == 0
        summary = orjson.loads(out)
        assert summary["sessions"] >= 1
        assert summary["unacknowledged"] == 0
        records = [*sent, *await captured(consumer, 1)]
        assert build.CODEC.decode(records[-1].value, 0).columns["session"] == ["ended"]
        assert len(records) == summary["batches_sent"]
        # No answers come, but interrupted work waits for none; a run that ends by itself would wait 6 s.
        again = await start("0.4")
        await again.communicate()
        more = await captured(consumer, 1)
    numbers = [
        n
        for record in [*records, *more]
        if (b := build.CODEC.decode(record.value, 0)).kind == "imu"
        for n in b.run
    ]
    assert numbers == list(range(len(numbers)))
    assert build.CODEC.decode(more[0].value, 0).columns["session"] == ["resumed"]


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
        summary = await Simulation(
            options(tmp_path, first=23, devices=1, duration_s=2.0, speed=10, broker=ready)
        ).run()
        records = await captured(consumer, 1)
    assert failed == ["g23/location/0"]
    assert summary.unacknowledged == 0
    arrived = list(dict.fromkeys(record.value for record in records))
    assert sorted(arrived) == sorted(sent.value for sent in journal.sent(tmp_path / "g23.jsonl"))


async def test_blocks_that_are_full_keep_order_and_places(
    ready: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two or three batches fill a block, and the largest does not fit one at all.
    monkeypatch.setattr(kafka, "BLOCK_BYTES_MAX", 4000)
    async with reading(ready) as consumer:
        await Simulation(options(tmp_path, first=24, duration_s=4.0, speed=float("inf"), broker=ready)).run()
        records = await captured(consumer, 2)
    for name in ("g24", "g25"):
        sent = list(journal.sent(tmp_path / f"{name}.jsonl"))
        own = [record for record in records if record.key == name.encode()]
        assert [record.value for record in own] == [one.value for one in sent]
        acks = [line for line in journal.lines(tmp_path / f"{name}.jsonl") if line["line"] == "ack"]
        places = {line["id"]: (line["partition"], line["offset"]) for line in acks}
        assert places == {
            dict(record.headers)["ce_id"].decode(): (record.partition, record.offset) for record in own
        }


async def test_a_backlog_comes_at_full_speed_and_then_time_counts(ready: str, tmp_path: Path) -> None:
    made = load.Load(
        scenario="hike",
        devices=1,
        rate=load.batches_per_s("hike"),
        seed=1,
        duration_s=1.0,
        journal=tmp_path,
        partitions=4,
        broker=ready,
        first=9,
        backlog_s=120.0,
        faults=False,
    ).options()
    assert made.speed == 1
    async with asyncio.timeout(PATIENCE_S), reading(ready) as consumer:
        summary = await Simulation(made).run()
        records = await captured(consumer, 1)
    imu = [one for one in journal.sent(tmp_path / "g9.jsonl") if one.stream == "imu-right"]
    assert 120 * 5 <= len(imu) <= 135 * 5, "two minutes that were past, and then about a second"
    assert len(records) == summary.batches_sent


def test_a_device_keeps_its_partition_for_ever() -> None:
    assert [partition_of(f"g{i}", 4) for i in range(1, 9)] == [1, 3, 1, 2, 0, 2, 0, 1]


async def test_an_acknowledgement_makes_room_and_says_when_the_broker_took_a_batch() -> None:
    acks: list[tuple[str, int, int | None]] = []
    link = KafkaLink(
        "nobody:1",
        4,
        ["g1"],
        lambda sent, _partition, offset, appended_ns: acks.append((sent.id, offset, appended_ns)),
        lambda value: None,
    )
    sents = [journal.Sent(f"g1/imu-right/{i}", b"g1", b"{}", (), 0, 0, "imu-right", i, 1) for i in range(3)]
    for sent in sents:
        link.send(sent)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await link.until(lambda: link.unacknowledged < 3)
    assert await link.flush(0.05) == link.unacknowledged == 3
    done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    done.set_result(SimpleNamespace(partition=0, offset=9, timestamp=5, timestamp_type=1))
    link._settled([0, 1], None, done)
    await link.until(lambda: link.unacknowledged < 3)
    devices_own: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    devices_own.set_result(SimpleNamespace(partition=0, offset=11, timestamp=-1, timestamp_type=0))
    link._settled([2], None, devices_own)
    assert await link.flush(0.05) == 0
    assert acks == [
        ("g1/imu-right/0", 9, 5_000_000),
        ("g1/imu-right/1", 10, 5_000_000),
        ("g1/imu-right/2", 11, None),
    ]


async def test_no_broker_and_another_partition_count_are_sentences(
    ready: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        InputError, match=r"found 4 on glasses\.captured, .* expected 3 .* use --partitions 4"
    ):
        await Simulation(options(tmp_path, broker=ready, partitions=3)).run()
    monkeypatch.setattr(kafka, "_START_WAIT_S", 0.2)
    with pytest.raises(UnavailableError, match=r"No Kafka answers at 127\.0\.0\.1:1 "):
        await Simulation(options(tmp_path, broker="127.0.0.1:1")).run()
    with pytest.raises(InputError, match=r"'127\.0\.0\.1:kafka': found no address of a Kafka"):
        await Simulation(options(tmp_path, broker="127.0.0.1:kafka")).run()


@pytest.mark.parametrize(
    ("speed", "backlog_s", "first"), [(20, 0.0, 31), (float("inf"), 0.0, 34), (20, 60.0, 37)]
)
async def test_nothing_leaves_under_a_consent_that_kafka_has_not(
    ready: str, tmp_path: Path, speed: float, backlog_s: float, first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "ANSWER_WAIT_S", 0.5)
    asked = options(
        tmp_path,
        scenario="load",
        devices=3,
        first=first,
        speed=speed,
        backlog_s=backlog_s,
        duration_s=backlog_s + 20.0,
        faults=True,
        start_ns=None,
        broker=ready,
    )
    summary = await Simulation(asked).run()
    assert summary.unacknowledged == 0
    for path in sorted(tmp_path.glob("*.jsonl")):
        assert under_consent_too_early(path) == []
        named = [batch for batch in batches(path) if batch.consent or batch.changes]
        assert len(named) > 50


async def test_another_journal_of_a_device_begins_a_new_incarnation(
    ready: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "ANSWER_WAIT_S", 0.5)

    async def incarnation(directory: str, device: int) -> set[str]:
        asked = options(tmp_path / directory, first=device, devices=1, duration_s=4.0, speed=20, broker=ready)
        await Simulation(asked).run()
        return {
            batch.stream.partition("~")[2] for batch in batches(tmp_path / directory / f"g{device}.jsonl")
        }

    assert [await incarnation(name, 41) for name in ("one", "one", "two", "three")] == [
        {""},
        {""},
        {"2"},
        {"3"},
    ]
    producer = AIOKafkaProducer(bootstrap_servers=ready, transactional_id="consents-of-the-test")
    await producer.start()
    try:
        # Behind the last record stands the marker of its transaction.
        async with producer.transaction():
            event = "g42/consent-change~4/0"
            value = orjson.dumps({"v": 2, "wearer": "w42", "event": event})
            await producer.send_and_wait(topology.CONSENTS, value, key=f"w42/{event}".encode())
    finally:
        await producer.stop()
    monkeypatch.setattr(kafka, "_LOOK_RECORDS", 50)
    assert [await incarnation(name, device) for name, device in (("one", 42), ("four", 41))] == [{"5"}, {"4"}]


async def test_a_look_sees_a_whole_partition_or_says_what_it_did_not(
    ready: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await Simulation(options(tmp_path, first=44, devices=1, duration_s=4.0, speed=20, broker=ready)).run()
    acks = [line["offset"] for line in journal.lines(tmp_path / "g44.jsonl") if line["line"] == "ack"]
    assert len(acks) > 20
    # Nine portions, whatever the tests before have left there.
    monkeypatch.setattr(kafka, "_LOOK_RECORDS", max(acks) // 8)
    link = KafkaLink(ready, 4, ["g44"], lambda *_: None, lambda _: None)
    seen: list[Any] = []
    place = partition_of("g44", 4)
    assert await link.look(topology.CAPTURED, place, seen.append, clock.monotonic_s() + 60) == 0
    offsets = {record.offset for record in seen}
    assert offsets == set(range(max(offsets) + 1))
    assert max(offsets) == max(acks)
    assert await link.look("glasses.nowhere", 0, seen.append, clock.monotonic_s() + 0.3) == 1


async def test_a_change_of_consent_is_acknowledged_before_the_command_ends(
    ready: str, tmp_path: Path
) -> None:
    await Simulation(options(tmp_path, first=43, devices=1, duration_s=4.0, speed=20)).run()
    command = [sys.executable, "-m", "device_sim", "consent", "withdraw", "--wearer", "w43", "--json"]
    async with reading(ready) as consumer:
        process = await asyncio.create_subprocess_exec(
            *command, "--broker", ready, "--journal", str(tmp_path), stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate()
        records = (await consumer.getmany(timeout_ms=5000)).values()
    assert (process.returncode, orjson.loads(out)["event"]) == (0, "g43/consent-change/1")
    (record,) = [record for some in records for record in some]
    ack = list(journal.lines(tmp_path / "g43.jsonl"))[-1]
    assert (ack["id"], ack["partition"], ack["offset"]) == (
        "g43/consent-change/1",
        record.partition,
        record.offset,
    )
    assert build.CODEC.decode(record.value, 0).columns["status"] == ["dpv:ConsentWithdrawn"]
