"""Index files: edges and zones of folded segments, arranged for questions.

An index is a DuckDB file with compact rows: the common values of edges (streams, operator) are stored once in
`relations`, and an edge is a few integers that repeat from row to row. It is made from Parquet segments and
older indexes, and never changed. Only questions read it; SQL reads the segments, which have the same content.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from streams import files, limits
from streams.quoting import quoted
from streams.snapshots.files.directory import STORAGE_VERSION

#: Numbers of a stream in a segment: file, table, role, source, stream, lowest, highest.
Span = tuple[str, str, str, str, str, int, int]

_NAMES = (
    "child_source, child_stream, child_revision, parent_source, parent_stream, parent_revision, operator, "
    "operator_version, directness, declassifier"
)
_CLASS = "policy_version, zone, label, wearer, consent"
#: Numbers of an edge that are stored in 32 bits, as the distance from a base in their relation, with the SQL
#: that computes them. DuckDB packs 32-bit integers; the full numbers would take twice the space.
_REACH = 2**31
_PACKED = {
    "child_first": "child_first",
    "child_step": "child_step",
    "parent_offset": "parent_first - child_first",
    "step_offset": "parent_step - child_step",
}
_BASES = ", ".join(f"({made}) // {_REACH} * {_REACH} AS {name}_base" for name, made in _PACKED.items())
#: SQL to read rows from Parquet segments and from older indexes. The steps of a run of one child have no
#: meaning and become 1.
_EDGES_IN_SEGMENTS = f"""
SELECT {_NAMES}, child_first, if(child_count = 1, 1, child_step) AS child_step, child_count,
    parent_first, if(child_count = 1, 1, parent_step) AS parent_step, parent_width, epoch
FROM read_parquet({{files}})"""  # noqa: S608 - names are ours
_EDGES_IN_INDEX = f"""
SELECT {_NAMES}, child_first_base + child_first AS child_first, child_step_base + child_step AS child_step,
    child_count, child_first_base + child_first + parent_offset_base + parent_offset AS parent_first,
    child_step_base + child_step + step_offset_base + step_offset AS parent_step, parent_width, epoch
FROM {{index}}.edges JOIN {{index}}.relations USING (relation)"""  # noqa: S608 - names are ours
_ZONES_IN_SEGMENTS = f"SELECT source, stream, revision, low, high, {_CLASS} FROM read_parquet({{files}})"  # noqa: S608 - names are ours
_ZONES_IN_INDEX = f"SELECT source, stream, revision, low, high, {_CLASS} FROM {{index}}.zone_runs"  # noqa: S608 - names are ours
_TEXTS = (
    *("source", "stream", "operator", "directness", "declassifier"),
    *("policy_version", "zone", "label", "wearer"),
)
_COLUMNS = {
    "edges_given": (
        f"{_NAMES}, child_first, child_step, child_count, parent_first, parent_step, parent_width, epoch"
    ),
    "zones_given": f"source, stream, revision, low, high, {_CLASS}",
}


def _nothing(columns: str) -> str:
    """SELECT of no rows with typed columns, for a fold without segments of one of the tables."""
    typed = (
        f"NULL::{'VARCHAR' if name.endswith(_TEXTS) else 'BIGINT'} AS {name}" for name in columns.split(", ")
    )
    return f"SELECT {', '.join(typed)} WHERE false"


#: With bounds that tell a walk which relations, and which rows of one, it needs.
_RELATIONS = f"""
CREATE TABLE made.relations AS
SELECT (row_number() OVER (ORDER BY {_NAMES}, {", ".join(f"{name}_base" for name in _PACKED)}) - 1)::INTEGER
    AS relation, * FROM (
    SELECT {_NAMES}, {_BASES}, count(*) AS edges,
        min(child_first) AS child_low, max(child_first + child_step * (child_count - 1)) AS child_high,
        max(child_step * (child_count - 1)) AS child_extent,
        min(parent_first) AS parent_low,
        max(parent_first + parent_step * (child_count - 1) + parent_width - 1) AS parent_high,
        max(parent_step * (child_count - 1) + parent_width - 1) AS parent_extent,
        min(parent_first - child_first) AS offset_low, max(parent_first - child_first) AS offset_high
    FROM temp.edges_given GROUP BY ALL)
