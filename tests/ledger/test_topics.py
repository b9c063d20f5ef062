"""The ledger reads the topics of a real broker by their headers."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from streams.kafka.topics import declare
from streams.ledger import _topics
from streams.ledger.sources import Journal, link_faults, read_journal, read_topics
from streams.topology import CAPTURED, REJECTED, ZONED
from tests.ledger.test_ledger import journal

pytestmark = pytest.mark.kafka
#: 40-59 stands before 20-39 on glasses.zoned and comes again; 80-99 is nowhere; a repeat on glasses.captured is no fault.
SENT = {CAPTURED: [(0, 20), (20, 20), (40, 20), (60, 20), (0, 20), (80, 20)],
        ZONED: [(0, 10), (10, 10), (40, 20), (20, 20), (40, 20)], REJECTED: [(60, 20)]}


@pytest.fixture
async def topics(broker: str) -> str:
    await declare(broker)
    producer = AIOKafkaProducer(bootstrap_servers=broker)
    await producer.start()
    for topic, runs in SENT.items():
        for first, count in runs:
            headers = [("ce_id", f"ledger-test/imu/{first}".encode()), ("sightline-run", f"{first} 1 {count}".encode()),
                       ("sightline-stage", b"zones")]
            await producer.send_and_wait(topic, b"{}", key=b"ledger-test", partition=3, headers=headers)
    await producer.stop()
    return broker


def test_faults_on_the_topics_are_found(topics: str, tmp_path: Path) -> None:
    known = read_journal(journal(tmp_path / "journal"))
    read = read_topics(topics)
    read.zoned = {key: runs for key, runs in read.zoned.items() if key.startswith("ledger-test/")}  # other tests share the broker
    read.rejected = {key: runs for key, runs in read.rejected.items() if key.startswith("ledger-test/")}
    findings: list[str] = []
    counts = _topics(Journal(known.batches, {"ledger-test/imu": known.sent["g1/imu"]}), read, findings)
    assert (counts["events_missing"], counts["events_twice"]) == (20, 20)
    assert counts["out_of_order"] >= 1
    assert link_faults([("g1/imu", first, count) for first, count in SENT[CAPTURED]]) == (1, 0)
    assert link_faults([("g1/imu", 20, 20), ("g1/imu", 0, 20), ("g1/env", 0, 1), ("g1/imu", 20, 20)]) == (1, 1)
    assert any("ledger-test/imu/80-99" in finding for finding in findings)
    assert any("ledger-test/imu/40-59" in finding for finding in findings)
