"""What is over is parted from what stays event by event, against an oracle that counts in plain Python."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import duckdb
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.lineage.expired import KEPT, Expired
from streams.lineage.parting import Divided
from streams.policy.policy import DAY_NS
from streams.snapshots.files.segments import schema_of
from tests.snapshots.build import T0_NS, Row, edge, event, row

#: Days by zone; the policy of `unknown` is not there, so nothing of it is ever over.
DAYS = {"short": 1, "middle": 3, "long": 30}
ZONES = (*DAYS, "unknown")
NOW_NS = T0_NS + 10 * DAY_NS
_AROUND = {"policy_version": "p", "wearer": "w"}

#: Stretches of a stream: how many numbers are left out before it, how many it has, its zone, and how old
#: it is, in hours.
stretches = st.lists(
    st.tuples(st.integers(0, 3), st.integers(1, 6), st.sampled_from(ZONES), st.integers(0, 40 * 24)),
    min_size=1,
    max_size=12,
)


def is_over(zone: str, at_ns: int) -> bool:
    return zone in DAYS and at_ns + DAYS[zone] * DAY_NS <= NOW_NS


class World:
    """A captured stream, a derived one of every second number, and what is said of them."""

    def __init__(self, drawn: Sequence[tuple[int, int, str, int]]) -> None:
        self.rows: dict[str, list[Row]] = {name: [] for name in (*_NAMES, "rejected")}
        #: Whether each number of the captured stream, and of the derived one, is over; refused ones apart.
        self.captured: dict[int, bool] = {}
        self.derived: dict[int, bool] = {}
        self.refused: dict[int, bool] = {}
        number = 0
        for left_out, count, zone, hours in drawn:
            at_ns = NOW_NS - hours * 3_600_000_000_000
            about: Row = {**_AROUND, "zone": zone, "label": zone, "appended_ns": at_ns}
            over = is_over(zone, at_ns)
            if left_out == 2:
                refused = {**about, "first": number, "count": 2, "topic": "glasses.captured"}
                refused.pop("label")
                self._add("rejected", row("rejected", source="d", stream="s", stage="zones", **refused))
                self.refused |= dict.fromkeys((number, number + 1), over)
            first = number + left_out
            number = first + count
            self._add("events", event("d", "s", first, count, **about, topic="glasses.captured"))
            self.captured |= dict.fromkeys(range(first, number), over)
            run: Row = {"source": "d", "stream": "s", "first": first, "count": count}
            self._add("decisions", row("decisions", **run, **about, sink="x"))
            self._add("shadow", row("shadow", **run, sink="x", policy_version="p", zone=zone))
            low = first - first % 2
            self._add("zone_runs", _zone_run("s", low, number - 1, zone))
            for child in range(first, number, 2):
                self._add("events", event("d", "a", child, **about, kind="activity", topic="glasses.derived"))
                self.derived[child] = over
                opinion = {"first": child, "answer_stream": "a", "answer": child}
                self._add("feedback", row("feedback", source="d", stream="f", **opinion))
            self._add("zone_runs", _zone_run("a", first, number - 1, zone))
            self._add(
                "edges",
                edge(
                    ("d", "a", first),
                    ("d", "s", max(first - 3, 0)),
                    child_step=2,
                    child_count=(count + 1) // 2,
                    parent_step=2,
                    parent_width=4,
                ),
            )
        whole = edge(("training", "model", 1), ("d", "a", 0), parent_width=number, operator="training")
        self._add("edges", whole)
        self._add("events", event("training", "model", 1, **about, topic="glasses.models"))
        named = " ".join(f"d/a/{child}" for child in self.derived)
        self._add("inputs", row("inputs", kind="example-order", value=named))

    def _add(self, table: str, made: Row) -> None:
        self.rows[table].append(made)

    def tables(self) -> dict[str, pa.Table]:
        return {
            table: pa.Table.from_pylist([{**each, "epoch": 1} for each in some], schema_of(table))
            for table, some in self.rows.items()
        }


_NAMES = ("events", "edges", "decisions", "shadow", "feedback", "zone_runs", "inputs")


def _zone_run(stream: str, low: int, high: int, zone: str) -> Row:
    where = {"source": "d", "stream": stream, "revision": 0, "low": low, "high": high, "consent": 0}
    return {**where, **_AROUND, "zone": zone, "label": zone}


def _numbers(rows: pa.Table, stream: str) -> Counter[int]:
    return Counter(
        each["first"] + each["step"] * nth
        for each in rows.to_pylist()
        if each["stream"] == stream and each["source"] == "d"
        for nth in range(each["count"])
    )


def _pairs(edges: pa.Table) -> Iterator[tuple[str, int, str, int]]:
    for each in edges.to_pylist():
        for nth in range(each["child_count"]):
            parent = each["parent_first"] + each["parent_step"] * nth
            for number in range(parent, parent + each["parent_width"]):
                child = each["child_first"] + each["child_step"] * nth
                yield each["child_source"], child, each["parent_stream"], number


def _divided(tables: Mapping[str, pa.Table]) -> tuple[dict[str, Divided], pa.Table, Mapping[str, set[Any]]]:
    days: list[dict[str, Any]] = [
        {"policy_version": "p", "zone": zone, "label": label, "days": kept}
        for zone, kept in DAYS.items()
        for label in (zone, "")
    ]
    with duckdb.connect() as connection:
        for name, rows in tables.items():
            connection.register(f"given_{name}_rows", rows)
        names = {table: f"given_{table}_rows" for table in tables}
        expired = Expired(connection, names, pa.Table.from_pylist(days, KEPT), NOW_NS)
        parts = {table: expired.divide(table, rows) for table, rows in tables.items()}
        found = {
            table: {
                str(each)
                for each in connection.sql(f"FROM {names[table]} WHERE {expired.touched(table)}")
                .to_arrow_table()
                .to_pylist()
            }
            for table in tables
        }
        return parts, expired.book(), found


@settings(max_examples=25, deadline=None)
@given(stretches)
def test_each_event_is_on_the_right_side_once(drawn: Sequence[tuple[int, int, str, int]]) -> None:
    world = World(drawn)
    tables = world.tables()
    parts, book, found = _divided(tables)
    for stream, over in (("s", world.captured), ("a", world.derived)):
        for side, wanted in ((parts["events"].taken, True), (parts["events"].kept, False)):
            assert _numbers(side, stream) == Counter(
                number for number, is_it in over.items() if is_it == wanted
            )
    assert [each["source"] for each in parts["events"].kept.to_pylist()].count("training") == 1
    for table in ("decisions", "shadow"):
        for side, wanted in ((parts[table].taken, True), (parts[table].kept, False)):
            assert _numbers(side, "s") == Counter(
                number for number, is_it in world.captured.items() if is_it == wanted
            )
    gone = {number for number, over in world.refused.items() if over}
    taken = {each["first"] + nth for each in parts["rejected"].taken.to_pylist() for nth in range(2)}
    assert taken == gone
    assert len(parts["rejected"].kept) + len(parts["rejected"].taken) == len(tables["rejected"])
    of = {"s": world.captured, "a": world.derived}
    pairs = Counter(_pairs(tables["edges"]))
    lost = Counter(
        {
            pair: count
            for pair, count in pairs.items()
            if (pair[0] == "d" and world.derived[pair[1]]) or of[pair[2]].get(pair[3], False)
        }
    )
    # Numbers that no event has lie among those of a run, and go with it or stay.
    real = {pair for pair in pairs if pair[3] in of[pair[2]]}
    assert {pair: n for pair, n in Counter(_pairs(parts["edges"].taken)).items() if pair in real} == {
        pair: n for pair, n in lost.items() if pair in real
    }
    assert Counter(_pairs(parts["edges"].taken)) + Counter(_pairs(parts["edges"].kept)) == pairs
    [order] = parts["inputs"].kept.column("value").to_pylist()
    assert order.split(" ") == ["-" if over else f"d/a/{child}" for child, over in world.derived.items()]
    assert {each["first"] for each in parts["feedback"].taken.to_pylist()} == {
        number for number, over in world.derived.items() if over
    }
    # A file is read again only if `touched` finds a row that is taken; it may find more.
    for table, part in parts.items():
        if len(part.taken):
            assert found[table]
    _book_is_right(world, book)


def _book_is_right(world: World, book: pa.Table) -> None:
    """Numbers of captured events and refusals exactly, so that a hole stays one."""
    rows = book.to_pylist()
    captured = [each for each in rows if each["stream"] == "s"]
    gone = {number for of in (world.captured, world.refused) for number, over in of.items() if over}
    covered = [number for each in captured for number in range(each["low"], each["high"] + 1)]
    assert sorted(covered) == sorted(gone)
    assert sum(each["events"] for each in captured) == sum(world.captured.values())
    derived = [each for each in rows if each["stream"] == "a"]
    assert sum(each["events"] for each in derived) == sum(world.derived.values())
    inside = {number for each in derived for number in range(each["low"], each["high"] + 1)}
    assert {number for number, over in world.derived.items() if over} <= inside
    assert not inside & {number for number, over in world.derived.items() if not over}
    assert all(each["expired_ns"] == NOW_NS and each["appended_ns"] <= NOW_NS - DAY_NS for each in rows)


@settings(max_examples=25, deadline=None)
@given(stretches)
def test_runs_of_zones_stay_over_what_stays_and_name_nobody_else(
    drawn: Sequence[tuple[int, int, str, int]],
) -> None:
    world = World(drawn)
    parts, _, _ = _divided(world.tables())
    runs = parts["zone_runs"].kept.to_pylist()
    for made in world.rows["events"]:
        over = {"s": world.captured, "a": world.derived}.get(made["stream"], {}).get(made["first"])
        if over is False:
            for number in range(made["first"], made["first"] + made["count"]):
                assert any(
                    run["stream"] == made["stream"]
                    and run["zone"] == made["zone"]
                    and run["low"] <= number <= run["high"]
                    for run in runs
                )
    left = {(made["stream"], made["zone"]) for made in world.rows["events"] if _stays(world, made)}
    assert {(run["stream"], run["zone"]) for run in runs} <= left


def _stays(world: World, made: Row) -> bool:
    of = {"s": world.captured, "a": world.derived}.get(made["stream"])
    return of is not None and not of[made["first"]]


def test_what_has_no_time_of_a_broker_goes_by_its_last_capture_time() -> None:
    at_ns = NOW_NS - DAY_NS
    around: Row = {**_AROUND, "zone": "short", "label": "short"}
    rows = [
        event("d", "s", 0, **around, appended_ns=0, t_last_ns=at_ns),
        event("d", "s", 1, **around, appended_ns=0, t_last_ns=at_ns + 1),
        event("d", "s", 2, **around, appended_ns=at_ns, t_last_ns=NOW_NS),
        event("d", "s", 3, **around, appended_ns=at_ns + 1, t_last_ns=at_ns),
    ]
    tables = {"events": pa.Table.from_pylist([{**each, "epoch": 1} for each in rows], schema_of("events"))}
    parts, book, found = _divided(tables)
    assert parts["events"].taken.column("first").to_pylist() == [0, 2]
    assert len(found["events"]) == 2
    assert [(each["low"], each["high"], each["events"]) for each in book.to_pylist()] == [
        (0, 0, 1),
        (2, 2, 1),
    ]
