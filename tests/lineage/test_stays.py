"""When somebody was at a place, against an oracle that looks at every moment."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from streams.consent.erased import ErasedPlace, ErasedTime
from streams.lineage.stays import looks, stays, stays_at
from streams.policy.attributes import Attributes
from streams.snapshots.files.segments import schema_of
from tests.snapshots.build import T0_NS, batch, row, tagged

_END = 30
LOOKS = st.lists(
    st.tuples(st.integers(0, _END), st.integers(0, 6), st.booleans()).map(
        lambda look: (look[0], look[0] + look[1], look[2])
    ),
    max_size=12,
)


def _oracle(seen: list[tuple[int, int, bool]]) -> set[int]:
    """Moments (doubled, so that there is one between two) of a stay: seen there, or between such moments.

    Between two is of the stay if nothing in between saw her elsewhere.
    """
    moments = range(-1, 2 * (_END + 8))
    there, away = (
        {at for at in moments for low, high, here in seen if here == wanted and 2 * low <= at <= 2 * high}
        for wanted in (True, False)
    )
    within = set(there)
    for at in moments:
        before = max((other for other in there if other < at), default=None)
        after = min((other for other in there if other > at), default=None)
        if at not in there and before is not None and after is not None:
            within |= {at} if away.isdisjoint(range(before + 1, after)) else set()
    return within


@given(LOOKS)
def test_a_stay_goes_on_until_something_says_that_she_was_elsewhere(
    seen: list[tuple[int, int, bool]],
) -> None:
    low, high = (np.array([look[side] for look in seen], np.int64) for side in (0, 1))
    found = stays(low, high, np.array([look[2] for look in seen], bool))
    assert {at for begin, end in found for at in range(2 * begin, 2 * end + 1)} == _oracle(seen)
    assert found == sorted(found)
    assert all(end < begin for (_, end), (begin, _) in pairwise(found))


@given(LOOKS, st.integers(0, _END), st.integers(0, _END))
def test_a_stay_is_cut_to_the_time_that_is_asked_for(
    seen: list[tuple[int, int, bool]], since: int, more: int
) -> None:
    said = pa.table(
        {
            "place": pa.array(["home" if look[2] else "street" for look in seen], pa.string()),
            "low": pa.array([look[0] for look in seen], pa.int64()),
            "high": pa.array([look[1] for look in seen], pa.int64()),
        }
    )
    times = stays_at(said, ErasedPlace("home", ErasedTime(since, since + more)))
    inside = {at for begin, end in times for at in range(2 * begin, 2 * end + 1)}
    assert inside == _oracle(seen) & {*range(2 * since, 2 * (since + more) + 1)}


def _said(place: str, *, kind: str = "imu") -> str:
    return Attributes(kind, "imu-right", place, "nobody", False, False, True, True).text()


def _decision(first: int, count: int, t: int, place: str, **other: Any) -> dict[str, Any]:
    run: dict[str, Any] = {"source": "d", "stream": "imu-right", "first": first, "count": count}
    times = {"t_ns": T0_NS + t, "appended_ns": T0_NS + t + 500, "at_ns": 0}
    of = {"sink": "glasses.zoned", "wearer": "her", "attributes": _said(place), "passed": True}
    zone = {name: tagged()[name] for name in ("zone", "label", "policy_version")}
    return row("decisions", **{**run, **times, **of, **zone, **other})


def _event(first: int, count: int, low: int, high: int, **other: Any) -> dict[str, Any]:
    times = {"t_first_ns": T0_NS + low, "t_last_ns": T0_NS + high, "appended_ns": T0_NS + high + 500}
    of = {**batch("d", "imu-right", first, count, **tagged()), **times, "wearer": "her"}
    return {**of, **other}


def _seen(events: list[dict[str, Any]], decisions: list[dict[str, Any]], wearer: str) -> set[tuple[Any, ...]]:
    rows = {"events": events, "decisions": decisions}
    with duckdb.connect() as connection:
        for table, some in rows.items():
            content = pa.Table.from_pylist([{**each, "epoch": 1} for each in some], schema_of(table))
            connection.register(f"given_{table}", content)
        said = looks(connection, {table: f"given_{table}" for table, some in rows.items() if some}, wearer)
    columns = (said.column(name).to_pylist() for name in ("place", "low", "high"))
    return {(place, low - T0_NS, high - T0_NS) for place, low, high in zip(*columns, strict=True)}


def test_each_batch_was_where_its_decision_says_and_no_other_row_says_anything() -> None:
    events = [
        _event(0, 20, 0, 190),
        _event(20, 20, 200, 390),
        _event(40, 20, 400, 590),
        # Of another wearer, of another device, and one that no decision is about.
        _event(60, 20, 600, 790, wearer="other"),
        _event(0, 20, 0, 190, source="e"),
        _event(900, 20, 5000, 5190),
        # The device's clock is ahead: it was captured when it arrived, at the latest.
        _event(80, 20, 800, 9_000_000, appended_ns=T0_NS + 1000),
    ]
    decisions = [
        _decision(0, 40, 0, "home"),
        _decision(40, 20, 400, "street"),
        _decision(80, 20, 800, "home"),
        _decision(60, 20, 600, "cafe", wearer="other"),
        _decision(40, 20, 400, "clinic", sink="store"),
        # What was refused has no event; it was there all the same.
        _decision(100, 20, 1100, "work", passed=False, verdict="deny"),
        _decision(0, 1, 0, "home", stream="activity", attributes=""),
    ]
    assert _seen(events, decisions, "her") == {
        ("home", 0, 190),
        ("home", 200, 390),
        ("street", 400, 590),
        ("home", 800, 1000),
        ("work", 1100, 1100),
    }
    assert _seen(events, decisions, "other") == {("cafe", 600, 790)}
    assert _seen(events, [], "her") == set()
    assert _seen([], decisions, "her") == {("work", 1100, 1100)}
