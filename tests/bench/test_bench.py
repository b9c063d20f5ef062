"""The bench runs, in its tiny form, so that it never rots; no time is asserted."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from aiokafka import TopicPartition

from bench import policy, stages
from bench.count import Output, count, rate
from bench.faults import _first_s, _longest_s
from bench.load import EVENTS_PER_BATCH, batches, devices
from bench.race import part_of, ratios
from bench.subjects import BARS, SUBJECTS
from device_sim.kafka import partition_of
from streams.demo import Part
from streams.policy.load import load, parse
from streams.topology import PARTITIONS_DEFAULT
from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]
#: Those that need nothing beside our own dependencies and show every way of starting and of counting one.
RACED = ("transport", "faust", "sightline")


@pytest.mark.kafka
def test_subjects_do_the_same_work_and_it_is_counted() -> None:
    only = itertools.chain.from_iterable(("--only", name) for name in RACED)
    result = subprocess.run(
        [sys.executable, "-m", "bench", "--tiny", "--json", *only],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        cwd=ROOT,
    )
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["subjects"].keys() == set(RACED)
    for name, one in found["subjects"].items():
        assert one["batches"] == [40 if name == "faust" else 240 if name == "sightline" else 400], (
            "ids missing, or counted twice"
        )
        assert one["repeated"] == 0
    assert all(len(one["first_output_s"]) == 1 for one in found["subjects"].values())
    assert {(one["subject"], one["over"]) for one in found["ratios"]} == {("transport", "faust")}
    assert {"kafka", "faust-streaming", "aiokafka", "duckdb"} <= found["versions"].keys()
    assert {"date", "commit", "changed", "load", "python", "cores", "memory_gb", "versions"} <= found.keys()
    for name, reason in found["skipped"].items():
        assert f"not run: {name}: {reason}" in result.stderr, "a subject that is left out must be said aloud"


def test_every_peer_that_a_bar_names_is_raced_and_pinned() -> None:
    assert {bar.over for bar in BARS} | {bar.subject for bar in BARS} <= set(SUBJECTS)
    lock = (ROOT / "requirements-bench.lock").read_text(encoding="utf-8")
    assert "://" not in lock, "an address in a lock file"
    assert all("--hash=sha256:" in block for block in re.split(r"\n(?=[a-z0-9])", lock.strip()))
    for subject in SUBJECTS:
        assert not subject.package or f"\n{subject.package}==" in f"\n{lock}", (
            f"{subject.package} is not pinned for the bench"
        )


def test_whoever_decides_decides_the_same_and_a_thousand_rules_load() -> None:
    found = policy.policy(100)
    (decided, grown) = found.values()
    assert [row["subject"] for row in decided][:3] == ["sightline", "CEL, every batch", "CEL, every event"]
    assert all(row["µs a batch"] > 0 for row in decided)
    assert {row["what"] for row in grown} >= {"load", "memory beyond the small one"}
    made = parse(policy.large_text(), "large")
    assert (len(made.requirements) + len(made.zones), len(made.zones)) == (
        policy.RULES + len(load("household").requirements),
        policy.ZONES,
    )
    asked = list(batches(0, 40, 10**18))
    strict = load("clinic")
    assert policy.pipeline(made, asked) == policy.by_cel(made, 1)(asked) == [True] * 40
    assert policy.pipeline(strict, asked) == policy.by_cel(strict, 1)(asked) == [False] * 40


def test_the_load_has_consecutive_numbers_and_times_a_device() -> None:
    found: dict[str, list[int]] = {}
    for batch in [*batches(0, 100, 0), *batches(100, 60, 0)]:
        found.setdefault(batch.source, []).extend(batch.run)
        assert batch.run.count == EVENTS_PER_BATCH == len(batch.columns["accel_x_mps2"])
    assert all(numbers == list(range(len(numbers))) for numbers in found.values())


@pytest.mark.parametrize("number", [1, 8, 10, 1000])
def test_devices_have_names_of_their_own_and_fill_the_partitions_evenly(number: int) -> None:
    names = devices(number)
    assert len(set(names)) == number
    counts = [
        sum(partition_of(name, PARTITIONS_DEFAULT) == partition for name in names)
        for partition in range(PARTITIONS_DEFAULT)
    ]
    assert max(counts) - min(counts) <= 1


def test_a_share_is_the_first_of_each_partition() -> None:
    ids = {0: [b"a", b"b", b"c", b"d"], 1: [b"e", b"f"]}
    assert part_of(ids, 0.5) == {b"a", b"b", b"e"}
    assert part_of(ids, 1.0) == {b"a", b"b", b"c", b"d", b"e", b"f"}


def test_the_rate_does_not_depend_on_where_transactions_are_cut() -> None:
    one_by_one = rate(range(4000))
    assert one_by_one == pytest.approx(1000)
    assert rate([at // 500 * 500 for at in range(4000)]) == pytest.approx(one_by_one, rel=0.001)
    assert rate([7] * 100) == 0


def test_a_ratio_is_the_median_over_rounds_and_is_held_against_its_bar() -> None:
    class Found:
        def __init__(self, per_s: float) -> None:
            self.batches_per_s = per_s

    counted = {"transport": [Found(30), Found(60), Found(10)], "bytewax": [Found(10), Found(50), Found(10)]}
    [found] = ratios(counted)  # type: ignore[arg-type]
    assert (found["subject"], found["over"], found["ratio"], found["reached"]) == (
        "transport",
        "bytewax",
        1.2,
        False,
    )


def test_a_stall_is_the_longest_pause_of_any_partition() -> None:
    times = [[0, 900, 2000, 5000], [100, 4100, 5000]]
    assert _longest_s(times, 0, 5000) == 4.0
    assert _longest_s([[0]], 0, 7000) == 7.0, (
        "a partition that never comes back stalls until the end of the watch"
    )
    assert _first_s(times, 900) == 3.2
    assert _first_s([[0, 1000], [0]], 500) == float("inf")


def test_stages_of_the_pipeline_are_all_timed() -> None:
    [(_, rows)] = stages.stages(80).items()
    spent_us = {row["stage"]: row["CPU µs a batch"] for row in rows}
    assert list(spent_us) == [
        "zones",
        "processing",
        "assistant",
        "feedback",
        "records",
        "lineage",
        "rest of the core",
        "all",
    ]
    assert all(spent_us[name] > 0 for name in ("zones", "processing", "records", "lineage", "all"))


async def test_a_subject_that_ended_is_not_waited_for(tmp_path: Path) -> None:
    class Nothing(Output):
        async def ends(self) -> dict[TopicPartition, int]:
            return {}

    part = Part.spawn("nobody", ["this"], tmp_path / "log")
    part.process.wait()
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(TimeoutError):
            await count(
                Nothing("nobody:1", "glasses.zoned"),
                {b"g1/imu-right/0"},
                [part],
                os.getpid(),
                10 * PATIENCE_S,
            )
