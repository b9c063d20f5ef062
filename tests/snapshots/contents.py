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


@contextmanager
def _reading(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """The newest catalog with DuckDB alone, whose every start costs 20 ms of CPU."""
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{path / 'catalog.duckdb'}' AS store (READ_ONLY)")
        connection.execute("USE store")
        connection.execute(f"SET file_search_path = '{path}'")
        yield connection


def ask(path: Path, statement: str) -> list[tuple[Any, ...]]:
    """Rows from the newest catalog."""
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
    with _reading(path) as connection:
        for (file,) in connection.execute("SELECT file FROM indexes").fetchall():
            with _attached(connection, path / file):
                pairs += Counter(map(str, connection.execute(_INDEXED).fetchall()))
    return pairs


@contextmanager
def _attached(connection: duckdb.DuckDBPyConnection, file: Path) -> Iterator[None]:
    """A database file alone, under the name `other`."""
    connection.execute(f"ATTACH '{file}' AS other (READ_ONLY)")
    connection.execute("USE other")
    try:
        yield
    finally:
        connection.execute("USE memory")
        connection.execute("DETACH other")


def hits(path: Path, names: Sequence[str]) -> list[str]:
    """Places in a store's directory that have one of some names: raw, or in any value of any file."""
    places = list[str]()
    with duckdb.connect() as connection:
        for file in sorted(path.rglob("*")):
            if file.is_file() and not file.is_symlink():
                texts = [file.read_bytes().decode("latin-1")]
                if file.suffix == ".parquet":
                    parquet = pq.ParquetFile(file)
                    texts += [str(parquet.metadata.to_dict()), str(parquet.read().to_pydict())]
                elif file.suffix == ".duckdb":
                    texts.append(_dumped(connection, file))
                places += [f"{file.name}: {name}" for name in names for text in texts if name in text]
    return places


def _dumped(connection: duckdb.DuckDBPyConnection, file: Path) -> str:
    with _attached(connection, file):
        tables = connection.execute(
            "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = 'other'"
        ).fetchall()
        rows = [connection.execute(f'FROM other."{of}"."{table}"').fetchall() for of, table in tables]
        views = connection.execute("SELECT sql FROM duckdb_views() WHERE database_name = 'other'").fetchall()
        assert tables or views, f"{file} was read as empty"
        return str([tables, rows, views])
