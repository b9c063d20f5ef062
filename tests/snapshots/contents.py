"""What a store holds, read with DuckDB and PyArrow alone: event by event, and byte by byte."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

_NUMBERED = (
    'SELECT * EXCLUDE ("first", step, "count", epoch), "first" + step * unnest(range("count")) FROM {}'
)
_CONTENT = {
    "events": "SELECT * EXCLUDE (epoch) FROM files.events",
    "pairs": "SELECT * EXCLUDE (epoch) FROM edge_records",
    **{table: _NUMBERED.format(f"files.{table}") for table in ("decisions", "shadow")},
    **{
        table: f"SELECT * EXCLUDE (epoch) FROM files.{table}"
        for table in ("rejected", "feedback", "streams", "inputs", "training_checks")
    },
    # No record says that a run was begun by none, so the other world says that the seed began it.
    "training_runs": (
        "SELECT * EXCLUDE (epoch) REPLACE "
        """(CASE "trigger" WHEN '-' THEN 'seed' ELSE "trigger" END AS "trigger") FROM files.training_runs"""
    ),
    "zones": (
        "SELECT DISTINCT e.id, z.wearer, z.zone, z.label, z.consent FROM event_records e "
        "JOIN files.zone_runs z ON e.source = z.source AND e.stream = z.stream "
        "AND e.revision = z.revision AND e.number BETWEEN z.low AND z.high"
    ),
}


#: One for all that is read: to start one costs more than most statements, 20 ms of CPU.
_DUCKDB = duckdb.connect()


@contextmanager
def _attached(file: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """DuckDB with a database file and nothing else; names without a database are that file's."""
    _DUCKDB.execute(f"ATTACH '{file}' AS store (READ_ONLY)")
    try:
        _DUCKDB.execute("USE store")
        yield _DUCKDB
    finally:
        _DUCKDB.execute("USE memory")
        _DUCKDB.execute("DETACH store")


@contextmanager
def _reading(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """The newest catalog with DuckDB alone."""
    with _attached(path / "catalog.duckdb") as connection:
        connection.execute(f"SET file_search_path = '{path}'")
        yield connection


def ask(path: Path, statement: str) -> list[tuple[Any, ...]]:
    """Rows from the newest catalog with DuckDB alone."""
    with _reading(path) as connection:
        return connection.execute(statement).fetchall()


def content(path: Path) -> dict[str, Counter[str]]:
    """What a store says, event by event, however it is cut into runs, rows and epochs."""
    with _reading(path) as connection:
        return {
            name: Counter(map(str, connection.execute(statement).fetchall()))
            for name, statement in _CONTENT.items()
        }


_INDEXED = """
SELECT child_source, child_stream, child + i * step, parent_source, parent_stream, parent + i * advance + w
FROM (SELECT *, unnest(range(parent_width)) AS w FROM (SELECT *, unnest(range(child_count)) AS i,
    child_first_base + child_first AS child, child_step_base + child_step AS step,
    child_first_base + child_first + parent_offset_base + parent_offset AS parent,
    child_step_base + child_step + step_offset_base + step_offset AS advance
FROM edges JOIN relations USING (relation)))"""


def indexed(path: Path) -> Counter[str]:
    """Pairs of child and parent in the indexes, from which questions about folded files are answered."""
    pairs = Counter[str]()
    for (file,) in ask(path, "SELECT file FROM indexes"):
        with _attached(path / file) as connection:
            pairs += Counter(map(str, connection.execute(_INDEXED).fetchall()))
    return pairs


def hits(path: Path, names: Sequence[str]) -> list[str]:
    """Places in a store's directory that have one of some names: raw, or in any value of any file."""
    places = list[str]()
    for file in sorted(path.rglob("*")):
        if file.is_file() and not file.is_symlink():
            texts = [file.read_bytes().decode("latin-1")]
            if file.suffix == ".parquet":
                parquet = pq.ParquetFile(file)
                texts += [str(parquet.metadata.to_dict()), str(parquet.read().to_pydict())]
            elif file.suffix == ".duckdb":
                texts.append(_dumped(file))
            places += [f"{file.name}: {name}" for name in names for text in texts if name in text]
    return places


def _dumped(file: Path) -> str:
    ours = "WHERE database_name = 'store'"
    with _attached(file) as connection:
        tables = connection.execute(f"SELECT schema_name, table_name FROM duckdb_tables() {ours}").fetchall()
        rows = [connection.execute(f'FROM "{schema}"."{table}"').fetchall() for schema, table in tables]
        views = connection.execute(f"SELECT sql FROM duckdb_views() {ours}").fetchall()
        assert tables, f"{file} was read as empty"
        return str([tables, rows, views])
