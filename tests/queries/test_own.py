"""What is told of a person, against what an erasure takes out of a copy, and against what the device sent."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pyarrow as pa
import pytest

from streams import clock
from streams.errors import InputError
from streams.lineage.selection import up_to
from streams.policy.load import parse
from streams.queries.own import Own, own, told
from streams.queries.own_rows import OTHER, OwnRows
from streams.queries.role import Role
from streams.queries.store import Store
from streams.snapshots.writer import Writer
from streams.topology import TO_WEARER
from tests.snapshots import days
from tests.snapshots.build import (
    HOUSEHOLD,
    POLICY,
    T0_NS,
    Row,
    derived,
    edge,
    event,
    record,
    row,
    store,
    tagged,
)
from tests.snapshots.contents import ask
from tests.snapshots.days import World as Days
from tests.snapshots.worlds import HER, HERS, World, erasure, filled, mark

OFFICER = Role("privacy-officer", exporting=True, into=TO_WEARER)
_RUN = '"first" + step * unnest(range("count"))'
_PAIRS = (
    "SELECT child_source, child_stream, child_revision, child_first + child_step * i, parent_source, "
    "parent_stream, parent_revision, parent_first + parent_step * i + unnest(range(parent_width)) "
    "FROM (SELECT *, unnest(range(child_count)) AS i FROM {})"
)
#: Every single thing that rows of a table say, however they are cut into runs.
_SINGLE = {
    "events": f"SELECT source, stream, revision, wearer, zone, {_RUN} FROM {{}}",
    "decisions": f"SELECT source, stream, wearer, sink, verdict, {_RUN} FROM {{}}",
    "shadow": f"SELECT source, stream, sink, next_verdict, {_RUN} FROM {{}}",
    "edges": _PAIRS,
    "zone_runs": "SELECT source, stream, revision, wearer, zone, unnest(range(low, high + 1)) FROM {}",
    "rejected": 'SELECT source, stream, "first", "count", wearer, t_ns FROM {}',
    "feedback": 'SELECT source, stream, "first", wearer, answer_stream, answer FROM {}',
    "streams": "SELECT source, stream, kind FROM {}",
    # An erasure takes part of these rows, and leaves the row.
    "inputs": 'SELECT kind, agent, topic, partition, "offset", t_ns FROM {}',
    "training_runs": "SELECT version FROM {}",
    "training_checks": "SELECT version, name, t_ns FROM {}",
}
#: What such a row says besides, by which the row of before is told from that of after.
_SAYS = {"inputs": "value", "training_runs": '"trigger"', "training_checks": "subject"}


def single(path: Path, table: str) -> Counter[tuple[Any, ...]]:
    """What a store says in a table, thing by thing."""
    return Counter(ask(path, _SINGLE[table].format(f"files.{table}")))


def of_rows(rows: pa.Table, table: str) -> Counter[tuple[Any, ...]]:
    with duckdb.connect() as connection:
        connection.register("told", rows)
        return Counter(connection.execute(_SINGLE[table].format("told")).fetchall())


def says(path: Path, table: str) -> Counter[tuple[Any, ...]]:
    statement = _SINGLE[table].replace(" FROM", f", {_SAYS[table]} FROM")
    return Counter(ask(path, statement.format(f"files.{table}")))


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("seed", range(2))
def test_an_export_has_what_an_erasure_takes_out_and_nothing_else(tmp_path: Path, seed: int) -> None:
    """Whole rows and parts of rows, thing by thing, in random worlds in which devices change hands."""
    world = World(seed, until=(18, 11)[seed % 2])
    path = filled(tmp_path / "store", world.lineage(with_her=True), every=2 + seed % 3)
    shutil.copytree(path, copy := tmp_path / "copy", symlinks=True)
    with Store.open(path, OFFICER) as opened:
        rows = OwnRows(opened, HER, up_to(world.at_ns))
        answer = told(opened, HER, rows)
    writer = Writer.open(copy, fold="inline")
    writer.erase([erasure(world.at_ns)], mark, world.at_ns + 10**12)
    writer.settle(world.at_ns + 10**12)
    writer.close()
    for table in _SINGLE.keys() - _SAYS.keys():
        assert of_rows(rows.taken[table], table) == single(path, table) - single(copy, table), table
    for table in _SAYS:
        changed = says(path, table) - says(copy, table)
        assert of_rows(rows.taken[table], table) == Counter(each[:-1] for each in changed.elements()), table
    [(count,)] = ask(copy, "SELECT rows FROM erasures")
    assert sum(map(len, rows.taken.values())) == count, "row by row, too"
    assert count > 20, f"seed {seed} has too little of her"
    texts = [
        value
        for some in rows.shown.values()
        for column in some.columns
        for value in column.to_pylist()
        if isinstance(value, str)
    ]
    words = orjson.dumps([texts, answer.to_dict()]).decode()
    assert {HER, HERS} <= set(texts)
    assert re.findall(r"\b(?:w1|w2|w3|g1|g2)\b", words) == []


def second_hand() -> dict[str, list[Row]]:
    """What w2's device made of w1's events, and w2's own; w2 also told what an answer to w1 was worth."""
    theirs = {**tagged(), "wearer": "w2", "kind": "activity", "topic": "glasses.derived"}
    return {
        "policies": [POLICY],
        "events": [
            event("g1", "imu", 0, 10, **tagged(wearer="w1")),
            event("g2", "imu", 0, 10, **tagged(wearer="w2")),
            event("g2", "activity", 0, 1, **theirs),
            event("g2", "activity", 5, 1, **theirs),
        ],
        "edges": [
            edge(("g2", "activity", 0), ("g1", "imu", 3), operator="x"),
            edge(("g2", "activity", 0), ("g2", "imu", 3), operator="x"),
            edge(("g2", "activity", 5), ("g2", "imu", 5), operator="x"),
        ],
        "decisions": [
            row(
                "decisions",
                source="g1",
                stream="imu",
                count=10,
                sink="store",
                verdict="allow",
                zone="public",
                label=tagged()["label"],
                policy_version=HOUSEHOLD.version,
                wearer="w1",
            )
        ],
    }


