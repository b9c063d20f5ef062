"""What no agent can have written does not become lineage, and what agents wrote beside it does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from streams import limits
from streams.errors import InputError
from streams.events.record import StoredRecord
from streams.lineage.tables import RECORD_VERSION, TABLES, WRITTEN_BY
from streams.queries import questions
from streams.queries.answers import WhyStored
from streams.queries.creep import creep
from streams.queries.loop import loop
from streams.queries.missing import missing
from streams.queries.role import Role
from streams.queries.store import Store
from streams.snapshots.epochs.hot import Hot
from streams.snapshots.intake.decode import arrow_of
from streams.snapshots.writer import Writer
from tests.snapshots.build import (
    HOUSEHOLD,
    POLICY,
    T0_NS,
    Row,
    batch,
    derived,
    edge,
    record,
    row,
    stream,
    tagged,
)

Rows = Mapping[str, Sequence[Row]]
HONEST: Rows = {
    "policies": [POLICY],
    "streams": [
        stream("good", "imu-right"),
        stream("good", "activity", "activity", captured=False),
        stream("mal", "imu-right"),
    ],
    "events": [
        batch("good", "imu-right", 0, 20),
        batch("mal", "imu-right", 0, 20),
        derived("good", "activity", 0),
    ],
    "edges": [edge(("good", "activity", 0), ("good", "imu-right", 0), parent_width=20, operator="activity")],
}
LATER: Rows = {"events": [batch("good", "imu-right", 20, 20, wearer="w2")]}
_EDGE = {"operator": "activity", "parent_width": 20}
EVIL = HOUSEHOLD.text.replace('subjects = ["wearer"]', 'subjects = ["wearer", "bystander", "minor"]')
FORGED: Mapping[str, tuple[str, Rows]] = {
    "double": ("duplicate", {"events": [batch("good", "imu-right", 0, 20, digest="f" * 32)]}),
    "double-inside": ("duplicate", {"events": [batch("good", "imu-right", 7, 3)]}),
    "double-edge": (
        "duplicate",
        {"edges": [edge(("good", "activity", 0), ("good", "imu-right", 0), **_EDGE)]},
    ),
    "false-parent": ("forged", {"edges": [edge(("good", "activity", 0), ("mal", "imu-right", 0), **_EDGE)]}),
    "parent-to-come": (
        "forged",
        {
            "events": [derived("good", "activity", 100)],
            "edges": [edge(("good", "activity", 100), ("good", "imu-right", 999), operator="activity")],
        },
    ),
    "no-child": ("duplicate", {"edges": [edge(("good", "activity", 9), ("good", "imu-right", 0), **_EDGE)]}),
    "step0": ("malformed", {"events": [batch("z", "s0", 0, step=0)]}),
    "huge": ("malformed", {"events": [batch("z", "big", 0, 2**60)]}),
    "large": ("malformed", {"events": [batch("z", "big", 0, limits.EVENTS_PER_BATCH_MAX + 1)]}),
    "huge-edge": (
        "malformed",
        {"edges": [edge(("good", "activity", 0), ("good", "imu-right", 0), child_count=2**60, **_EDGE)]},
    ),
    "wide-edge": (
        "limits",
        {
            "edges": [
                edge(
                    ("good", "activity", 0),
                    ("good", "imu-right", 0),
                    operator="activity",
                    child_count=100,
                    parent_width=2**20,
                )
            ]
        },
    ),
    "many-children": (
        "limits",
        {"edges": [edge(("good", "activity", 0), ("good", "imu-right", 0), child_count=2**19, **_EDGE)]},
    ),
    "overflow": ("malformed", {"decisions": [row("decisions", first=2**62, step=2**62, count=5)]}),
    "badlabel": ("malformed", {"events": [batch("z", "bl", 0, label="zz")]}),
    "label-of-no-word": ("forged", {"events": [batch("z", "bl", 0, label="f" * 32)]}),
    "no-zone": ("forged", {"events": [batch("z", "bl", 0, zone="nowhere")]}),
    "badtime": ("malformed", {"events": [batch("z", "bt", 0, t_first_ns=-(2**63), t_last_ns=2**63 - 1)]}),
    "backwards": ("malformed", {"events": [batch("z", "bt", 0, t_first_ns=T0_NS, t_last_ns=T0_NS - 1)]}),
    "nothing": ("malformed", {"events": [batch("z", "bt", 0, zone=None)]}),
    "badpolicy": ("forged", {"policies": [{**POLICY, "version": "feed" * 4, "text": "not a policy [[["}]}),
    "openpolicy": ("forged", {"policies": [{**POLICY, "text": EVIL}]}),
    "unknown-policy": ("forged", {"events": [batch("z", "bp", 0, policy_version="feed" * 4)]}),
    "a-model": (
        "forged",
        {"events": [batch("training", "intent-model", 9, kind="model", topic="glasses.models")]},
    ),
    "a-corrected-capture": ("forged", {"events": [batch("z", "cc", 0, revision=1)]}),
    "no-revision": ("malformed", {"events": [derived("good", "activity", 200, revision=10**6)]}),
    "other-partition": ("forged", {"events": [batch("z", "op", 0, partition=1)]}),
    "trainings-table": ("forged", {"training_runs": [row("training_runs")]}),
    "promotions-table": ("forged", {"promotions": [row("promotions", outcome="declined")]}),
    "a-writers-word": ("malformed", {"rejected": [row("rejected", stage="snapshots")]}),
    "another-kind": ("duplicate", {"streams": [stream("good", "imu-right", "gaze")]}),
    "a-kind-of-no-name": ("forged", {"streams": [stream("good", "imu-left", "answer", captured=False)]}),
}


def filled(writer: Path, *polls: Sequence[StoredRecord]) -> None:
    opened = Writer.open(writer)
    try:
        for some in polls:
            opened.ingest({0: some}, {0: some[-1].offset + 1}, T0_NS)
            opened.publish(T0_NS)
    finally:
        opened.close()


def held(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    with Store.open(path) as store:
        return {
            table: store.sql(f"SELECT * EXCLUDE (epoch) FROM files.{table} ORDER BY ALL").rows
            for table in TABLES
            if table != "rejected"
        }


def refused(path: Path) -> list[tuple[str, str, str, int]]:
    with Store.open(path) as store:
        return store.sql(
            "SELECT rule, outcome, reason, \"offset\" FROM rejected WHERE stage = 'snapshots' ORDER BY ALL"
        ).rows


@pytest.fixture(scope="module", params=[True, False], ids=["one-poll", "a-poll-each"])
def forged(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that was offered honest records and, between them, one record of each case."""
    path = tmp_path_factory.mktemp("forged")
    some = [
        record(0, HONEST),
        *(record(offset, rows) for offset, (_, rows) in enumerate(FORGED.values(), 1)),
        record(len(FORGED) + 1, LATER),
    ]
    filled(path, *([some] if request.param else [[one] for one in some]))
    return path


