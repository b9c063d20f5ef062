"""The ledger reads the topics of a real broker, and finds every fault that is planted on one of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from streams.kafka.reader import end_offsets
from streams.kafka.topics import declare
from streams.ledger.compare import topic_counts
from streams.ledger.journal import read_journals
from streams.ledger.records import Records
from streams.ledger.result import TopicCounts
from streams.ledger.sources import StoreReader
from streams.ledger.topics import Topics, link_faults, order_faults, other_data, read_topics
from streams.topology import ANSWERS, CAPTURED, DERIVED, EXAMPLES, LINEAGE, REJECTED, ZONED
from tests.ledger.test_ledger import captured, digest, good, journal, value
from tests.snapshots.build import Row, event, row, store

Runs = list[tuple[str, int, int, int]]
Headers = dict[str, bytes | None]
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
    DERIVED: [
        ("activity", 0, 50, 2),
        ("activity.1", 100, 1, 1),
        ("activity", 100, 1, 1),
        ("activity", 150, 1, 1),
    ],
    ANSWERS: [("answer", 7, 1, 1)],
    EXAMPLES: [("example", 3, 1, 1)],
}


def said(stream: str, first: int) -> bytes:
    """The value of the record that an agent wrote from this number of a stream on."""
    return value(first) if stream == "imu" else f"{stream} {first}".encode()


def stored(tmp_path: Path) -> Path:
    rows = good()
    rows["events"] = [one for one in rows["events"] if one["kind"] == "imu" and one["first"]]
    # Each part of the batch that was split has a value of its own.
    rows["events"] += [
        captured(first, 10, zone="home-private", split_from=digest(value(0)), digest=digest(value(first)))
        for first in (0, 10)
    ]

    def derived(kind: str, first: int, topic: str, count: int = 1, **columns: object) -> Row:
        about = {"kind": kind, "topic": topic, "digest": digest(said(kind, first))}
        return event("g1", kind, first, count, **about, **columns)

    rows["events"] += [
        derived("activity", 0, DERIVED, 2, step=50, offset=2),
        derived("activity", 100, DERIVED, offset=3),
        derived("activity", 150, DERIVED, offset=4),
        event(
            "g1",
            "activity",
            100,
            kind="activity",
            topic=DERIVED,
            digest=digest(said("activity.1", 100)),
            revision=1,
            offset=5,
        ),
        derived("answer", 7, ANSWERS),
        derived("example", 3, EXAMPLES, partition=2),
    ]
    rows["rejected"].append(row("rejected", stage="snapshots", count=0))
    return store(tmp_path / "store", rows)


def headers(stream: str, first: int, step: int, count: int, source: str = "g1") -> Headers:
    stream, dot, revision = stream.partition(".")
    return {
        "ce_id": f"{source}/{stream}/{first}{dot}{revision}".encode(),
        "sightline-run": f"{first} {step} {count}".encode(),
        "sightline-stage": b"zones",
    }


def found(
    tmp_path: Path,
    runs: dict[str, Runs],
    *further: tuple[str, Headers, bytes | None, int],
    **columns: Any,
) -> tuple[TopicCounts, list[str]]:
    """What the ledger makes of these records, without a broker, and of `further` ones.

    Those are (topic, headers, value, partition), behind the others.
    """

    def records(topic: str, into: Records | None = None) -> Records:
        made = into or Records()
        for offset, (stream, first, step, count) in enumerate(runs[topic]):
            made.take(headers(stream, first, step, count), said(stream, first), 0, offset)
        for i, (_, named, content, partition) in enumerate(one for one in further if one[0] == topic):
            made.take(named, content, partition, 50 + i)
        return made

    derived = {name: records(name) for name in (DERIVED, ANSWERS, EXAMPLES)}
    topics = Topics(
        zoned=records(ZONED, Records(whole=True)),
        rejected=records(REJECTED, Records(whole=True)),
        derived=derived,
        order_faults=order_faults(records(CAPTURED).runs(), records(ZONED).runs()),
        **columns,
    )
    findings: list[str] = []
    reader = StoreReader(stored(tmp_path))
    try:
        return topic_counts(read_journals(journal(tmp_path / "journal")), topics, reader, findings), findings
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
        (ZONED, invent, "forged", "no journal knows them: g1/imu/5000"),
        (REJECTED, remove, "events_missing", "g1/imu/80-99"),
        (REJECTED, repeat, "events_twice", "g1/imu/80-99"),
        (REJECTED, invent, "", "glasses.rejected holds 2 records with 21 events, the store 1 with 20"),
        (
            DERIVED,
            remove,
            "events_missing",
            "2 events are in the store and not on glasses.derived: g1/activity/0, g1/activity/50",
        ),
        (
            DERIVED,
            repeat,
            "events_twice",
            "copies of records that an agent wrote once: g1/activity/150 (part",
        ),
        (
            DERIVED,
            swap,
            "out_of_order",
            "1 records of glasses.derived stand before one of their stream that was completed earlier",
        ),
        (
            DERIVED,
            invent,
            "forged",
            "glasses.derived were written by no agent: g1/activity/5000 (partition 0",
        ),
        (ANSWERS, invent, "forged", "glasses.answers were written by no agent: g1/answer/5000 (partition 0"),
        (
            EXAMPLES,
            invent,
            "forged",
            "glasses.examples were written by no agent: g1/example/5000 (partition 0",
        ),
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
        assert dict(counts)[name]


def test_an_epoch_that_ends_before_the_topic_is_found(tmp_path: Path) -> None:
    findings: list[str] = []
    reader = StoreReader(stored(tmp_path))
    topic_counts(read_journals(journal(tmp_path / "journal")), Topics(lineage_ends={2: 5}), reader, findings)
    reader.close()
    assert "the newest epoch ends at offset 0 of glasses.lineage partition 2, which goes on to 5" in findings


def refusal(rule: str) -> Headers:
    return headers("imu", 20, 1, 20, "ledger-test") | {"sightline-rule": rule.encode()}


@pytest.mark.kafka
async def test_what_lies_on_the_topics_is_read(broker: str) -> None:
    await declare(broker)
    async with AIOKafkaProducer(bootstrap_servers=broker) as producer:
        for topic, runs in CLEAN.items():
            for stream, first, step, count in runs:
                await producer.send_and_wait(
                    topic,
                    b"{}",
                    key=b"ledger-test",
                    partition=0 if topic == EXAMPLES else 3,
                    headers=list(headers(stream, first, step, count, "ledger-test").items()),
                )
        for further in ({"sightline-stage": b"training"}, refusal("collision"), refusal("too-late")):
            await producer.send_and_wait(
                REJECTED, b"{}", key=b"ledger-test", partition=3, headers=list(further.items())
            )
        again = list(headers("imu", 20, 1, 20, "ledger-test").items())
        await producer.send_and_wait(CAPTURED, b"other data", key=b"ledger-test", partition=3, headers=again)
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
    assert ours(topics.collided) == ours(topics.early) == [("imu", 20, 1, 20)]
    assert "ledger-test/imu/20 (partition 3, offset" in topics.other_named
    assert topics.captured_count >= len(CLEAN[CAPTURED])
    assert topics.repeated >= 1
    others = await asyncio.to_thread(read_topics, broker, frozenset({"ledger-test"}))
    for records in (others.zoned, *others.refusals(), *others.derived.values()):
        assert not ours(records), "of an erased device nothing is read"
    ends = await end_offsets(broker, [LINEAGE])
    assert topics.lineage_ends == {partition: end for (_, partition), end in ends.items()}


def test_what_the_link_did_is_counted() -> None:
    assert link_faults([("g1/imu", 0, 20), ("g1/imu", 20, 20), ("g1/imu", 0, 20)]) == (1, 0)
    assert link_faults([("g1/imu", 20, 20), ("g1/imu", 0, 20), ("g1/env", 0, 1), ("g1/imu", 20, 20)]) == (
        1,
        1,
    )


def test_other_data_under_a_number_are_told_from_a_copy() -> None:
    records = Records(whole=True)
    for offset, (first, content) in enumerate(
        [(0, b"a"), (20, b"b"), (0, b"a"), (0, b"c"), (0, b"c"), (40, b"a")]
    ):
        records.take(headers("imu", first, 1, 20), content, 1, offset)
    assert other_data(records).tolist() == [3]
    assert records.named(other_data(records)) == "g1/imu/0 (partition 1, offset 3)"
    assert other_data(Records()).tolist() == []


def test_other_data_on_the_captured_topic_are_found(tmp_path: Path) -> None:
    counts, findings = found(tmp_path, CLEAN, other_data=1, other_named="g1/imu/0 (partition 1, offset 3)")
    assert counts["other_data"] == 1
    assert findings == [
        "1 batches of glasses.captured bear numbers that other data had before them: g1/imu/0 (partition 1,"
        " offset 3)"
    ]


def test_a_batch_that_nobody_could_read_is_known_by_its_digest(tmp_path: Path) -> None:
    topics = Topics()
    named: Headers = {"sightline-stage": b"zones", "sightline-digest": digest(value(60)).encode()}
    assert topics.refusal(named) is topics.refused
    assert topics.refusal({"sightline-stage": b"zones", "sightline-digest": b"none"}) is topics.refused
    # It claims numbers that others have, and stands for none of them.
    claims = headers("imu", 20, 1, 20) | named | {"sightline-rule": b"malformed"}
    assert topics.refusal(claims) is topics.refused
    assert topics.unread == bytes.fromhex(digest(value(60))) * 2
    counts, _ = found(tmp_path, CLEAN | {ZONED: CLEAN[ZONED][:-1]}, unread=topics.unread)
    assert counts["events_missing"] == 0


def test_what_was_refused_before_its_numbers_were_looked_at_is_there_and_not_twice(tmp_path: Path) -> None:
    runs = CLEAN | {ZONED: CLEAN[ZONED][:-1]}
    early = Records(whole=True)
    for first in (20, 60):
        early.take(headers("imu", first, 1, 20), value(first), 0, 0)
    counts, _ = found(tmp_path, runs, early=early)
    assert (counts["events_missing"], counts["events_twice"]) == (0, 0)
