"""Runs are compared event by event: cuts are no difference, one event is; counts are as one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.ledger import spans
from streams.ledger.spans import Spans, differences

#: key, first, step, count, parent, parent_step, width
Row = tuple[int, int, int, int, int, int, int]


def made(rows: Sequence[Row]) -> Spans:
    columns = np.array(rows, np.int64).reshape(-1, 7).T
    return Spans(columns[0].astype(np.uint64), *columns[1:])


def pairs(rows: Sequence[Row]) -> Counter[tuple[int, int, int]]:
    """Every (key, child, parent), as often as the rows mean it."""
    return Counter(
        (key, first + i * step, parent + i * parent_step + w)
        for key, first, step, count, parent, parent_step, width in rows
        for i in range(count)
        for w in range(width)
    )


def cut(row: Row, at: int) -> list[Row]:
    """The same run in two pieces; a piece of one has steps of its own."""
    key, first, step, count, parent, parent_step, width = row
    at = at % count
    halves = [
        (key, first, step, at, parent, parent_step, width),
        (key, first + at * step, step, count - at, parent + at * parent_step, parent_step, width),
    ]
    return [(*half[:2], 1, 1, half[4], 0, width) if half[3] == 1 else half for half in halves if half[3]]


run_rows = st.tuples(
    st.integers(1, 2),
    st.integers(0, 30),
    st.integers(1, 5),
    st.integers(1, 6),
    st.integers(0, 40),
    st.integers(0, 6),
    st.integers(1, 5),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(run_rows, max_size=5), st.lists(run_rows, max_size=5), st.sampled_from([1, 7, 1_000_000]))
def test_differences_are_those_of_counting(a: list[Row], b: list[Row], bound: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spans, "EXPANDED_MAX", bound)
        patch.setattr(spans, "RUNS_MAX", bound)
        total, named = differences(made(a), made(b), 1000)
    left, right = pairs(a), pairs(b)
    expected = {pair: left[pair] - right[pair] for pair in left | right if left[pair] != right[pair]}
    assert {
        (one.key, one.child, parent): one.surplus for one in named for parent in range(one.low, one.high)
    } == expected
    assert total == sum(map(abs, expected.values()))


@settings(max_examples=200, deadline=None)
@given(st.lists(run_rows, min_size=1, max_size=6), st.data())
def test_where_a_run_was_cut_is_no_difference(rows: list[Row], data: st.DataObject) -> None:
    pieces = [
        piece
        for row in rows
        for half in cut(row, data.draw(st.integers(0, 5)))
        for piece in cut(half, data.draw(st.integers(0, 5)))
    ]
    shuffled = data.draw(st.permutations(pieces))
    assert differences(made(rows), made(shuffled), 5) == (0, [])


@pytest.mark.parametrize(
    ("other", "count"),
    [
        ((1, 0, 50, 4, 0, 50, 49), 4),
        ((1, 0, 50, 3, 0, 50, 50), 50),
        ((2, 0, 50, 4, 0, 50, 50), 400),
        ((1, 0, 50, 4, 1, 50, 50), 8),
    ],
)
def test_one_number_of_a_run_is_a_difference(other: Row, count: int) -> None:
    total, named = differences(made([(1, 0, 50, 4, 0, 50, 50)]), made([other]), 5)
    assert total == count
    assert named


def test_numbers_near_the_end_of_their_range_are_told_apart() -> None:
    high = 2**62 - 2**31
    row: Row = (1, high, 2**20, 4, high, 2**20, 3)
    assert differences(made([row]), made(cut(row, 2)), 5) == (0, [])
    assert differences(made([row]), made([(*row[:4], high + 1, *row[5:])]), 5)[0] == 8
