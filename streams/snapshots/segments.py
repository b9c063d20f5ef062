"""Segments: immutable Parquet files, one table each, with the numbers of every stream that they hold."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from streams.files import settle
from streams.snapshots.directory import SEGMENTS, TEMPORARY

SPAN_COLUMNS: Mapping[str, str] = {
    "file": "VARCHAR",
    "table_name": "VARCHAR",
    "first_epoch": "BIGINT",
    "last_epoch": "BIGINT",
    "rows": "BIGINT",
    "bytes": "BIGINT",
    "digest": "VARCHAR",
    "role": "VARCHAR",
    "source": "VARCHAR",
    "stream": "VARCHAR",
    "lowest": "BIGINT",
    "highest": "BIGINT",
}

_RUN = {"own": ("source", "stream", '"first"', '"first" + step * ("count" - 1)')}
#: Where a table's numbers are, by role: source, stream, lowest and highest number of a row.
_NUMBERS: Mapping[str, Mapping[str, tuple[str, str, str, str]]] = {
    "events": _RUN,
    "decisions": _RUN,
    "shadow": _RUN,
    "rejected": {"own": ("source", "stream", '"first"', '"first" + greatest("count" - 1, 0)')},
    "models": {"own": ("source", "stream", "version", "version")},
    "edges": {
        "child": (
            "child_source",
            "child_stream",
            "child_first",
            "child_first + child_step * (child_count - 1)",
        ),
        "parent": (
            "parent_source",
            "parent_stream",
            "parent_first",
            "parent_first + parent_step * (child_count - 1) + parent_width - 1",
        ),
    },
}
#: A walk asks for the numbers of a stream: rows that lie together are read together.
_ORDER: Mapping[str, str] = {
    "events": 'source, stream, "first"',
    "decisions": 'source, stream, "first"',
    "shadow": 'source, stream, "first"',
    "rejected": 'source, stream, "first"',
    "streams": "source, stream",
    "models": "source, stream, version",
    "edges": "child_source, child_stream, child_first",
    "training_runs": "version",
    "inputs": 't_ns, "partition", "offset"',
    "policies": "version",
}


@dataclass(frozen=True, slots=True)
class Segment:
    """One finished file.

    `spans`: role, source, stream, lowest, highest of each stream in it; one of None where a table has no
    streams.
    """

    file: str
    table: str
    first_epoch: int
    last_epoch: int
    count: int
    bytes: int
    digest: str
    spans: list[tuple[Any, ...]]

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """Rows of the `segments` table."""
        for span in self.spans:
            yield (
                self.file,
                self.table,
                self.first_epoch,
                self.last_epoch,
                self.count,
                self.bytes,
                self.digest,
                *span,
            )


def write(
    connection: duckdb.DuckDBPyConnection,
    directory: Path,
    table: str,
    rows: str,
    parameters: list[Any],
    epoch: int,
    store_id: str,
) -> Segment:
    """Write the rows of the SELECT `rows` as a segment of `table`.

    It has its name only when it is whole and on disk.

    The name carries the store's id and the digest of the content, because a relative path is looked up in the
    current directory first: a file of another store must never be taken for this one.
    """
    temporary = directory / SEGMENTS / f"{table}-{epoch:08d}{TEMPORARY}"
    temporary.unlink(missing_ok=True)
    place = str(temporary)
    # Table names come from TABLES, `rows` from this package; paths and numbers are bound or quoted.
    connection.execute(
        f"COPY (SELECT * FROM ({rows}) ORDER BY {_ORDER[table]}, epoch) TO '{_escape(place)}' "  # noqa: S608
        "(FORMAT parquet, COMPRESSION zstd)",
        parameters,
    )
    with temporary.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    spans: list[tuple[Any, ...]] = []
    for role, (source, stream, lowest, highest) in _NUMBERS.get(table, {}).items():
        spans += connection.execute(
            f"SELECT ?, {source}, {stream}, min({lowest}), max({highest}) FROM read_parquet(?) "  # noqa: S608
            "GROUP BY ALL ORDER BY ALL",
            [role, place],
        ).fetchall()
    found = connection.execute(
        "SELECT min(epoch), max(epoch), count(*) FROM read_parquet(?)", [place]
    ).fetchone() or (epoch, epoch, 0)
    size = temporary.stat().st_size
    name = f"{SEGMENTS}/{table}-{epoch:08d}-{store_id}-{digest[:16]}.parquet"
    settle(temporary, directory / name)
    return Segment(name, table, found[0], found[1], found[2], size, digest, spans or [(None,) * 5])


def _escape(text: str) -> str:
    return text.replace("'", "''")