@pytest.mark.parametrize("case", FORGED)
def test_what_is_forged_is_a_row_of_rejected(forged: Path, case: str) -> None:
    found = [
        (rule, outcome, reason)
        for rule, outcome, reason, offset in refused(forged)
        if offset == [*FORGED].index(case) + 1
    ]
    rule = FORGED[case][0]
    assert [one[:2] for one in found] == [(rule, rule if rule == "malformed" else "refused")]
    for value in ("good", "mal", "nowhere", "not a policy", "feed"):
        assert value not in found[0][2]


def test_nothing_forged_is_lineage_and_the_honest_rows_are_all_there(forged: Path, tmp_path: Path) -> None:
    later = {"events": [*LATER["events"], *FORGED["parent-to-come"][1]["events"]]}
    filled(tmp_path, [record(0, HONEST), record(1, later)])
    assert held(forged) == held(tmp_path)


@pytest.mark.parametrize("key", [b"g1", b"glasses/1", b"training/1", b"training/0", b"", b"glasses/-0", None])
def test_a_record_is_on_the_partition_of_its_agent(tmp_path: Path, key: bytes | None) -> None:
    forged = StoredRecord(1, 0, key, record(1, LATER).value)
    filled(tmp_path, [record(0, HONEST), forged, record(2, LATER)])
    assert [(rule, offset) for rule, _, _, offset in refused(tmp_path)] == [("forged", 1)]
    assert len(held(tmp_path)["events"]) == 4


