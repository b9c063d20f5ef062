"""Load: a rate, numbers that begin where asked to, a backlog that comes at full speed, clocks that jump."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from device_sim import load, scenarios
from device_sim.link import NONE, Faults, Link
from device_sim.runner import Simulation
from streams import clock
from streams.events import journal
from tests import build
from tests.device_sim import play
from tests.device_sim.play import batches, by_stream

SECOND_NS = 1_000_000_000


def played(directory: Path, **changes: object) -> list[Path]:
    """Journals of a load run without a broker, where no time passes."""
    asked = load.Load(
        scenario="hike",
        devices=2,
        rate=20.0,
        seed=3,
        duration_s=30.0,
        journal=directory,
        partitions=4,
        broker="nobody:1",
        first=5,
        backlog_s=100.0,
        faults=False,
    )
    options = replace(asked.options(), broker=None, **changes)  # type: ignore[arg-type]

    async def run() -> None:
        await Simulation(options).run()

    asyncio.run(run())
    return sorted(directory.glob("*.jsonl"))


@pytest.mark.parametrize(("scenario", "devices", "rate"), [("load", 24, 2000.0), ("hike", 3, 30.0)])
def test_the_pace_follows_from_the_rate(scenario: str, devices: int, rate: float) -> None:
    options = load.Load(
        scenario=scenario,
        devices=devices,
        rate=rate,
        seed=1,
        duration_s=60.0,
        journal=Path("journal"),
        partitions=4,
        broker="nobody:1",
    ).options()
    assert devices * options.speed * load.batches_per_s(scenario) == pytest.approx(rate)
    assert options.wall_s == 60.0
    assert options.duration_s == pytest.approx(60.0 * options.speed)


def test_batches_per_s_is_what_a_device_sends(tmp_path: Path) -> None:
    for path in played(tmp_path, wall_s=None, duration_s=600.0, backlog_s=0.0):
        assert len(batches(path)) / 600 == pytest.approx(load.batches_per_s("hike"), rel=0.01)


def test_devices_are_numbered_from_the_first(tmp_path: Path) -> None:
    assert [path.name for path in played(tmp_path)] == ["g5.jsonl", "g6.jsonl"]


def test_a_backlog_was_captured_before_the_start(tmp_path: Path) -> None:
    start_ns = 1_700_000_000 * SECOND_NS
    paths = played(tmp_path, wall_s=None, start_ns=start_ns, duration_s=130.0)
    for path in paths:
        times = [batch.t0_ns for batch in by_stream(batches(path))["imu-right"]]
        assert times[0] == start_ns - 100 * SECOND_NS
        assert times[-1] == start_ns + 30 * SECOND_NS - SECOND_NS // 5


def test_clocks_jump_and_numbers_stay_whole(tmp_path: Path) -> None:
    assert scenarios.load("load").faults.clock_jump_every_ns > 0
    options = load.Load(
        scenario="load",
        devices=1,
        rate=20.0,
        seed=3,
        duration_s=200.0,
        journal=tmp_path,
        partitions=4,
        broker="nobody:1",
    ).options()

    async def run() -> None:
        await Simulation(replace(options, broker=None, wall_s=None, duration_s=130.0)).run()

    asyncio.run(run())
    streams = by_stream([build.CODEC.decode(sent.value, 0) for sent in journal.sent(tmp_path / "g1.jsonl")])
    found = sorted(streams["imu-right"], key=lambda batch: batch.run.first)
    assert [batch.run.first for batch in found] == [0, *(batch.run.last + 1 for batch in found)][:-1]
    steps = [after.t0_ns - before.t0_ns for before, after in pairwise(found)]
    assert any(step < 0 for step in steps)
    assert any(step > 2 * SECOND_NS for step in steps)


def test_a_clock_jumps_by_the_seed_and_within_its_bound() -> None:
    faults = Faults(clock_jump_every_ns=10 * SECOND_NS, clock_jump_max_ns=SECOND_NS)
    link, again, other = (Link(faults, seed, "g1") for seed in (1, 1, 2))
    shifts = [link.clock_shift_ns(second * SECOND_NS) for second in range(200)]
    assert shifts[:10] == [0] * 10
    assert len(set(shifts)) == 20
    assert all(len(set(shifts[at : at + 10])) == 1 for at in range(0, 200, 10))
    assert all(abs(shift) <= SECOND_NS for shift in shifts)
    assert [again.clock_shift_ns(second * SECOND_NS) for second in reversed(range(200))] == shifts[::-1]
    assert [other.clock_shift_ns(second * SECOND_NS) for second in range(200)] != shifts
    assert Link(NONE, 1, "g1").clock_shift_ns(10**15) == 0


def first_and_last_ns(directory: Path) -> tuple[int, int]:
    found = [batch for path in sorted(directory.glob("*.jsonl")) for batch in batches(path)]
    return min(batch.t0_ns for batch in found), max(batch.last_ns for batch in found)


@pytest.mark.parametrize(
    ("speed", "backlog_s", "duration_s", "began_s", "ended_s"),
    [
        (1.0, 0.0, 60.0, 0.0, 60.0),
        (10.0, 0.0, 60.0, -54.0, 6.0),
        (20.0, 100.0, 160.0, -157.0, 3.0),
        (0.5, 0.0, 60.0, 0.0, 60.0),
        (float("inf"), 20.0, 60.0, -60.0, 0.0),
        (float("inf"), 0.0, 1e9, -20 * 86_400.0, None),
    ],
)
def test_a_run_that_is_faster_than_time_began_earlier(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    speed: float,
    backlog_s: float,
    duration_s: float,
    began_s: float,
    ended_s: float | None,
) -> None:
    now_ns = 1_800_000_000 * SECOND_NS
    monkeypatch.setattr(clock, "now_ns", lambda: now_ns)
    asked = play.options(
        tmp_path, start_ns=None, speed=speed, backlog_s=backlog_s, duration_s=duration_s, scenario="hike"
    )
    if ended_s is None:
        asked = replace(asked, wall_s=0.2)

    async def run() -> None:
        await Simulation(asked).run()

    asyncio.run(run())
    first_ns, last_ns = first_and_last_ns(tmp_path)
    assert first_ns == now_ns + round(began_s * SECOND_NS)
    if ended_s is not None:
        assert abs(last_ns - now_ns - ended_s * SECOND_NS) <= SECOND_NS // 2


def test_a_run_soon_after_another_begins_right_behind_it(tmp_path: Path) -> None:
    play.play(tmp_path, start_ns=None, speed=10, devices=1)
    before = batches(tmp_path / "g1.jsonl")
    play.play(tmp_path, start_ns=None, speed=10, devices=1)
    after = batches(tmp_path / "g1.jsonl")[len(before) :]
    assert after[0].t0_ns == max(batch.last_ns for batch in before) + 1_000_000
