"""The bench runs, in its tiny form, so that it never rots; no time is asserted."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from aiokafka import TopicPartition

from bench import policy, stages
from bench.bars import CREEP, FIGURES, WHOLE, Bar
from bench.count import Output, count, rate
from bench.faults import _first_s, _longest_s
from bench.generations import generations
from bench.load import DEVICES
from bench.page import BEGIN, END, PAGE, newest, written
from bench.processes import cpu_s, rss_mb
from bench.race import bars, part_of, run
from bench.races import RACES, Ratio
from bench.report import bar_lines
from bench.subjects import SIGHTLINE, SUBJECTS
from bench.traffic import GLASSES, IMU_20
from streams.demo import Part
from streams.policy.load import load, parse
from streams.sealing.key_store import KeyStore
from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]
#: Those that need nothing beside our own dependencies and show every way of starting and of counting one.
RACED = ("transport", "faust", "sightline", "aiokafka-tags")


@pytest.mark.kafka
def test_subjects_do_the_same_work_and_it_is_counted() -> None:
    only = itertools.chain.from_iterable(("--only", name) for name in RACED)
    result = subprocess.run(
        [sys.executable, "-m", "bench", "--tiny", "--json", "--race", "imu-20-json", *only],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        cwd=ROOT,
    )
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    race = found["races"]["imu-20-json"]
    assert race["subjects"].keys() == set(RACED)
    for name, one in race["subjects"].items():
        assert one["batches"] == [{"faust": 40, "sightline": 240, "aiokafka-tags": 160}.get(name, 400)], (
            "ids missing, or counted twice"
        )
        assert one["repeated"] == 0
    assert all(len(one["first_output_s"]) == 1 for one in race["subjects"].values())
    measured = [held["bar"] for held in found["bars"] if "median" in held]
    assert measured == ["imu-20-json: transport / faust"]
    assert {"kafka", "faust-streaming", "aiokafka", "duckdb"} <= found["versions"].keys()
    assert {"date", "commit", "changed", "load", "python", "cores", "memory_gb", "versions"} <= found.keys()
    for name, reason in found["skipped"].items():
        assert f"not run: {name}: {reason}" in result.stderr, "a subject that is left out must be said aloud"


@pytest.mark.kafka
def test_rounds_of_people_who_teach_go_by_one_key_store(tmp_path: Path) -> None:
    asked = next(race for race in RACES if race.traffic is GLASSES)
    alone = replace(asked, subjects=(SIGHTLINE,), asked=())
    found = run(alone, tmp_path / "race", 2, print, batches=4_000, tiny=True)
    assert found["subjects"]["sightline"]["batches"] == [2_400, 2_400]
    with contextlib.closing(KeyStore(tmp_path / "race" / "keys")) as keys:
        assert keys.wearers(), "nothing was sealed, so a second key store would not have been noticed"


def test_every_peer_that_a_bar_names_is_raced_and_pinned() -> None:
    for race in RACES:
        for asked in race.asked:
            named = {asked.subject, asked.over} if isinstance(asked, Ratio) else {asked.subject}
            assert named <= set(race.subjects), f"{race.bar(asked).name} is never measured"
    assert {subject for race in RACES for subject in race.subjects} == set(SUBJECTS)
    every = [bar.name for race in RACES for bar in race.bars] + [bar.name for bar in FIGURES]
    assert len(set(every)) == len(every), "two bars of one name: one would hide the other in the report"
    lock = (ROOT / "requirements-bench.lock").read_text(encoding="utf-8")
    assert "://" not in lock, "an address in a lock file"
    assert all("--hash=sha256:" in block for block in re.split(r"\n(?=[a-z0-9])", lock.strip()))
    for subject in SUBJECTS:
        assert not subject.package or f"\n{subject.package}==" in f"\n{lock}", (
            f"{subject.package} is not pinned for the bench"
        )


def test_whoever_decides_decides_the_same_and_a_thousand_rules_load() -> None:
    found = policy.policy(100)
    (decided, grown) = found.tables.values()
    assert [row["subject"] for row in decided][:3] == ["sightline", "CEL, every batch", "CEL, every event"]
    assert all(row["µs a batch"] > 0 for row in decided)
    assert {row["what"] for row in grown} >= {"load", "memory beyond the small one"}
    made = parse(policy.large_text(), "large")
    assert (len(made.requirements) + len(made.zones), len(made.zones)) == (
        policy.RULES + len(load("household").requirements),
        policy.ZONES,
    )
    asked = list(IMU_20.batches(0, 40, 10**18, DEVICES))
    strict = load("clinic")
    assert policy.pipeline(made, asked) == policy.by_cel(made, 1)(asked) == [True] * 40
    assert policy.pipeline(strict, asked) == policy.by_cel(strict, 1)(asked) == [False] * 40


def test_a_share_is_the_first_of_each_partition() -> None:
    ids = {0: [b"a", b"b", b"c", b"d"], 1: [b"e", b"f"]}
    assert part_of(ids, 0.5) == {b"a", b"b", b"e"}
    assert part_of(ids, 1.0) == {b"a", b"b", b"c", b"d", b"e", b"f"}


def test_the_rate_does_not_depend_on_where_transactions_are_cut() -> None:
    one_by_one = rate(range(4000))
    assert one_by_one == pytest.approx(1000)
    assert rate([at // 500 * 500 for at in range(4000)]) == pytest.approx(one_by_one, rel=0.001)
    assert rate([7] * 100) == 0


@pytest.mark.parametrize(
    ("figures", "quartiles", "missed"),
    [
        ([1.2, 1.3, 1.4, 1.6, 1.7], (1.3, 1.4, 1.6), False),
        ([1.2, 1.3, 1.4, 1.45, 9.0], (1.3, 1.4, 1.45), True),
        ([1.6, 1.7, 1.8, 1.9, 0.1], (1.6, 1.7, 1.8), False),
        ([1.49], (1.49, 1.49, 1.49), True),
        ([1.5], (1.5, 1.5, 1.5), False),
    ],
)
def test_a_bar_is_missed_when_its_whole_interval_lies_below(
    figures: list[float], quartiles: tuple[float, float, float], missed: bool
) -> None:
    held = Bar("zones / quix", least=1.5, unit=" x").held(figures)
    assert (held["low"], held["median"], held["high"]) == quartiles
    assert held["missed"] is missed
    # The same figures as costs, which are to lie below the same number.
    costs = Bar("seconds", most=-1.5).held([-figure for figure in figures])
    assert costs["missed"] is missed


def test_a_ratio_is_that_of_two_rates_within_a_round() -> None:
    class Found:
        def __init__(self, per_s: float) -> None:
            self.batches_per_s = per_s

    counted = {"transport": [Found(30), Found(60), Found(10)], "bytewax": [Found(10), Found(50), Found(10)]}
    [held] = bars(next(race for race in RACES if race.traffic is IMU_20), counted)  # type: ignore[arg-type]
    assert held["bar"] == "imu-20-json: transport / bytewax"
    assert held["rounds"] == [3, 1.2, 1]
    assert (held["median"], held["missed"]) == (1.2, False)


def test_a_bar_has_a_line_whether_it_is_reached_missed_or_not_measured() -> None:
    bar = Bar("zones / quix", least=1.5, unit=" x")
    lines = bar_lines([bar.held([1.0, 1.1, 1.2]), bar.held([2.0]), {"bar": bar.name, "asked": bar.asked}])
    assert [line["asked"] for line in lines] == ["≥ 1.5 x"] * 3
    assert [line["measured"] for line in lines] == ["1.1 [1.05 … 1.15]", "2", "not measured in this run"]
    assert [line[""] for line in lines] == ["MISSED", "", ""]


def test_the_page_has_the_newest_figures_of_each_race_and_bar(tmp_path: Path) -> None:
    def result(date: str, per_s: float, ratio: float, **changes: Any) -> dict[str, Any]:
        subject = {
            "does": "tags",
            "delivery": "once",
            "batches_per_s": per_s,
            "events_per_s": 20,
            "cpu_us": 3.4,
        }
        held = next(bar for bar in RACES[0].bars if "quix-tags" in bar.name).held([ratio])
        found = {
            "date": date,
            "races": {"imu-20-json": {"subjects": {"zones": subject, "transport": subject}}},
            "bars": [held, {"bar": FIGURES[0].name, "asked": FIGURES[0].asked}],
        }
        machine = dict.fromkeys(("commit", "rounds", "cores", "memory_gb", "load", "python", "took_s"), 1)
        return {**machine, "changed": False, **found, **changes}

    assert newest(tmp_path) is None
    for found in (
        result("2026-11-29T0100Z", 1000, 1.0),
        result("2026-11-29T0200Z", 2000, 1.2),
        result("2026-11-29T0300Z", 1, 1, races={}, bars=[FIGURES[0].held([0.6])]),
    ):
        (tmp_path / f"{found['date']}.json").write_text(json.dumps(found))
    (tmp_path / "store-2026-11-29T0400Z.json").write_text("{}")
    made = newest(tmp_path)
    assert made is not None
    page = written(f"before\n{BEGIN}old\n{END}after\n", made)
    assert written(page, made) == page
    assert page.startswith(f"before\n{BEGIN}")
    assert page.endswith(f"{END}after\n")
    lines = page.splitlines()
    assert [line for line in lines if "zones | tags" in line] == [
        "| imu-20-json | zones | tags | once | 2,000 | 20 | 3 |"
    ]
    assert lines.index("Beside it forwarding alone, and the whole pipeline:") < lines.index(
        "| imu-20-json | transport | tags | once | 2,000 | 20 | 3 |"
    )
    assert "| imu-20-json: zones / quix-tags | ≥ 1.5 x | 1.2 | MISSED |" in lines
    assert f"| {FIGURES[0].name} | ≤ 0.68 x | 0.6 |  |" in lines
    assert "old" not in page
    assert "T0100Z" not in page, "a run of which no figure is left"


def test_the_page_of_the_docs_is_what_the_kept_results_say() -> None:
    page = PAGE.read_text("utf-8")
    assert page.count(BEGIN) == page.count(END) == 1
    made = newest()
    assert made is None or written(page, made) == page, "run python -m bench.page"


def test_a_stall_is_the_longest_pause_of_any_partition() -> None:
    times = [[0, 900, 2000, 5000], [100, 4100, 5000]]
    assert _longest_s(times, 0, 5000) == 4.0
    assert _longest_s([[0]], 0, 7000) == 7.0, (
        "a partition that never comes back stalls until the end of the watch"
    )
    assert _first_s(times, 900) == 3.2
    assert _first_s([[0, 1000], [0]], 500) == float("inf")


def test_stages_of_the_pipeline_are_all_timed() -> None:
    rows = next(iter(stages.stages(80).tables.values()))
    spent_us = {row["stage"]: row["CPU µs a batch"] for row in rows}
    assert list(spent_us) == [
        "zones",
        "processing",
        "assistant",
        "feedback",
        "records",
        "lineage",
        "tally",
        "rest of the core",
        "all",
    ]
    assert all(spent_us[name] > 0 for name in ("zones", "processing", "records", "lineage", "all"))


def test_memory_of_a_child_is_what_it_has_for_itself() -> None:
    held = (
        "held = bytearray(50_000_000); held[::4096] = bytes(len(held[::4096])); print(1, flush=True); input()"
    )

    def children_mb() -> float:
        return float(rss_mb(os.getpid()) - psutil.Process().memory_info().rss / 1e6)

    # Other tests of this process may have left a helper, which ends with the process.
    before_mb = children_mb()
    with subprocess.Popen(
        [sys.executable, "-c", held], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        of_child, child_mb = psutil.Process(child.pid).memory_full_info(), children_mb() - before_mb
        child.kill()
    assert of_child.rss > of_child.uss + 1_000_000, "libraries that both have"
    assert child_mb == pytest.approx(of_child.uss / 1e6, abs=1)
    assert child_mb > 50


def test_a_child_that_has_ended_has_used_what_it_used() -> None:
    work = "import time\nwhile time.process_time() < 0.3: pass"
    before_s = cpu_s(os.getpid())
    subprocess.run([sys.executable, "-c", work], check=True)
    assert cpu_s(os.getpid()) - before_s > 0.25  # ticks of 10 ms, and sums of floats


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


async def test_a_few_generations_have_a_whole_trace_and_lose_no_purpose(tmp_path: Path) -> None:
    made = await generations(tmp_path / "generations", 8, lambda _sentence: None)
    held = {each["bar"]: each for each in made.bars}
    assert not held[WHOLE.name]["missed"]
    assert not held[CREEP.name]["missed"]
    (_, told) = made.tables.values()
    counted = {row["made of"]: row["store"] for row in told}
    assert counted["model"] >= 2
    assert counted["example"] > 88, "those of the seed and of wearers"
    assert all(row["store"] == row["wire"] for row in told)