ORDER BY relation"""  # noqa: S608 - names are ours
_EDGES = f"""
CREATE TABLE made.edges AS
SELECT relation, {", ".join(f"({made} - {name}_base)::INTEGER AS {name}" for name, made in _PACKED.items())},
    child_count::INTEGER AS child_count, parent_width::INTEGER AS parent_width, epoch::INTEGER AS epoch
FROM (SELECT *, {_BASES} FROM temp.edges_given)
JOIN made.relations USING ({_NAMES}, {", ".join(f"{name}_base" for name in _PACKED)})
ORDER BY relation, child_first, parent_offset"""  # noqa: S608 - names are ours
#: Consecutive runs of one class are joined. A run tells the class of its numbers, not that they exist.
_ZONE_RUNS = f"""
CREATE TABLE made.zone_runs AS
SELECT source, stream, revision, min(low) AS low, max(high) AS high, {_CLASS} FROM (
    SELECT *, count(*) FILTER (begins) OVER (PARTITION BY source, stream, revision
        ORDER BY low, high, {_CLASS} ROWS UNBOUNDED PRECEDING) AS island FROM (
        SELECT *, ({_CLASS}) IS DISTINCT FROM lag(({_CLASS})) OVER (
            PARTITION BY source, stream, revision ORDER BY low, high, {_CLASS}) AS begins
        FROM temp.zones_given))