def test_the_one_who_came_first_stays_whatever_the_poll(tmp_path: Path) -> None:
    """A device on two partitions brings the same numbers by two honest records."""
    first = record(0, HONEST)
    again = record(
        0,
        {
            "policies": [POLICY],
            "events": [
                batch("good", "imu-right", 10, 20, partition=1),
                batch("far", "imu-right", 0, 20, partition=1),
            ],
        },
        b"glasses/1",
    )
    writer = Writer.open(tmp_path)
    writer.ingest({0: [first], 1: [again]}, {0: 1, 1: 1}, T0_NS)
    writer.publish(T0_NS)
    writer.close()
    with Store.open(tmp_path) as store:
        assert store.sql("SELECT source, \"first\" FROM events WHERE kind = 'imu' ORDER BY ALL").rows == [
            ("far", 0),
            ("good", 0),
            ("mal", 0),
        ]
    assert [rule for rule, *_ in refused(tmp_path)] == ["duplicate"]


@pytest.mark.parametrize("published", [True, False])
def test_edges_may_come_after_the_events_of_their_fetch(tmp_path: Path, published: bool) -> None:
    """A fetch of many rows is several records, and a poll can end between two of them."""
    writer = Writer.open(tmp_path)
    events = {name: some for name, some in HONEST.items() if name != "edges"}
    for offset, rows in enumerate((events, {"edges": HONEST["edges"]}, {"edges": HONEST["edges"]})):
        writer.ingest({0: [record(offset, rows)]}, {0: offset + 1}, T0_NS)
        if published:
            writer.publish(T0_NS)
    writer.publish(T0_NS)
    writer.close()
    assert len(held(tmp_path)["edges"]) == 1
    assert [(rule, offset) for rule, _, _, offset in refused(tmp_path)] == [("duplicate", 2)]


def test_numbers_that_come_late_are_taken(tmp_path: Path) -> None:
    parts = [HONEST, *({"events": [batch("good", "imu-left", first, 10)]} for first in (40, 0, 20, 30, 10))]
    filled(tmp_path, *([record(offset, rows)] for offset, rows in enumerate(parts)))
    assert refused(tmp_path) == []
    with Store.open(tmp_path) as store:
        assert store.sql("SELECT sum(\"count\") FROM events WHERE stream = 'imu-left'").rows == [(50,)]


_ODD = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from([0, 1, 2**30, 2**62, 2**62 + 1, 2**63 - 1, -1]),
    st.booleans(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["", "good", "training", "glasses.captured", "f" * 32, HOUSEHOLD.version, "health"]),
)


def _row(table: str, changes: Mapping[str, Any]) -> Row:
    base: dict[str, Row] = {
        "events": batch("good", "imu-right", 40),
        "edges": edge(("good", "activity", 0), ("good", "imu-right", 0), operator="activity"),
        "streams": stream("good", "gaze", "gaze"),
        "policies": POLICY,
    }
    return {**base.get(table, row(table, **tagged_of(table))), **changes}


def tagged_of(table: str) -> dict[str, Any]:
    said = tagged()
    return {name: value for name, value in said.items() if name in TABLES[table]}


def _forged(offset: int, table: str, changes: Mapping[str, Any]) -> StoredRecord:
    columns = {name: [value] for name, value in _row(table, changes).items()}
    value = orjson.dumps({"v": RECORD_VERSION, "tables": {table: [{"all": {}, "each": columns}]}})
    return StoredRecord(offset, 0, b"glasses/0" if "glasses" in WRITTEN_BY[table] else b"training/0", value)


_CHANGES = st.one_of(
    *(
        st.tuples(st.just(table), st.dictionaries(st.sampled_from(list(columns)), _ODD, max_size=3))
        for table, columns in TABLES.items()
    )
)