def test_what_was_derived_and_names_another_is_told_without_the_other(tmp_path: Path) -> None:
    path = store(tmp_path / "store", second_hand())
    with Store.open(path, Role("wearer", "w1", exporting=True, into=TO_WEARER)) as opened:
        rows, answer = OwnRows(opened, "w1"), own(opened, "w1")
    events = rows.shown["events"].select(["source", "stream", "first", "wearer"]).to_pylist()
    assert [tuple(each.values()) for each in events] == [
        ("g1", "imu", 0, "w1"),
        ("g2", "activity", 0, OTHER),
    ]
    sides = rows.shown["edges"].select(["child_source", "parent_source", "parent_first"]).to_pylist()
    assert sorted(tuple(each.values()) for each in sides) == [("g2", OTHER, 0), ("g2", "g1", 3)]
    assert answer.masked == 2


def expanded(rows: Mapping[str, Any], columns: tuple[str, str, str]) -> set[tuple[str, int]]:
    stream, first, count = columns
    return {(rows[stream], rows[first] + at) for at in range(rows[count])}


def test_what_is_told_of_captured_events_is_what_her_device_sent(home: Path) -> None:
    """The oracle is the device's own journal: stored and refused numbers are those that it sent."""
    sent = set[tuple[str, int]]()
    for line in map(orjson.loads, (home / "journal" / "g1.jsonl").read_bytes().splitlines()):
        if line["line"] == "sent":
            sent |= expanded(line, ("stream", "first", "n"))
    with Store.open(home / "lineage-store", OFFICER) as opened:
        rows = OwnRows(opened, "w1")
        answer = own(opened, "w1")
    captured = {each["stream"] for each in rows.shown["streams"].to_pylist() if each["captured"]}
    sources = {each["source"] for table in ("events", "rejected") for each in rows.shown[table].to_pylist()}
    assert sources == {"g1"}
    stored, refused = set[tuple[str, int]](), set[tuple[str, int]]()
    for each in rows.shown["events"].select(["stream", "first", "count"]).to_pylist():
        if each["stream"] in captured:
            stored |= expanded(each, ("stream", "first", "count"))
    for each in rows.shown["rejected"].select(["stream", "first", "count", "outcome"]).to_pylist():
        if each["outcome"] == "refused":
            refused |= expanded(each, ("stream", "first", "count"))
    assert stored | refused == sent
    assert not stored & refused
    assert sum(each.events for each in answer.streams if each.captured) == len(stored)
    assert sum(each.events for each in answer.refusals) == len(refused)
    assert answer.consents.rows[0].device == "g1"
    assert {each.region for each in answer.recipients} == {"household"}


def test_models_are_those_whose_edges_lead_to_her_examples(home: Path) -> None:
    """Counted edge by edge with SQL over the views, which know nothing of the selection."""
    with Store.open(home / "lineage-store", OFFICER) as opened:
        answer = own(opened, "w1")
        counted = opened.sql(
            "SELECT child_id, count(*) FROM edge_records WHERE child_source = 'training' "
            "AND parent_source = 'g1' GROUP BY 1"
        ).rows
        due = opened.sql(
            "SELECT strftime(due, '%Y-%m-%d'), zone, count(*) FROM event_records WHERE wearer = 'w1' "
            "GROUP BY ALL"
        ).rows
    assert {each.model: each.examples for each in answer.models} == dict(counted)
    days = Counter[tuple[str, str]]()
    for each in answer.due:
        days[each.on, each.zone] += each.events
    assert days == {(day, zone): count for day, zone, count in due}


