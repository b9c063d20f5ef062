"""Rows that are a wearer's in part are split so that each event is on the right side, once."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from streams.consent.erased import ErasedTime
from streams.lineage.division import PERSONAL, divide, touched
from streams.lineage.ranges import Ranges, outside
from streams.lineage.selection import Selection
from streams.snapshots.files.segments import schema_of
from tests.snapshots.build import T0_NS, edge, event, row, stream, tagged


@pytest.mark.parametrize("seed", range(20))
def test_a_run_is_cut_where_ranges_begin_and_end(seed: int) -> None:
    draw = random.Random(seed)
    members = {number for number in range(120) if draw.random() < 0.6}
    ranges = Ranges(("key", number, number) for number in members)
    first, step, count = draw.randint(0, 40), draw.randint(1, 5), draw.randint(1, 15)
    inside = ranges.inside("key", first, step, count)
    taken = {nth for begin, end in inside for nth in range(begin, end + 1)}
    left = {nth for begin, end in outside(inside, count) for nth in range(begin, end + 1)}
    assert taken == {nth for nth in range(count) if first + step * nth in members}
    assert left == set(range(count)) - taken
    assert ranges.inside("another", first, step, count) == []


def _relation(table: str, rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist([{**each, "epoch": 1} for each in rows], schema_of(table))


def _pairs(edges: pa.Table) -> Iterator[tuple[Any, ...]]:
    for each in edges.to_pylist():
        for nth in range(each["child_count"]):
            parent = each["parent_first"] + each["parent_step"] * nth
            for number in range(parent, parent + each["parent_width"]):
                child = each["child_first"] + each["child_step"] * nth
                yield each["child_source"], each["child_stream"], child, each["parent_stream"], number


@pytest.mark.parametrize("seed", range(12))
def test_edges_are_parted_pair_by_pair(seed: int) -> None:
    """Children that are hers go, and those made of what is hers; models lose single parents and stay."""
    draw = random.Random(seed)
    worn = [draw.choice(("her", "other")) for _ in range(10)]
    hers = {number for number in range(100) if worn[number // 10] == "her"}
    events = [event("d", "imu-right", 10 * at, 10, wearer=wearer) for at, wearer in enumerate(worn)]
    made, edges = dict[int, set[int]](), list[dict[str, Any]]()
    for _ in range(12):
        step, count, width = draw.randint(1, 4), draw.randint(1, 5), draw.randint(1, 8)
        first, advance = 200 + 30 * len(edges), draw.randint(0, 5)
        parent = draw.randint(0, 99 - advance * count - width)
        edges.append(
            edge(
                ("d", "activity", first),
                ("d", "imu-right", parent),
                child_step=step,
                child_count=count,
                parent_step=advance,
                parent_width=width,
            )
        )
        for nth in range(count):
            events.append(event("d", "activity", first + step * nth, wearer="other", kind="activity"))
            made[first + step * nth] = set(range(parent + advance * nth, parent + advance * nth + width))
    edges.append(edge(("training", "model", 1), ("d", "imu-right", 3), parent_width=90, operator="training"))
    derived = {number for number, parents in made.items() if parents & hers}
    tables = {"events": _relation("events", events), "edges": _relation("edges", edges)}
    with duckdb.connect() as connection:
        for name, rows in tables.items():
            connection.register(f"given_{name}_rows", rows)
        names = {table: f"given_{table}_rows" for table in tables}
        selection = Selection(connection, names, {"her": (ErasedTime(0, T0_NS),)})
        kept, taken = divide(selection, "edges", tables["edges"])
        stay, _ = divide(selection, "events", tables["events"])
        wide = connection.sql(f"SELECT count(*) FROM given_edges_rows WHERE {touched(selection, 'edges')}")
        assert wide.fetchall() == [(len(edges),)]
    pairs = Counter(_pairs(tables["edges"]))
    gone = Counter(
        pair for pair in pairs.elements() if pair[2] in derived or (pair[0] == "training" and pair[4] in hers)
    )
    assert Counter(_pairs(taken)) == gone
    assert Counter(_pairs(kept)) == pairs - gone
    left = {(each["stream"], each["first"]) for each in stay.to_pylist()}
    assert {number for stream, number in left if stream == "activity"} == made.keys() - derived
    assert {number for stream, number in left if stream == "imu-right"} == {
        10 * at for at, wearer in enumerate(worn) if wearer == "other"
    }


def test_what_a_list_names_of_hers_is_taken_out_of_it() -> None:
    others = f'["other",{{"at_ns":5}}],["her",{{"at_ns":{T0_NS + 1}}}]'
    said = f'[1,["her",{{"at_ns":5}}],{others}]'
    rows = [
        row("inputs", kind="consent-takeup", value=said),
        row("inputs", kind="example-order", value="d/example/0 - e/example/0"),
        row("inputs", kind="model-takeup", value="3"),
    ]
    events = _relation("events", [event("d", "example", 0, wearer="her", kind="example")])
    with duckdb.connect() as connection:
        connection.register("given_events_rows", events)
        selection = Selection(connection, {"events": "given_events_rows"}, {"her": (ErasedTime(0, T0_NS),)})
        kept, taken = divide(selection, "inputs", _relation("inputs", rows))
        assert selection.alone == {"d": (ErasedTime(0, T0_NS),)}
    assert kept.column("value").to_pylist() == [
        f"[1,{others}]",
        "- - e/example/0",
        "3",
    ]
    assert taken.column("value").to_pylist() == ['[1,["her",{"at_ns":5}]]', "d/example/0"]
    assert "models" not in PERSONAL


@pytest.mark.parametrize("generations", [1, 2, 5])
def test_what_was_made_of_what_is_hers_is_hers_to_the_last_generation(generations: int) -> None:
    """Each is of another device, names others and was captured later: nothing but the edges tells."""
    made = [("d0", 0), *((f"d{at}", 7 * at) for at in range(1, generations + 1))]
    later: dict[str, Any] = {
        "wearer": "other",
        "t_first_ns": T0_NS + 1,
        "t_last_ns": T0_NS + 1,
        "appended_ns": T0_NS + 1,
    }
    events = [event("d0", "s", 0, wearer="her"), event("d0", "s", 1, **later)]
    edges = list[dict[str, Any]]()
    for (parent, first), (child, number) in pairwise(made):
        # Its neighbour is made of the neighbour, and so of others alone.
        events += [event(child, "s", number + more, **later) for more in (0, 1)]
        edges += [edge((child, "s", number + more), (parent, "s", first + more)) for more in (0, 1)]
    # Answers on a model are not made of what the model learned.
    edges.append(edge(("training", "model", 1), (*made[-1][:1], "s", made[-1][1]), operator="training"))
    events += [event("training", "model", 1, **later | {"wearer": ""}), event("d9", "s", 0, **later)]
    edges.append(edge(("d9", "s", 0), ("training", "model", 1)))
    tables = {"events": _relation("events", events), "edges": _relation("edges", edges)}
    with duckdb.connect() as connection:
        for name, rows in tables.items():
            connection.register(f"given_{name}_rows", rows)
        selection = Selection(
            connection, {table: f"given_{table}_rows" for table in tables}, {"her": (ErasedTime(0, T0_NS),)}
        )
        _, taken = divide(selection, "events", tables["events"])
        assert selection.sources == {device for device, _ in made}
    assert [(each["source"], each["first"]) for each in taken.to_pylist()] == made


@pytest.mark.parametrize("words", [True, False])
def test_what_she_decided_about_her_data_goes_with_a_time_and_not_with_a_place(words: bool) -> None:
    """Of events, of decisions about them, and of the streams that have nothing else."""
    kinds = {"imu-right": "imu", "consent-change": "consent_change", "erasure-request": "erasure_request"}
    said = {"wearer": "her", "t_ns": T0_NS, "appended_ns": T0_NS, "at_ns": 0, "sink": "glasses.zoned"}
    of = {**said, **{name: tagged()[name] for name in ("zone", "label", "policy_version")}}
    tables = {
        "events": [event("d", name, 0, wearer="her", kind=kind) for name, kind in kinds.items()],
        "decisions": [row("decisions", source="d", stream=name, first=0, count=1, **of) for name in kinds],
        "streams": [stream("d", name, kind) for name, kind in kinds.items()],
    }
    relations = {table: _relation(table, rows) for table, rows in tables.items()}
    with duckdb.connect() as connection:
        for name, rows in relations.items():
            connection.register(f"given_{name}_rows", rows)
        names = {table: f"given_{table}_rows" for table in ("events", "decisions")}
        bounds = {"her": (ErasedTime(5, 6), ErasedTime(T0_NS - 1, T0_NS), ErasedTime(T0_NS, T0_NS + 1))}
        selection = Selection(connection, names, bounds, words=words)
        taken = {
            table: sorted(divide(selection, table, rows).taken.column("stream").to_pylist())
            for table, rows in relations.items()
        }
    gone = sorted(kinds) if words else ["imu-right"]
    assert taken == dict.fromkeys(tables, gone)
