"""Windows are the same whether the batches of a stretch are rolled together or one by one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from streams.events.batch import Batch
from streams.events.state import OpenWindow
from streams.policy.step import Stretch, Tagged
from streams.processing.fixation import GAZE, LAG_SAMPLES, breaks
from streams.processing.windows import ClosedWindow, Ended, Samples, roll
from tests import build

STREAM = ("g1", "gaze")
LENGTH = 20


def gaze(count: int, seed: int) -> Samples:
    """Eyes that drift about as fast as the threshold at 200 Hz, and jump, with blinks between."""
    random, looks = Random(seed), np.zeros(count, GAZE)
    yaw = 0.0
    for at in range(count):
        yaw += random.uniform(-1, 1) if random.random() < 0.05 else random.uniform(-0.012, 0.012)
        looks[at] = (at * 5_000_000, yaw, 0.0, random.random() < 0.95)
    return looks


def rolled(
    batches: Sequence[Batch],
    looks: Samples,
    *,
    together: bool,
    length: int | None,
    ended: Sequence[Ended],
    breaking: bool,
) -> tuple[list[tuple[object, ...]], OpenWindow | None]:
    """What closes, and what stays open."""
    tag = build.policy().tag_of("gaze", "gaze", build.context())
    groups = [list(batches)] if together else [[made] for made in batches]
    pieces, at = [], 0
    for group in groups:
        count = sum(made.run.count for made in group)
        first = Tagged(group[0], tag.zone, tag.label, tag.rule)
        pieces.append((Stretch(first, batches=group), looks[at : at + count]))
        at += count
    closed, left = roll(STREAM, None, pieces, GAZE, length, ended, breaks if breaking else None)
    return [_shown(window) for window in closed], left


def _shown(window: ClosedWindow) -> tuple[object, ...]:
    return window.window, window.position, window.samples.tobytes()


@pytest.mark.parametrize(
    ("length", "end", "breaking"),
    [
        (LENGTH, False, True),
        (LENGTH, True, True),
        (LENGTH, False, False),
        (LENGTH, True, False),
        (None, False, False),
    ],
)
@settings(max_examples=30)
@given(st.lists(st.integers(1, 13), min_size=1, max_size=20), st.integers(0, 1000), st.integers(0, 60))
def test_windows_do_not_depend_on_how_batches_are_put_together(
    length: int | None, end: bool, breaking: bool, sizes: list[int], seed: int, first: int
) -> None:
    batches, looks = [], gaze(sum(sizes), seed)
    for position, count in enumerate(sizes):
        made = build.batch("gaze", "gaze", first, count, t0_ns=build.T0_NS + first * 5_000_000)
        batches.append(replace(made, position=2 * position, appended_ns=made.t0_ns))
        first += count
    ended: list[Ended] = [(2 * (len(sizes) // 2) - 1, "s1", 0)] if end else []
    at_once, one_by_one = (
        rolled(batches, looks, together=together, length=length, ended=ended, breaking=breaking)
        for together in (True, False)
    )
    assert at_once == one_by_one


@given(st.integers(0, 10_000), st.integers(0, 4), st.integers(1, 80))
def test_runs_begin_where_the_eyes_move_fast_or_are_not_seen(seed: int, known: int, count: int) -> None:
    looks = gaze(known + count, seed)
    rows, begins, start = looks.tolist(), list[int](), 0
    for at in range(max(known, 1), len(rows)):
        (t_ns, yaw, _, seen), (_, _, _, seen_before) = rows[at], rows[at - 1]
        then_ns, from_yaw, _, from_seen = rows[max(at - LAG_SAMPLES, start)]
        moved = abs((yaw if seen else 0.0) - (from_yaw if from_seen else 0.0))
        fast = moved >= math.radians(100.0) * ((t_ns if seen else 0) - (then_ns if from_seen else 0)) / 1e9
        if not (seen and seen_before) or (fast and moved > 0):
            begins.append(at - known)
            start = at
    assert breaks(looks[:known], looks[known:]) == begins