@settings(max_examples=5, suppress_health_check=list(HealthCheck), phases=(Phase.explicit, Phase.generate))
@given(st.lists(_CHANGES, min_size=40, max_size=60))
@example([("streams", {"kind": ""}), ("streams", {"kind": None})])
def test_whatever_rows_say_the_writer_and_its_readers_live(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[str, dict[str, Any]]]
) -> None:
    path, end = tmp_path_factory.mktemp("odd"), len(changes) + 1
    some = [_forged(offset, *one) for offset, one in enumerate(changes, 1)]
    filled(path, [record(0, HONEST), *some, record(end, {"events": [batch("far", "gaze", 0, 10)]})])
    with Store.open(path) as store:
        assert store.sql("SELECT sum(\"count\") FROM events WHERE source IN ('mal', 'far')").rows[0][0] >= 30
        missing(store)
        store.sql("SELECT (SELECT count(*) FROM event_records), (SELECT count(*) FROM edge_records)")
    with Store.open(path, Role.of("analyst")) as store:
        assert store.sql("SELECT count(*) FROM events WHERE zone = 'health'").rows == [(0,)]


TEXTS: Mapping[str, Rows] = {
    "openpolicy": {"policies": [{**POLICY, "text": EVIL}]},
    "no-text": {"policies": [{**POLICY, "text": None}]},
    "badpolicy": {
        "policies": [{**POLICY, "version": "feed" * 4, "text": "not a policy [[["}],
        "events": [batch("z", "bp", 0, policy_version="feed" * 4)],
    },
}


def old_store(path: Path, rows: Rows) -> Path:
    """A store that holds bad rows beside honest ones, as a writer of before took them in."""
    Writer.open(path).close()
    (path / "writer.lock").touch()
    hot = Hot(path)
    health = {"events": [batch("good", "gaze", 0, 10, **tagged("imu", "health"))]}
    for some in (rows, HONEST, health):
        hot.append({name: _arrow(name, content) for name, content in some.items()}, "glasses.lineage", {})
    hot.put_by("glasses.lineage")
    hot.close()
    filled(path, [record(0, LATER)])
    return path


def _arrow(table: str, rows: Sequence[Row]) -> Any:
    return arrow_of(table, {name: [one[name] for one in rows] for name in TABLES[table]})


def answers(path: Path, role: str) -> tuple[list[Any], list[str]]:
    with Store.open(path, Role.of(role)) as store:
        explained = questions.why(store, "good/imu-right/0")
        assert isinstance(explained, WhyStored)
        found = [
            store.sql("SELECT count(*), sum(\"count\") FROM events WHERE source IN ('good', 'mal')").rows,
            store.sql("SELECT count(*) FROM event_records WHERE source IN ('good', 'mal')").rows,
            store.sql("SELECT count(*) FROM edge_records").rows,
            store.sql("SELECT count(t_first) FROM events WHERE source <> 'z'").rows,
            [one for one in missing(store).streams if one.source != "z"],
            questions.ancestors(store, "good/activity/0").ancestors,
            explained.label_says,
            creep(store).creep,
            loop(store, "good/imu-right/0"),
        ]
        return found, store.left_out


def merged(cases: Mapping[str, Rows]) -> Rows:
    every: dict[str, list[Row]] = {}
    for rows in cases.values():
        for table, some in rows.items():
            every.setdefault(table, []).extend(some)
    return every


def test_what_a_policy_without_its_text_decided_is_not_shown_and_said_once(tmp_path: Path) -> None:
    good, _ = answers(old_store(tmp_path / "good", {}), "analyst")
    found, said = answers(old_store(tmp_path / "bad", merged(TEXTS)), "analyst")
    assert found == good
    assert "1 policies" in said[-1]
    assert "feed" not in " ".join(said)


def test_a_forged_text_opens_nothing(tmp_path: Path) -> None:
    """A policy is the text whose digest is its version, whichever was stored first."""
    old_store(tmp_path, TEXTS["openpolicy"])
    with Store.open(tmp_path, Role.of("analyst")) as store:
        assert store.sql("SELECT DISTINCT zone FROM events").rows == [("public",)]
        assert store.sql("SELECT text FROM policies").rows == [(HOUSEHOLD.text,)]


def test_a_walk_that_falls_into_too_many_parts_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    children = edge(
        ("good", "activity", 0),
        ("good", "imu-right", 0),
        operator="activity",
        child_step=2,
        child_count=50,
        parent_step=0,
        parent_width=20,
    )
    old_store(tmp_path, {"edges": [children]})
    monkeypatch.setattr(limits, "WALK_PARTS_MAX", 20)
    with Store.open(tmp_path) as store, pytest.raises(InputError, match="more than 20"):
        loop(store, "good/imu-right/0")