GROUP BY source, stream, revision, island, {_CLASS} ORDER BY source, stream, revision, low"""  # noqa: S608 - names are ours
_SPANS = """
CREATE TABLE made.spans AS FROM temp.spans_given WHERE file IN (SELECT unnest(?::VARCHAR[]))
ORDER BY source, stream, table_name, role, lowest"""
_SPAN = {
    **dict.fromkeys(("file", "table_name", "role", "source", "stream"), pa.string()),
    **dict.fromkeys(("lowest", "highest"), pa.int64()),
}


@dataclass(frozen=True, slots=True)
class Counts:
    """Number of rows in an index."""

    edges: int
    zone_runs: int
    spans: int


def build(
    connection: duckdb.DuckDBPyConnection,
    target: Path,
    *,
    edges: Sequence[Path] = (),
    zone_runs: Sequence[Path] = (),
    spans: Sequence[Span] = (),
    merged: Sequence[Path] = (),
    without: Collection[str] = (),
    current: Collection[str] = (),
) -> Counts:
    """Make one index from segments and older indexes under a free name; the caller gives it its final name.

    Rows that do not fit into the connection's memory are sorted in its `temp_directory`.

    Parameters
    ----------
    edges, zone_runs
        Parquet segments of these tables that no index covers yet.
    spans
        Numbers in the segments that the fold made.
    merged
        Indexes that this one replaces.
    without
        Devices whose rows in those are left out; `edges` and `zone_runs` have what is to remain of them.
    current
        Names of all segments that will be current; spans of other segments are left out.

    Raises
    ------
    duckdb.Error
        It cannot be made: no space, too little memory, a damaged part. The caller must remove the unfinished
        file.
    """
    with files.owner_only(), _attached(connection, target, merged) as older:
        columns = zip(*spans, strict=True) if spans else [()] * len(_SPAN)
        connection.register(
            "spans_new",
            pa.table(
                [pa.array(column, kind) for column, kind in zip(columns, _SPAN.values(), strict=True)],
                [*_SPAN],
            ),
        )
        for view, from_segments, paths, from_index, of in (
            ("edges_given", _EDGES_IN_SEGMENTS, edges, _EDGES_IN_INDEX, "edges"),
            ("zones_given", _ZONES_IN_SEGMENTS, zone_runs, _ZONES_IN_INDEX, "zone_runs"),
        ):
            left = f" WHERE NOT ({_of(of, without)})" if without else ""
            listed = ", ".join(quoted(str(path)) for path in paths)
            parts = [
                _nothing(_COLUMNS[view]),
                *([from_segments.format(files=f"[{listed}]")] if paths else ()),
            ]
            parts += [from_index.format(index=index) + left for index in older]
            connection.execute(f"CREATE TEMP VIEW {view} AS {' UNION ALL '.join(parts)}")
        of_spans = ["FROM spans_new", *(f"FROM {index}.spans" for index in older)]
        connection.execute(f"CREATE TEMP VIEW spans_given AS {' UNION ALL '.join(of_spans)}")
        connection.execute(_RELATIONS)
        connection.execute(_EDGES)
        connection.execute(_ZONE_RUNS)
        connection.execute(_SPANS, [list(current)])
        return Counts(*(_count(connection, table) for table in ("edges", "zone_runs", "spans")))


def _of(table: str, sources: Collection[str]) -> str:
    """Condition for the rows of some devices in an index."""
    names = ", ".join(quoted(source) for source in sorted(sources))
    columns = ("child_source", "parent_source") if table == "edges" else ("source",)
    return " OR ".join(f"{column} IN ({names})" for column in columns)


def rows_of(
    connection: duckdb.DuckDBPyConnection, path: Path, sources: Collection[str]
) -> Iterator[tuple[str, pa.Table]]:
    """Yield the edges and zone runs of some devices in an index, some at a time, with their table.

    Nothing is yielded for an index that does not name any of them; one without such rows that does yields an
    empty table.
    """
    connection.execute(f"ATTACH {quoted(str(path))} AS looked_at (READ_ONLY)")
    try:
        tables = {"edges": _EDGES_IN_INDEX, "zone_runs": _ZONES_IN_INDEX}
        listed = "SELECT count(*) FROM looked_at.{} WHERE {}"
        naming = {"relations": "edges", "zone_runs": "zone_runs", "spans": "spans"}
        counts = [
            count
            for name, table in naming.items()
            for (count,) in connection.execute(listed.format(name, _of(table, sources))).fetchall()
        ]
        if not any(counts):
            return
        # A cursor of its own, because the caller may ask something else before all rows are read.
        reading = connection.cursor()
        for table, select in tables.items():
            statement = f"{select.format(index='looked_at')} WHERE {_of(table, sources)}"
            yield table, reading.sql(f"{statement} LIMIT 0").to_arrow_table()
            for batch in reading.sql(statement).to_arrow_reader(limits.FOLD_CHUNK_ROWS):
                yield table, pa.Table.from_batches([batch])
    finally:
        connection.execute("DETACH looked_at")


@contextmanager
def _attached(
    connection: duckdb.DuckDBPyConnection, target: Path, merged: Sequence[Path]
) -> Iterator[list[str]]:
    """Attach the new index and the older ones for the block; yields the names of the older ones."""
    options = f"STORAGE_VERSION '{STORAGE_VERSION}', BLOCK_SIZE {limits.INDEX_BLOCK_BYTES}"
    attached = {"made": f"{quoted(str(target))} AS made ({options})"}
    older = [f"older_{number}" for number in range(len(merged))]
    for name, path in zip(older, merged, strict=True):
        attached[name] = f"{quoted(str(path))} AS {name} (READ_ONLY)"
    done: list[str] = []
    try:
        for name, text in attached.items():
            connection.execute(f"ATTACH {text}")
            done.append(name)
        yield older
    finally:
        for view in ("edges_given", "zones_given", "spans_given"):
            connection.execute(f"DROP VIEW IF EXISTS temp.{view}")
        connection.unregister("spans_new")
        for name in done:
            connection.execute(f"DETACH {name}")


def _count(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    row = connection.execute(f"SELECT count(*) FROM made.{table}").fetchone()  # noqa: S608 - a name of ours
    return int(row[0]) if row else 0
