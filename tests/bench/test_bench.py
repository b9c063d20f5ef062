"""The bench runs, in its tiny form, so that it never rots; no time is asserted."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

import pytest
from aiokafka import ConsumerRecord

from bench.load import EVENTS_PER_BATCH, batches, count
from bench.subjects import SUBJECTS
from streams.kafka.reader import Follower

pytestmark = pytest.mark.kafka


def test_both_subjects_do_the_same_work_and_it_is_counted() -> None:
    result = subprocess.run([sys.executable, "-m", "bench", "--tiny", "--json"], capture_output=True, text=True, timeout=240, check=False)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["subjects"].keys() == {subject.name for subject in SUBJECTS}
    assert [one["batches"] for one in found["subjects"].values()] == [[400], [400]]
    assert len({tuple(one["checksums"]) for one in found["subjects"].values()}) == 1
    assert found["subjects"]["sightline"]["repeated"] == 0
    assert all(len(one["first_output_s"]) == 1 for one in found["subjects"].values())
    assert {"kafka", "faust-streaming", "aiokafka", "duckdb"} <= found["versions"].keys()
    assert {"date", "commit", "changed", "load", "python", "cores", "memory_gb", "versions", "ratio"} <= found.keys()


def test_the_load_has_consecutive_numbers_and_times_a_device() -> None:
    found: dict[str, list[int]] = {}
    for batch in [*batches(0, 100, 0), *batches(100, 60, 0)]:
        found.setdefault(batch.source, []).extend(batch.run)
        assert batch.run.count == EVENTS_PER_BATCH == len(batch.columns["accel_x_mps2"])
    assert all(numbers == list(range(len(numbers))) for numbers in found.values())


async def test_a_subject_that_ended_is_not_waited_for() -> None:
    class Nothing(Follower):
        async def poll(self, timeout_ms: int, max_records: int) -> dict[int, list[ConsumerRecord]]:
            return {}

    async with asyncio.timeout(5):
        with pytest.raises(TimeoutError):
            await count(Nothing("nobody:1", "glasses.zoned"), {b"g1/imu-right/0"}, 60, lambda: False)
