"""Runs that were put together mean what they meant one by one, event by event and at every retained epoch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streams import limits
from streams.events.runs import EdgeRun, Run, extends
from streams.lineage.retention import retained
from streams.snapshots.files import coalesce
from streams.snapshots.files.columnar import combinations
from streams.snapshots.files.segments import schema_of
from streams.snapshots.files.zones import Zones
from streams.snapshots.rows.poll import Numbers, numbers

HOUR_NS = 3_600_000_000_000
_EDGES = st.lists(
    st.tuples(
        st.integers(0, 30), st.integers(1, 3), st.integers(1, 4), st.integers(0, 30), st.integers(0, 3),
        st.integers(1, 2), st.integers(0, 2), st.integers(1, 3),
    ),
    max_size=14,
)  # fmt: skip


def edge_table(rows: Sequence[tuple[int, ...]]) -> pa.Table:
    names = ("child_first", "child_step", "child_count", "parent_first", "parent_step", "parent_width")
    columns: dict[str, list[Any]] = {name: [row[at] for row in rows] for at, name in enumerate(names)} | {
        "epoch": [row[7] for row in rows],
        "operator": [str(row[6]) for row in rows],
    }
    return pa.table(
        {
            name: pa.array(values, pa.string() if name == "operator" else pa.int64())
            for name, values in columns.items()
        }
    )


def meaning(rows: pa.Table) -> dict[int, list[tuple[int, int, str]]]:
    """Pairs of child and parent by epoch; of runs that say the same twice, twice."""
    found: dict[int, list[tuple[int, int, str]]] = defaultdict(list)
    for row in rows.to_pylist():
        run = EdgeRun(
            Run(row["child_first"], row["child_step"], row["child_count"]),
            row["parent_first"],
            row["parent_step"],
            row["parent_width"],
        )
        found[row["epoch"]] += [(child, parent, row["operator"]) for child, parent in run.pairs()]
    return found


@given(_EDGES, st.sets(st.integers(1, 3)))
@settings(max_examples=150, deadline=None)
def test_edges_mean_the_same_at_every_retained_epoch(rows: list[tuple[int, ...]], kept: set[int]) -> None:
    table = edge_table(rows)
    bucket = np.searchsorted(sorted(kept), numbers(table, "epoch"))
    key = np.array([row[6] for row in rows], np.int64) * 10 + bucket
    merged = coalesce.edges(table, key.astype(np.int64))
    before, after = meaning(table), meaning(merged)
    for epoch in sorted({*kept, 9}):
        said = [
            sorted(pair for at, pairs in some.items() if at <= epoch for pair in pairs)
            for some in (before, after)
        ]
        assert said[0] == said[1]
    assert len(merged) <= len(table)


def test_what_continues_becomes_one_run_and_stops_where_its_key_does(monkeypatch: pytest.MonkeyPatch) -> None:
    windows = [(100 * i, 1, 1, 50 * i, 1, 20, 0, 1) for i in range(1000)]
    table = edge_table(windows)
    merged = coalesce.edges(table, np.zeros(1000, np.int64))
    assert merged.to_pylist() == [
        {
            "child_first": 0, "child_step": 100, "child_count": 1000, "parent_first": 0, "parent_step": 50,
            "parent_width": 20, "epoch": 1, "operator": "0",
        }
    ]  # fmt: skip
    assert len(coalesce.edges(table, np.arange(1000) // 250)) == 4
    assert len(coalesce.edges(table, np.full(1000, coalesce.ALONE))) == 1000
    monkeypatch.setattr(coalesce, "RUN_CHILDREN_MAX", 100)
    bounded = coalesce.edges(table, np.zeros(1000, np.int64))
    assert numbers(bounded, "child_count").tolist() == [100] * 10
    runs = [EdgeRun(Run(row[0], row[1], row[2]), *row[3:6]) for row in windows]
    assert all(extends(one, other) for one, other in pairwise(runs))


#: (portion in which it is published, number, length, class)
_LATE = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 60), st.integers(1, 3), st.integers(0, 2)), max_size=16
)


def events_of(rows: Sequence[tuple[int, int, int, int]]) -> list[tuple[int, int, int, int]]:
    """Rows of which no two have a number in common."""
    taken: set[int] = set()
    found = []
    for portion, first, count, zone in rows:
        if not taken & set(range(first, first + count)):
            taken |= set(range(first, first + count))
            found.append((portion, first, count, zone))
    return found


def zone_table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist([{**_PLAIN, **row} for row in rows], schema_of("zone_runs"))


_PLAIN = {
    "source": "g1",
    "stream": "s",
    "revision": 0,
    "policy_version": "p",
    "label": "",
    "wearer": "",
    "consent": 0,
}


def published(rows: Sequence[tuple[int, int, int, int]]) -> list[pa.Table]:
    """Zone runs of each portion, as an epoch makes them."""
    found, highest = [], -1
    for portion in range(5):
        some = [row for row in rows if row[0] == portion]
        if not some:
            continue
        events = pa.table(
            {
                name: pa.array(values, schema_of("events").field(name).type)
                for name, values in {
                    **{name: [value] * len(some) for name, value in _PLAIN.items()},
                    "first": [row[1] for row in some],
                    "step": [1] * len(some),
                    "count": [row[2] for row in some],
                    "zone": [str(row[3]) for row in some],
                    "epoch": [portion] * len(some),
                }.items()
            }
        )
        found.append(coalesce.zones_of(events, {("g1", "s"): highest}))
        highest = max(highest, *(row[1] + row[2] - 1 for row in some))
    return found


def put_together(rows: pa.Table, others: Sequence[pa.Table], kept: Sequence[int]) -> pa.Table:
    both = pa.concat_tables([rows, *others])
    stays = np.arange(len(both)) >= len(rows)
    order = np.argsort(numbers(both, "low"), kind="stable")
    both = both.take(pa.array(order))
    bucket = np.searchsorted(kept, numbers(both, "epoch")).astype(np.int64)
    zone = combinations(both, ("zone",))[1]
    return coalesce.zone_runs(both, np.zeros(len(both), np.int64), zone, bucket, stays[order])


@given(_LATE, st.sets(st.integers(0, 4)), st.lists(st.integers(0, 9), max_size=5))
@settings(max_examples=200, deadline=None)
@example(rows=[(0, 0, 1, 0), (0, 2, 1, 0), (1, 1, 1, 1), (2, 3, 1, 1)], kept=set(), merges=[1, 0])
def test_zone_runs_never_lie_about_an_event(
    rows: list[tuple[int, int, int, int]], kept: set[int], merges: list[int]
) -> None:
    """However late events come and in whatever groups runs are put together."""
    rows = events_of(rows)
    parts = published(rows)
    for at in merges:
        if len(parts) > 1:
            one = at % (len(parts) - 1)
            rest = parts[:one] + parts[one + 2 :]
            parts = [
                *parts[:one],
                put_together(pa.concat_tables(parts[one : one + 2]), rest, sorted(kept)),
                *parts[one + 2 :],
            ]
    runs = [run for part in parts for run in part.to_pylist()]
    for portion, first, count, zone in rows:
        for number in range(first, first + count):
            over = [run for run in runs if run["low"] <= number <= run["high"]]
            assert any(run["zone"] == str(zone) for run in over)
            # Who reads as of a retained epoch finds the event's zone if the event was there.
            for epoch in kept:
                assert portion > epoch or any(
                    run["zone"] == str(zone) and run["epoch"] <= epoch for run in over
                )
    if parts and len(parts) == 1 and merges:
        for _, first, count, zone in rows:
            for number in range(first, first + count):
                assert {run["zone"] for run in runs if run["low"] <= number <= run["high"]} == {str(zone)}


def test_a_late_class_cuts_the_run_around_it() -> None:
    rows = [(0, 0, 1, 1), (0, 10, 1, 1), (1, 4, 2, 2)]
    parts = published(rows)
    assert [(run["low"], run["high"]) for run in parts[0].to_pylist()] == [(0, 10)]
    merged = put_together(pa.concat_tables(parts), [], [])
    assert [(run["low"], run["high"], run["zone"]) for run in merged.to_pylist()] == [
        (0, 3, "1"),
        (4, 5, "2"),
        (6, 10, "1"),
    ]


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 8), st.integers(0, 3)), max_size=12),
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 12)), min_size=1, max_size=8),
)
@settings(max_examples=150, deadline=None)
def test_an_interval_is_known_only_where_runs_cover_it_whole(
    runs: list[tuple[int, int, int]], asked: list[tuple[int, int]]
) -> None:
    audiences = [0b111, 0b101, 0b001, 0b000]
    table = zone_table(
        [{"low": low, "high": low + more, "zone": str(zone), "epoch": 1} for low, more, zone in sorted(runs)]
    )
    zone = np.array([int(name) for name in table.column("zone").to_pylist()], np.int64)
    zones = Zones(
        table.append_column("class", pa.array(zone)).append_column("own", pa.array(zone)), audiences
    )
    low = np.array([first for first, _ in asked], np.int64)
    high = low + np.array([more for _, more in asked], np.int64)
    seen = zones.over([("g1", "s", 0)], np.zeros(len(asked), np.int64), low, high)
    for at, (first, more) in enumerate(asked):
        wanted = set(range(first, first + more + 1))
        over = [run for run in sorted(runs) if run[0] <= first + more and run[0] + run[1] >= first]
        covered = {number for begin, length, _ in over for number in range(begin, begin + length + 1)}
        assert bool(seen.known[at]) == (wanted <= covered)
        may = 0b111 if over and seen.known[at] else 0
        for *_, one in over:
            may &= audiences[one]
        # What lies over one another may count as touched; that only shows less.
        assert int(seen.audience[at]) & ~may == 0
        assert {one for *_, one in over} <= zones.classes(seen.begin[at : at + 1], seen.end[at : at + 1])


@given(st.lists(st.integers(1, 3 * HOUR_NS), min_size=1, max_size=80), st.integers(1, 80))
@settings(max_examples=100, deadline=None)
def test_what_is_not_retained_never_is_again(steps: list[int], until: int) -> None:
    times: Numbers = np.cumsum(np.array(steps, np.int64))
    early = times[:until]
    dropped = ~retained(early)
    assert not (dropped & retained(times)[: len(early)]).any()
    for at, time_ns in enumerate(times.tolist()):
        age_ns = int(times[-1]) - time_ns
        last_of_hour = not any(other // HOUR_NS == time_ns // HOUR_NS for other in times[at + 1 :].tolist())
        last_of_day = not any(
            other // (24 * HOUR_NS) == time_ns // (24 * HOUR_NS) for other in times[at + 1 :].tolist()
        )
        expected = age_ns <= HOUR_NS or (last_of_hour and age_ns <= 24 * HOUR_NS) or last_of_day
        assert bool(retained(times)[at]) == expected


def test_limits_of_runs_fit_an_index() -> None:
    assert limits.RUN_CHILDREN_MAX + limits.EVENTS_PER_FETCH_MAX < 2**31
