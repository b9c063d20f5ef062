"""The ledger reads the topics of a real broker by their headers, and finds every fault planted on one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from streams.kafka.reader import end_offsets
from streams.kafka.topics import declare
from streams.ledger.compare import topic_counts
from streams.ledger.journal import read_journal
from streams.ledger.sources import StoreReader
from streams.ledger.topics import Records, Topics, link_faults, order_faults, read_topics
from streams.topology import ANSWERS, CAPTURED, DERIVED, EXAMPLES, LINEAGE, REJECTED, ZONED
from tests.ledger.test_ledger import good, journal
from tests.snapshots.build import event, row, store

Runs = list[tuple[str, int, int, int]]
#: What lies where when all is well with the journal and the store of the other tests: (stream, first, step,
#: count) in order.
CLEAN: dict[str, Runs] = {
    CAPTURED: [
        ("imu", 0, 1, 20),
        ("imu", 20, 1, 20),
        ("imu", 40, 1, 20),
        ("imu", 60, 1, 20),
        ("imu", 0, 1, 20),
        ("imu", 80, 1, 20),
    ],
    ZONED: [
        ("imu", 0, 1, 10),
        ("imu", 10, 1, 10),
        ("imu", 20, 1, 20),
        ("imu", 40, 1, 20),
        ("imu", 60, 1, 20),
    ],
    REJECTED: [("imu", 80, 1, 20)],
    DERIVED: [("activity", 0, 50, 2), ("activity", 100, 1, 1), ("activity", 150, 1, 1)],
    ANSWERS: [("answer", 7, 1, 1)],
    EXAMPLES: [("example", 3, 1, 1)],
}


def stored(tmp_path: Path) -> Path:
    rows = good()
    rows["events"] = [one for one in rows["events"] if one["kind"] == "imu"]
    rows["events"] += [
        event("g1", "activity", 0, 2, step=50, kind="activity", topic=DERIVED, offset=2),
        event("g1", "activity", 100, kind="activity", topic=DERIVED, offset=3),
        event("g1", "activity", 150, kind="activity", topic=DERIVED, offset=4),
        event("g1", "answer", 7, kind="answer", topic=ANSWERS),
        event("g1", "example", 3, kind="example", topic=EXAMPLES),
    ]
    rows["rejected"].append(row("rejected", stage="snapshots", count=0))
    return store(tmp_path / "store", rows)


def found(tmp_path: Path, runs: dict[str, Runs]) -> tuple[dict[str, object], list[str]]:
    """What the ledger makes of these records, without a broker."""

    def records(topic: str) -> Records:
        made = Records()
        for stream, first, step, count in runs[topic]:
            made.records += 1
            made.add(f"g1/{stream}", first, step, count)
        return made

    derived = {name: records(name) for name in (DERIVED, ANSWERS, EXAMPLES)}
    topics = Topics(
        zoned=records(ZONED),
        rejected=records(REJECTED),
        derived=derived,
        order_faults=order_faults(records(CAPTURED).runs(), records(ZONED).runs()),
    )
    findings: list[str] = []
    reader = StoreReader(stored(tmp_path))
    try:
        return topic_counts(read_journal(journal(tmp_path / "journal")), topics, reader, findings), findings
    finally:
        reader.close()


def test_nothing_is_found_on_topics_where_nothing_is_wrong(tmp_path: Path) -> None:
    counts, findings = found(tmp_path, CLEAN)
    assert not findings
    assert (counts["events_missing"], counts["events_twice"], counts["out_of_order"]) == (0, 0, 0)


def remove(runs: Runs) -> None:
    del runs[0]


def repeat(runs: Runs) -> None:
    runs.append(runs[-1])


def swap(runs: Runs) -> None:
    runs[-1], runs[-2] = runs[-2], runs[-1]


def invent(runs: Runs) -> None:
    runs.append((runs[0][0], 5000, 1, 1))


@pytest.mark.parametrize(
    ("topic", "fault", "name", "sentence"),
    [
        (ZONED, remove, "events_missing", "neither on glasses.zoned nor on glasses.rejected: g1/imu/0-9"),
        (ZONED, repeat, "events_twice", "more than once: g1/imu/60-79"),
        (ZONED, swap, "out_of_order", "another order than on glasses.captured"),
        (ZONED, invent, "", "no journal knows them: g1/imu/5000"),
        (REJECTED, remove, "events_missing", "g1/imu/80-99"),
        (REJECTED, repeat, "events_twice", "g1/imu/80-99"),
        (REJECTED, invent, "", "glasses.rejected holds 2 records with 21 events, the store 1 with 20"),
        (
            DERIVED,
            remove,
            "events_missing",
            "2 events are in the store and not on glasses.derived: g1/activity/0, g1/activity/50",
        ),
        (DERIVED, repeat, "events_twice", "glasses.derived more than once: g1/activity/150"),
        (
            DERIVED,
            swap,
            "out_of_order",
            "1 records of glasses.derived stand before one of their stream that was completed earlier",
        ),
        (DERIVED, invent, "", "on glasses.derived and not in the store: g1/activity/5000"),
        (ANSWERS, remove, "events_missing", "g1/answer/7"),
        (ANSWERS, repeat, "events_twice", "g1/answer/7"),
        (EXAMPLES, remove, "events_missing", "g1/example/3"),
        (EXAMPLES, repeat, "events_twice", "g1/example/3"),
    ],
)
def test_one_record_removed_repeated_or_swapped_is_found(
    tmp_path: Path, topic: str, fault: Callable[[Runs], None], name: str, sentence: str
) -> None:
    runs = {one: list(some) for one, some in CLEAN.items()}
    fault(runs[topic])
    counts, findings = found(tmp_path, runs)
    assert any(sentence in finding for finding in findings), findings
    if name:
        assert counts[name]


def test_an_epoch_that_ends_before_the_topic_is_found(tmp_path: Path) -> None:
    findings: list[str] = []
    reader = StoreReader(stored(tmp_path))
    topic_counts(read_journal(journal(tmp_path / "journal")), Topics(lineage_ends={2: 5}), reader, findings)
    reader.close()
    assert "the newest epoch ends at offset 0 of glasses.lineage partition 2, which goes on to 5" in findings


@pytest.mark.kafka
async def test_what_lies_on_the_topics_is_read(broker: str) -> None:
    await declare(broker)
    async with AIOKafkaProducer(bootstrap_servers=broker) as producer:
        for topic, runs in CLEAN.items():
            for stream, first, step, count in runs:
                headers = [
                    ("ce_id", f"ledger-test/{stream}/{first}".encode()),
                    ("sightline-run", f"{first} {step} {count}".encode()),
                    ("sightline-stage", b"zones"),
                ]
                await producer.send_and_wait(
                    topic, b"{}", key=b"ledger-test", partition=0 if topic == EXAMPLES else 3, headers=headers
                )
        await producer.send_and_wait(
            REJECTED, b"{}", key=b"ledger-test", partition=3, headers=[("sightline-stage", b"training")]
        )
    topics = await asyncio.to_thread(read_topics, broker)

    def ours(records: Records) -> Runs:
        return [
            (records.keys[key].partition("/")[2], first, step, count)
            for key, first, step, count in zip(
                records.key, records.first, records.step, records.count, strict=True
            )
            if records.keys[key].startswith("ledger-test/")
        ]

    assert ours(topics.zoned) == CLEAN[ZONED]
    assert ours(topics.rejected) == CLEAN[REJECTED]
    assert {topic: ours(records) for topic, records in topics.derived.items()} == {
        one: CLEAN[one] for one in (DERIVED, ANSWERS, EXAMPLES)
    }
    assert topics.refused.records >= 1
    assert topics.captured_count >= len(CLEAN[CAPTURED])
    assert topics.repeated >= 1
    ends = await end_offsets(broker, [LINEAGE])
    assert topics.lineage_ends == {partition: end for (_, partition), end in ends.items()}


def test_what_the_link_did_is_counted() -> None:
    assert link_faults([("g1/imu", 0, 20), ("g1/imu", 20, 20), ("g1/imu", 0, 20)]) == (1, 0)
    assert link_faults([("g1/imu", 20, 20), ("g1/imu", 0, 20), ("g1/env", 0, 1), ("g1/imu", 20, 20)]) == (
        1,
        1,
    )
