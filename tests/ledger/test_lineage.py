"""Two stores are compared value by value: every column that is lineage counts, places and cuts do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from streams import limits
from streams.errors import UnavailableError
from streams.ledger import lineage
from streams.ledger.result import Comparison
from streams.lineage.tables import TABLES
from streams.topology import EXAMPLES, LINEAGE
from tests.snapshots import days
from tests.snapshots.build import POLICY, T0_NS, Row, batch, edge, event, record, row, store, stream, tagged

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
#: Zone of what is kept for a day.
NEAR = "bystander-present"


def compared(tmp_path: Path, live: Rows, replayed: Rows, *, candidates: bool = True) -> Comparison:
    stores = store(tmp_path / "live", live), store(tmp_path / "replay", replayed)
    return lineage.compare(*stores, candidates=candidates)


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


def merged(records: Sequence[Mapping[str, Sequence[Row]]]) -> dict[str, list[Row]]:
    every: dict[str, list[Row]] = {}
    for rows in records:
        for table, some in rows.items():
            every.setdefault(table, []).extend(some)
    return every


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that are replaced go at once."""
    monkeypatch.setattr(limits, "SUPERSEDED_GRACE_S", 0.0)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("seed", range(3))
def test_what_a_live_store_let_go_of_is_counted_and_nothing_else_is(tmp_path: Path, seed: int) -> None:
    """A replay has it again, as its store has no broker's time; the oracle counts days in plain Python."""
    world = days.World(seed)
    live = days.filled(tmp_path / "live", world.lineage())
    rows = merged([some for _, some in world.records])
    replayed = store(tmp_path / "replay", rows)
    result = lineage.compare(live, replayed)
    assert (result["equal"], result["differences"]) == (True, []), seed
    over = sum(
        one["count"]
        for day, some in world.records
        for one in some.get("events", ())
        if one["source"] != "training" and days.is_over(day, one["zone"], days.ON[-1])
    )
    assert result["events_expired"] == over > 0
    assert f"expired   {over:,} events are over" in lineage.lines(result)[1]
    lasting = next(one for one in reversed(rows["events"]) if one["zone"] == "public" and one["count"] > 1)
    gone = next(one for one in rows["events"] if one["kind"] == "example" and one["zone"] == NEAR)
    late = dict.fromkeys(("appended_ns", "t_ns"), lasting["appended_ns"])
    judged = {**rows["decisions"][-1], **late, "zone": "public", "label": lasting["label"]}
    more: dict[str, tuple[str, Row]] = {
        "events": ("in the replay and not", {**lasting, "first": 10_000, "count": 1}),
        "edges": ("more in the replay", edge(("g1", "activity", 9_000), ("g1", "imu-right", 9_000))),
        "decisions": ("more in the replay", {**judged, "first": 9_000, "count": 1, "sink": "x"}),
        "rejected": (
            "in the replay and not",
            {**rows["rejected"][-1], **late, "first": 9_000, "zone": "public"},
        ),
        "feedback": ("in the replay and not", row("feedback", source="g1", stream="feedback", first=7)),
    }
    for table, (says, one) in more.items():
        with_more = store(tmp_path / table, {**rows, table: [*rows.get(table, ()), one]})
        found = lineage.compare(live, with_more)
        assert [says in each for each in found["differences"]] == [True], (table, found["differences"])
        assert found["events_expired"] == over
    # What is not over and not there was not let go by retention.
    without = [one for one in rows["events"] if one is not lasting]
    found = lineage.compare(live, store(tmp_path / "fewer", {**rows, "events": without}))
    assert found["tables"]["events"]["differ"] == lasting["count"]
    assert "is in the store and not in the replay" in found["differences"][0]
    world.records = [
        (day, {**some, "events": [one for one in some.get("events", ()) if one is not lasting]})
        for day, some in world.records
    ]
    thin = days.filled(tmp_path / "thin", world.lineage())
    assert lineage.compare(thin, replayed)["tables"]["events"]["differ"] == lasting["count"]
    # An example that no recorded input names any more is no difference if it is over.
    names = {each: f"{gone['source']}/{each}/{gone['first']}" for each in ("example", "activity")}
    assert lineage.compare(live, replayed, unread=[*names.values()])["equal"]
    unread = lineage.compare(live, replayed, unread=[*names.values(), "g1/example/9000"])
    assert not unread["equal"]
    assert unread["differences"][0].startswith("inputs: 1 examples were made")
    assert unread["differences"][0].endswith("g1/example/9000")


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("cut", [True, False])
def test_where_a_run_of_decisions_was_cut_at_the_moment_is_no_difference(tmp_path: Path, cut: bool) -> None:
    """A run goes with its first event, and how many others are in it is chance."""
    over_ns, later_ns = T0_NS + 5_399 * 10**9, T0_NS + 5_460 * 10**9
    at = {first: over_ns if first < 40 else later_ns for first in range(0, 80, 20)}

    def rows(*runs: tuple[int, int]) -> dict[str, list[Row]]:
        tag = tagged(zone=NEAR)
        times = {
            first: dict.fromkeys(("appended_ns", "t_first_ns", "t_last_ns"), at_ns)
            for first, at_ns in at.items()
        }
        about = {name: tag[name] for name in ("zone", "label", "policy_version")}
        decided = {
            "source": "g1",
            "stream": "imu-right",
            "sink": "store",
            "verdict": "allow",
            "mode": "enforcing",
            **about,
            "at_ns": 0,
        }
        return {
            "policies": [POLICY],
            "streams": [stream("g1", "imu-right")],
            "events": [batch("g1", "imu-right", first, 20, **{**tag, **times[first]}) for first in at],
            "decisions": [
                row("decisions", **decided, first=first, count=count, appended_ns=at[first], t_ns=at[first])
                for first, count in runs
            ],
        }

    one, two = rows((0, 80)), rows((0, 40), (40, 40))
    told, again = (one, two) if cut else (two, one)
    records = [days.appended(record(0, told), 0), days.appended(record(1, {}), 1)]
    live = days.filled(tmp_path / "live", records)
    result = lineage.compare(live, store(tmp_path / "replay", again))
    assert (result["equal"], result["differences"]) == (True, [])
    assert (result["events_expired"], result["tables"]["events"]["compared"]) == (40, 40)
    with_more = {**again, "decisions": [*again["decisions"], {**again["decisions"][0], "first": 200}]}
    with_more["decisions"][-1] |= {"appended_ns": later_ns, "t_ns": later_ns, "count": 7}
    assert lineage.compare(live, store(tmp_path / "more", with_more))["tables"]["decisions"]["differ"] == 7
