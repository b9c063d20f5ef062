"""What is due, against a count of single events in SQL and against the days that the policy's text names."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner

from streams.cli.main import main
from streams.queries.due import day_on, due, due_keys
from streams.queries.role import Role
from streams.queries.store import Store
from tests.snapshots.build import HOUSEHOLD, batch, row
from tests.snapshots.test_forged import TEXTS, merged, old_store

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
    for each in answer.events:
        told[each.on, each.zone] += each.events
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


def test_what_has_no_known_end_is_told_to_the_officer(tmp_path: Path) -> None:
    """Retention never takes it out: nobody says for how long it may be kept."""
    unread = row("rejected", source="z", stream="bp", stage="zones", rule="malformed", wearer="")
    badly = batch("z", "odd", 0, 3, label="ff" * 16)
    rows = merged({"bad": TEXTS["badpolicy"], "more": {"events": [badly], "rejected": [unread]}})
    path = old_store(tmp_path / "bad", rows)
    with Store.open(path, Role.of("privacy-officer")) as store:
        told = [(each.policy, each.rows, each.events) for each in due(store).endless]
    assert told == [("", 1, 0), (HOUSEHOLD.version, 1, 3), ("feed" * 4, 1, 1)]
    with Store.open(path, Role.of("analyst")) as store:
        assert not len(due(store).endless)
    asked = ["rights", "due", "--store", str(path), "--role", "privacy-officer"]
    said = CliRunner().invoke(main, asked).stdout
    assert f"{'feed' * 4}     1       1" in said
    for words in ("endless: the store has no text of these policies", "endless without a policy"):
        assert words in said
    with Store.open(old_store(tmp_path / "good", {}), Role.of("privacy-officer")) as store:
        assert not len(due(store).endless)
