"""What a store holds, read with DuckDB and PyArrow alone: event by event, and byte by byte."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
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


def ask(path: Path, statement: str) -> list[tuple[Any, ...]]:
    """Rows from the newest catalog with DuckDB alone."""
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{path / 'catalog.duckdb'}' AS store (READ_ONLY)")
        connection.execute("USE store")
        connection.execute(f"SET file_search_path = '{path}'")
        return connection.execute(statement).fetchall()


def content(path: Path) -> dict[str, Counter[str]]:
    """What a store says, event by event, however it is cut into runs, rows and epochs."""
    return {name: Counter(map(str, ask(path, statement))) for name, statement in _CONTENT.items()}


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
        with duckdb.connect(str(path / file), read_only=True) as connection:
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
    with duckdb.connect(str(file), read_only=True) as connection:
        tables = connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()
        rows = [connection.execute(f'FROM "{table}"').fetchall() for (table,) in tables]
        return str([tables, rows, connection.execute("SELECT sql FROM duckdb_views()").fetchall()])