@pytest.mark.parametrize("role", [Role("analyst"), Role("wearer", "w2")])
def test_who_may_not_ask_is_refused_whether_or_not_there_is_such_a_wearer(home: Path, role: Role) -> None:
    with Store.open(home / "lineage-store", role) as opened:
        for name in ("w1", "nobody"):
            with pytest.raises(InputError, match=f"the role {role} may not ask about all that is held"):
                own(opened, name)


def test_nobody_of_that_name(home: Path) -> None:
    with (
        Store.open(home / "lineage-store", OFFICER) as opened,
        pytest.raises(InputError, match="has nothing"),
    ):
        own(opened, "w9")


def handed(tmp_path: Path, text: str) -> tuple[Own, OwnRows]:
    """What is handed out of a small store under a policy."""
    policy = parse(text, "test")
    tags = {
        zone: {
            "zone": zone,
            "label": (policy.label_of("imu", zone) or b"").hex(),
            "policy_version": policy.version,
            "wearer": "w1",
        }
        for zone in ("public", "bystander-present")
    }
    rows = {
        "policies": [{"version": policy.version, "name": "x", "text": text, "published_ns": T0_NS}],
        "events": [
            event("g1", "imu", 0, 10, **tags["public"]),
            event("g1", "imu", 10, 7, **tags["bystander-present"]),
            derived("g1", "activity", 0, **tags["public"]),
            derived("g1", "activity", 10, **tags["bystander-present"]),
        ],
        "edges": [
            edge(("g1", "activity", 0), ("g1", "imu", 0), parent_width=10),
            edge(("g1", "activity", 10), ("g1", "imu", 10), parent_width=7),
        ],
        "decisions": [row("decisions", source="g1", stream="imu", count=10, sink="store", **tags["public"])],
    }
    with Store.open(store(tmp_path / "store", rows), OFFICER) as opened:
        return own(opened, "w1"), OwnRows(opened, "w1")


def test_what_the_policy_lets_nobody_hand_out_stays_and_is_counted_with_its_rule(tmp_path: Path) -> None:
    before, _, after = HOUSEHOLD.text.partition('name = "ask:wearer"')
    text = before + 'name = "ask:wearer"' + after.replace('"wearer", "bystander", "minor"', '"wearer"', 1)
    answer, rows = handed(tmp_path, text)
    (withheld,) = answer.withheld
    assert (withheld.zone, withheld.events) == ("bystander-present", 8)
    assert withheld.rule == "sinks.ask:wearer: may not receive data about bystander"
    assert rows.shown["events"].column("zone").unique().to_pylist() == ["public"]
    assert rows.shown["edges"].column("child_first").to_pylist() == [0], "an edge goes with its events"
    assert len(rows.taken["events"]) == 4, "an erasure takes it nevertheless"


def test_the_shipped_policy_hands_all_of_it_out(tmp_path: Path) -> None:
    answer, rows = handed(tmp_path, HOUSEHOLD.text)
    assert not len(answer.withheld)
    assert len(rows.shown["events"]) == 4


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("seed", range(3))
def test_what_is_over_is_counted_and_not_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Told before the rewriting is what is told after it, and of whom all is over, nothing but how much."""
    world = Days(seed)
    path = days.filled(tmp_path / "store", world.lineage()[:3])
    shutil.copytree(path, copy := tmp_path / "copy", symlinks=True)
    # The next day has begun for the writer of the copy. Readers of the other are as far by their clock.
    after = days.appended(record(3, {}), 1)
    days.filled(copy, [after])
    real_ns = clock.now_ns
    monkeypatch.setattr(clock, "now_ns", lambda: real_ns() - days.DAY_NS)
    writer = Writer.open(path, fold="inline")
    days.take_in(writer, [days.appended(record(3, {}), 0.0)])
    writer.close()
    monkeypatch.setattr(clock, "now_ns", real_ns)
    [(overdue,)] = ask(path, "SELECT count(*) FROM overdue")
    assert overdue, f"seed {seed} has nothing that is over"
    with Store.open(path, OFFICER) as before, Store.open(copy, OFFICER) as rewritten:
        for zone in days.DAYS:
            wearer = days.name(0, zone)
            rows, left = OwnRows(before, wearer), OwnRows(rewritten, wearer)
            for table in _SINGLE.keys() & left.shown.keys():
                shown, in_copy = (of_rows(some.shown[table], table) for some in (rows, left))
                assert shown == in_copy, (seed, zone, table)
            over = zone == "bystander-present"
            assert ("events" in rows.over) is (over and bool(rows)), (seed, zone)
            assert not left.over
            if over and rows:
                assert rows.over["events"] == len(rows.taken["events"])
                [events] = [each for each in told(before, wearer, rows).held if each.table == "events"]
                assert (events.rows, events.not_shown, events.expired) == (0, 0, rows.over["events"])
