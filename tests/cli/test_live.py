"""The live view fits a terminal of 80 by 24, shows every stage and zone, and counts by the second."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from streams.cli.live import View
from streams.demo import DemoStatus

BEFORE = DemoStatus(
    epoch=80,
    age_s=0.4,
    lag=12,
    events=1_000_000,
    derived=30_000,
    answers=4_000,
    examples=3_900,
    rejected=420,
    model=41,
    accuracy=0.7183,
    verdicts={"allow": 1_234_567, "deny": 8, "unconfigured": 420},
    zones={
        "bystander-present": 41_000,
        "device": 16,
        "home-private": 700_000,
        "public": 250_000,
        "voice-assistant": 9_000,
        **{f"zone-{i}": i for i in range(5)},
    },
)
NOW = replace(BEFORE, epoch=82, events=1_000_240, zones={**BEFORE.zones, "home-private": 700_220})


def rendered(view: View, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(view)
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


@pytest.fixture
def view() -> View:
    made = View("smoke")
    made.update(10.0, BEFORE)
    made.update(12.0, NOW)
    return made


@pytest.mark.parametrize("width", [80, 160])
def test_it_fits_and_cuts_nothing(view: View, width: int) -> None:
    lines = rendered(view, width)
    assert len(lines) <= 23
    assert max(map(len, lines)) <= width
    assert not [line for line in lines if "…" in line]
    text = "\n".join(lines)
    for shown in (
        "[zones]",
        "[processing]",
        "[assistant]",
        "[feedback]",
        "[training]",
        "home-private",
        "v41  71.8%",
        "lag 12 batches",
        "unconfigured 420",
        "published 0.4 s ago",
    ):
        assert shown in text


def test_rates_are_per_second(view: View) -> None:
    lines = rendered(view, 80)
    assert "120.0/s" in next(line for line in lines if "[zones]" in line)
    assert "110.0" in next(line for line in lines if "home-private" in line)


def test_before_the_first_epoch() -> None:
    empty = View("smoke")
    empty.update(3.0, None)
    assert rendered(empty, 80) == ["smoke  3 s  no epoch yet"]
    assert empty.line() == "   3 s  no epoch yet"


def test_one_line_without_a_terminal(view: View) -> None:
    assert "epoch 82" in view.line()
    assert "model 41" in view.line()
