"""What is due, against a count of single events in SQL and against the days that the policy's text names."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from streams.queries.due import day_on, due, due_keys
from streams.queries.role import Role
from streams.queries.store import Store

_SINGLE = (
    "SELECT strftime(due, '%Y-%m-%d') AS day, zone, count(*) FROM event_records "
    "WHERE due IS NOT NULL AND source <> 'training' GROUP BY ALL"
)


@pytest.mark.parametrize("role", [None, Role("privacy-officer"), Role("analyst"), Role("wearer", "w1")])
def test_every_event_is_due_on_the_day_that_its_own_row_says(home: Path, role: Role | None) -> None:
    with Store.open(home / "lineage-store", role) as opened:
        answer = due(opened)
        single = Counter({(day, zone): count for day, zone, count in opened.sql(_SINGLE).rows})
    told = Counter[tuple[str, str]]()
    for row in answer.events:
        told[row.on, row.zone] += row.events
    assert told == single
    assert told, "it says something"
    assert [row.on for row in answer.events] == sorted(row.on for row in answer.events)


def test_models_are_due_on_the_day_that_their_rows_name(home: Path) -> None:
    with Store.open(home / "lineage-store", Role("privacy-officer")) as opened:
        rows = opened.sql("SELECT version, retrain_by_ns FROM models ORDER BY version").rows
        answer = due(opened)
    assert {(row.model, row.on) for row in answer.models} == {
        (f"training/intent-model/{version}", day_on(by_ns // (86_400 * 10**9))) for version, by_ns in rows
    }


def test_days_are_counted_from_1970() -> None:
    assert day_on(0) == "1970-01-01"
    assert day_on(20_454) == "2026-01-01"
    [row] = due_keys([(20_454, 3)])
    assert (row.on, row.keys) == ("2026-01-01", 3)
