"""Index files against the edges and zones that went into them, event by event."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from streams.events.runs import EdgeRun, Run
from streams.snapshots.files import index

WITHOUT_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)
FAR = 2**33
NUMBERS = st.one_of(st.integers(0, 60), st.integers(FAR, FAR + 60))
#: Child stream, its revision, parent stream, its revision, and the run.
Edge = tuple[str, int, str, int, EdgeRun]
#: Stream, revision, number and zone of an event.
Event = tuple[str, int, int, str]
_TEXT = (
    "source",
    "stream",
    "operator",
    "directness",
    "declassifier",
    "policy_version",
    "zone",
    "label",
    "wearer",
)


@st.composite
def edges(draw: st.DrawFn) -> Edge:
    count = draw(st.integers(1, 6))
    run = EdgeRun(
        Run(draw(NUMBERS), draw(st.sampled_from((1, 3, 2**32))), count),
        draw(NUMBERS),
        draw(st.integers(0, 6)),
        draw(st.integers(1, 5)),
    )
    child, parent = draw(st.sampled_from("ab")), draw(st.sampled_from("cd"))
    return child, draw(st.integers(0, 1)), parent, draw(st.integers(0, 1)), run


def write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Path:
    kinds = [
        pa.string() if name.rpartition("_")[2] in _TEXT or name in _TEXT else pa.int64() for name in columns
    ]
    made = [dict(zip(columns, row, strict=True)) for row in rows]
    pq.write_table(pa.Table.from_pylist(made, pa.schema(list(zip(columns, kinds, strict=True)))), path)
    return path


def write_edges(path: Path, rows: Iterable[Edge], epoch: int = 1) -> Path:
    names = [f"{side}_{name}" for side in ("child", "parent") for name in ("source", "stream", "revision")]
    numbers = ["child_first", "child_step", "child_count", "parent_first", "parent_step", "parent_width"]
    more = ["operator", "operator_version", "directness", "declassifier", "epoch"]
    return write(
        path,
        [*names, *numbers, *more],
        [
            ("g1", child, one, "g1", parent, other, run.child.first, run.child.step, run.child.count,
             run.parent_first, run.parent_step, run.width, "window", 1, "direct", "", epoch)
            for child, one, parent, other, run in rows
        ],
    )  # fmt: skip


def write_zones(path: Path, events: Sequence[Event] = ()) -> Path:
    """Runs of one zone in the order of numbers, as a publish makes them."""
    made: list[list[Any]] = []
    for stream, revision, number, zone in sorted(events):
        if made and (stream, revision, zone) == (made[-1][1], made[-1][2], made[-1][6]):
            made[-1][4] = number
        else:
            made.append(["g1", stream, revision, number, number, "p", zone, "", "w1", 1, 1])
    columns = ["source", "stream", "revision", "low", "high", "policy_version", "zone", "label", "wearer"]
    return write(path, [*columns, "consent", "epoch"], made)


def pairs_in(connection: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
    rows = connection.execute("""
        SELECT child_stream, child_revision, parent_stream, parent_revision,
            child_first_base + child_first, child_step_base + child_step, child_count,
            child_first_base + child_first + parent_offset_base + parent_offset,
            child_step_base + child_step + step_offset_base + step_offset, parent_width
        FROM made.edges JOIN made.relations USING (relation)""").fetchall()
    return sorted(
        (child, one, parent, other, *pair)
        for child, one, parent, other, first, step, count, start, advance, width in rows
        for pair in EdgeRun(Run(first, step, count), start, advance, width).pairs()
    )


@given(
    st.lists(st.lists(edges(), max_size=5), min_size=1, max_size=6),
    st.lists(
        st.tuples(
            st.sampled_from("ac"), st.integers(0, 1), st.integers(0, 40), st.sampled_from(("home", "work"))
        ),
        unique_by=lambda one: one[:3],
    ),
    st.lists(st.integers(1, 3), min_size=6, max_size=6),
)  # fmt: skip
@settings(max_examples=12, deadline=None, phases=WITHOUT_SHRINKING)
def test_an_index_says_of_every_event_what_its_parts_said(
    parts: list[list[Edge]], events: list[Event], together: list[int]
) -> None:
    """Whatever parts it is made of, in whatever order they are merged."""
    with tempfile.TemporaryDirectory() as made, duckdb.connect() as connection:
        directory = Path(made)
        indexes: list[Path] = []
        for epoch, rows in enumerate(parts):
            written = write_edges(directory / f"e{epoch}", rows, epoch)
            zones = write_zones(directory / f"z{epoch}", events[epoch :: len(parts)])
            older = indexes[-together[epoch] :] if epoch % 2 else []
            target = directory / f"index-{epoch}"
            index.build(connection, target, edges=[written], zone_runs=[zones], merged=older)
            indexes = [*indexes[: len(indexes) - len(older)], target]
        last = directory / "all"
        counts = index.build(connection, last, merged=indexes)
        connection.execute(f"ATTACH '{last}' AS made (READ_ONLY)")
        assert pairs_in(connection) == sorted(
            (child, one, parent, other, *pair)
            for rows in parts
            for child, one, parent, other, run in rows
            for pair in run.pairs()
        )
        assert counts.edges == sum(map(len, parts))
        covering = defaultdict(set)
        for stream, revision, low, high, zone in connection.execute(
            "SELECT stream, revision, low, high, zone FROM made.zone_runs"
        ).fetchall():
            for number in range(low, high + 1):
                covering[stream, revision, number].add(zone)
        for stream, revision, number, zone in events:
            assert zone in covering[stream, revision, number]


def test_runs_of_one_zone_are_one_however_many_epochs_wrote_them(tmp_path: Path) -> None:
    numbers = [("a", 0, number, "home" if number < 30 else "work") for number in range(60)]
    zones = [write_zones(tmp_path / f"z{n}", numbers[n : n + 10]) for n in range(0, 60, 10)]
    edge = write_edges(tmp_path / "e", [])
    with duckdb.connect() as connection:
        index.build(connection, tmp_path / "one", edges=[edge], zone_runs=zones[:4])
        counts = index.build(
            connection, tmp_path / "all", edges=[edge], zone_runs=zones[4:], merged=[tmp_path / "one"]
        )
        connection.execute(f"ATTACH '{tmp_path / 'all'}' AS made (READ_ONLY)")
        runs = connection.execute("SELECT low, high, zone FROM made.zone_runs ORDER BY low").fetchall()
    assert runs == [(0, 29, "home"), (30, 59, "work")]
    assert counts.zone_runs == 2


def test_an_index_knows_only_segments_that_are_current(tmp_path: Path) -> None:
    edge, zones = write_edges(tmp_path / "e", []), write_zones(tmp_path / "z")
    spans = [(f"segments/{name}", "events", "own", "g1", "imu", 0, 9) for name in ("kept", "gone")]
    with duckdb.connect() as connection:
        index.build(
            connection,
            tmp_path / "one",
            edges=[edge],
            zone_runs=[zones],
            spans=spans,
            current=["segments/kept", "segments/gone"],
        )
        index.build(
            connection,
            tmp_path / "two",
            merged=[tmp_path / "one"],
            spans=[("segments/new", "events", "own", "g1", "imu", 0, 9)],
            current=["segments/kept", "segments/new"],
        )
        connection.execute(f"ATTACH '{tmp_path / 'two'}' AS made (READ_ONLY)")
        named = connection.execute("SELECT file FROM made.spans ORDER BY file").fetchall()
        left = connection.execute(
            "SELECT database_name FROM duckdb_databases() WHERE NOT internal ORDER BY ALL"
        ).fetchall()
    assert named == [("segments/kept",), ("segments/new",)]
    assert left == [("made",), ("memory",)]


def test_an_edge_takes_eight_bytes_at_most(tmp_path: Path) -> None:
    """Windows that continue one another as those of a device do, in rows of some children each."""
    rows = [
        (
            stream,
            0,
            "d",
            0,
            EdgeRun(Run(FAR + 50 * first, 50, 1 + first % 3), 50 * first, 50, 100 + first % 2),
        )
        for stream in "ab"
        for first in range(0, 60_000, 3)
    ]
    edge, zones = write_edges(tmp_path / "e", rows), write_zones(tmp_path / "z")
    with duckdb.connect() as connection:
        counts = index.build(connection, tmp_path / "one", edges=[edge], zone_runs=[zones])
    assert counts.edges == len(rows) == 40_000
    assert (tmp_path / "one").stat().st_size <= 8 * counts.edges


def test_neighbours_in_the_index_are_neighbours_in_their_streams(tmp_path: Path) -> None:
    """So that DuckDB reads few rows for one question."""
    rows = [(s, 0, "d", 0, EdgeRun(Run(n, 1, 1), n, 1, 1)) for n in range(50) for s in "ba"]
    edge, zones = write_edges(tmp_path / "e", rows), write_zones(tmp_path / "z")
    with duckdb.connect() as connection:
        index.build(connection, tmp_path / "one", edges=[edge], zone_runs=[zones])
        connection.execute(f"ATTACH '{tmp_path / 'one'}' AS made (READ_ONLY)")
        order = connection.execute("SELECT relation, child_first FROM made.edges").fetchall()
    assert all(earlier <= later for earlier, later in pairwise(order))
