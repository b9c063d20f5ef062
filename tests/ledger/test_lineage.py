"""Two stores are compared value by value: every column that is lineage counts, places and cuts do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from streams.errors import UnavailableError
from streams.ledger import lineage
from streams.ledger.result import Comparison
from streams.lineage.tables import TABLES
from streams.topology import EXAMPLES, LINEAGE
from tests.snapshots.build import Row, edge, event, row, store

#: Column that carries the name of a row in these tests.
NAMED_BY = {
    "streams": "stream",
    "events": "stream",
    "edges": "child_stream",
    "decisions": "stream",
    "rejected": "stream",
    "models": "stream",
    "training_runs": "version",
    "promotions": "version",
    "training_checks": "subject",
    "training_assets": "name",
    "feedback": "stream",
    "inputs": "agent",
    "policies": "version",
}
#: Where something lay, or in which fetch it came, is chance.
PLACES = {"events": {"topic", "partition", "offset"}, "rejected": {"partition", "offset"}}
Rows = Mapping[str, Sequence[Row]]


def compared(tmp_path: Path, live: Rows, replayed: Rows, **how: bool) -> Comparison:
    return lineage.compare(store(tmp_path / "live", live), store(tmp_path / "replay", replayed), **how)


def one_row_a_column(table: str) -> list[Row]:
    """A row for each column, named after it."""
    by = NAMED_BY[table]
    number = TABLES[table][by] == "int"
    return [
        row(
            table,
            **(
                {by: 100 + i if number else f"of-{name}", "kind": "k"}
                if "kind" in TABLES[table]
                else {by: 100 + i if number else f"of-{name}"}
            ),
        )
        for i, name in enumerate(TABLES[table])
    ]


def changed(value: Any) -> Any:
    return (
        not value
        if isinstance(value, bool)
        else value + 1
        if isinstance(value, int | float)
        else f"{value}-other"
    )


def test_every_value_of_every_table_counts_but_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lineage, "NAMED_MAX", 1000)
    live, replayed = ({table: one_row_a_column(table) for table in lineage.COMPARED} for _ in range(2))
    for table, rows in replayed.items():
        for one, name in zip(rows, TABLES[table], strict=True):
            one[name] = changed(one[name])
    result = compared(tmp_path, live, replayed)
    assert not result["equal"]
    for table, rows in live.items():
        assert result["tables"][table]["differ"]
        said = [sentence for sentence in result["differences"] if sentence.startswith(f"{table}: ")]
        for one, name in zip(rows, TABLES[table], strict=True):
            mine = [sentence for sentence in said if str(one[NAMED_BY[table]]) in sentence]
            place = name in PLACES.get(table, ()) or (
                table in ("edges", "decisions") and name.endswith("step")
            )
            assert bool(mine) is not place, (
                f"{table}.{name} must be compared unless it is a place, or the step of a run of one"
            )


def test_every_table_of_lineage_is_compared() -> None:
    # What another policy would have decided changed nothing, and a replay does not ask it.
    assert set(lineage.COMPARED) == set(TABLES) - {"shadow"}


def test_a_row_that_only_one_side_has_is_a_difference(tmp_path: Path) -> None:
    two = {table: one_row_a_column(table)[:2] for table in lineage.COMPARED}
    one = {table: rows[:1] for table, rows in two.items()}
    stores = {
        name: store(tmp_path / name, rows)
        for name, rows in (
            ("two", two),
            ("one", one),
            ("twice", {table: [*rows, rows[0]] for table, rows in two.items()}),
        )
    }
    for live, replayed in (("two", "one"), ("one", "two"), ("two", "twice"), ("twice", "two")):
        result = lineage.compare(stores[live], stores[replayed])
        differ = {table: found["differ"] for table, found in result["tables"].items()}
        if "twice" in (live, replayed):
            # The store itself keeps one row of a stream and of a policy.
            assert {table for table, count in differ.items() if not count} == {"streams", "policies"}
        else:
            assert set(differ.values()) == {1}
            assert len(result["differences"]) == len(lineage.COMPARED)


def test_where_runs_were_cut_and_what_lay_where_is_no_difference(tmp_path: Path) -> None:
    child, parent = ("g1", "activity", 0), ("g1", "imu", 0)
    decision: Row = {"source": "g1", "stream": "imu", "sink": "glasses.zoned", "t_ns": 7}
    live: Rows = {
        "edges": [edge(child, parent, child_step=50, child_count=4, parent_step=50, parent_width=50)],
        "decisions": [row("decisions", **decision, first=0, count=60)],
        "events": [event("g1", "imu", 0, 20, offset=4), event("g1", "imu", 20, 20)],
    }
    replayed: Rows = {
        "edges": [
            edge(("g1", "activity", 150), ("g1", "imu", 150), parent_width=50),
            edge(child, parent, child_step=50, child_count=3, parent_step=50, parent_width=50),
        ],
        "decisions": [
            row("decisions", **decision, first=0, count=20),
            row("decisions", **{**decision, "t_ns": 9}, first=20, count=40),
        ],
        "events": [event("g1", "imu", 20, 20, offset=1), event("g1", "imu", 0, 20)],
    }
    result = compared(tmp_path, live, replayed)
    assert result["equal"], result["differences"]
    assert {name: found["compared"] for name, found in result["tables"].items() if found["compared"]} == {
        "events": 40,
        "edges": 200,
        "decisions": 60,
    }
    assert lineage.lines(result)[0].startswith(
        "lineage   events 0 differ of 40, edges 0 differ of 200, decisions 0 differ of 60"
    )
    assert lineage.lines(result)[0].endswith("; equal")


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        (
            "events",
            (
                "events: g1/imu/0 differs in label (aa in the store, bb in the replay), digest (12 in the"
                " store, 34 in the replay)"
            ),
        ),
        ("edges", "edges: g1/activity/50 from g1/imu/99 by window 1, direct: 1 more in the store"),
        (
            "decisions",
            (
                "decisions: deny of g1/imu/19 to glasses.zoned (purpose , passed True, mode , zone , label ,"
                " rule r, policy_version , attributes , consent 0, consent_state , wearer , at_ns 0): 1 more"
                " in the store"
            ),
        ),
    ],
)
def test_a_difference_is_named(tmp_path: Path, table: str, sentence: str) -> None:
    def rows(*, live: bool) -> Rows:
        return {
            "events": [
                event("g1", "imu", 0, 20, label="aa" if live else "bb", digest="12" if live else "34")
            ],
            "edges": [
                edge(("g1", "activity", 0), ("g1", "imu", 0), parent_width=50),
                edge(("g1", "activity", 50), ("g1", "imu", 50), parent_width=50 if live else 49),
            ],
            "decisions": [
                row(
                    "decisions",
                    source="g1",
                    stream="imu",
                    count=20 if live else 19,
                    sink="glasses.zoned",
                    verdict="deny",
                    rule="r",
                    at_ns=0,
                )
            ],
        }

    result = compared(tmp_path, rows(live=True), {**rows(live=True), table: rows(live=False)[table]})
    assert result["differences"] == [sentence]
    assert result["tables"][table]["differ"] == (20 if table == "events" else 1)


def test_what_no_batch_of_a_device_caused_is_left_out(tmp_path: Path) -> None:
    litter = [row("rejected", topic=LINEAGE, rule="malformed", stage="snapshots")]
    candidate = [row("rejected", topic=EXAMPLES, rule="malformed", stage="training")]
    assert compared(tmp_path / "a", {"rejected": litter}, {})["equal"]
    assert not compared(tmp_path / "b", {"rejected": candidate}, {})["equal"]
    assert compared(tmp_path / "c", {"rejected": candidate}, {}, candidates=False)["equal"]


def test_at_most_five_are_named_and_all_are_counted(tmp_path: Path) -> None:
    result = compared(tmp_path, {"events": [event("g1", "imu", i * 20, 20) for i in range(9)]}, {})
    assert result["tables"]["events"] == {"compared": 180, "differ": 180}
    assert len(result["differences"]) == 5


def test_without_an_epoch_it_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="no epoch"):
        lineage.compare(store(tmp_path / "live", {}), tmp_path)
