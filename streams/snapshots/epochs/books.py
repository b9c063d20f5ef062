"""Tables of the hot file other than those of rows, and how an empty hot file is made."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from streams import limits
from streams.lineage.tables import TABLES
from streams.quoting import quoted
from streams.snapshots.files.directory import HOT, TEMPORARY, sync
from streams.snapshots.files.segments import Segment, types_of

#: Small blocks, because the file has many short tables.
BLOCK_BYTES = 16_384
SEGMENT_COLUMNS = pa.schema(
    {
        "file": pa.string(),
        "table_name": pa.string(),
        "first_epoch": pa.int64(),
        "last_epoch": pa.int64(),
        "rows": pa.int64(),
        "bytes": pa.int64(),
        "digest": pa.string(),
        "classes": pa.list_(pa.int32()),
        "fresh": pa.bool_(),
        "audience": pa.int32(),
        "listed": pa.bool_(),
    }
)
SPAN_COLUMNS = pa.schema(
    {
        "file": pa.string(),
        "table_name": pa.string(),
        "role": pa.string(),
        "source": pa.string(),
        "stream": pa.string(),
        "lowest": pa.int64(),
        "highest": pa.int64(),
    }
)
CLASS_COLUMNS = pa.schema(
    {"class": pa.int32(), "policy_version": pa.string(), "zone": pa.string(), "label": pa.string()}
)
INDEX_COLUMNS = pa.schema(
    {
        "file": pa.string(),
        "first_epoch": pa.int64(),
        "last_epoch": pa.int64(),
        "edges": pa.int64(),
        "zone_runs": pa.int64(),
        "bytes": pa.int64(),
        "digest": pa.string(),
    }
)
_BOOKS = (
    'CREATE TABLE offsets (topic VARCHAR, "partition" INTEGER, next_offset BIGINT)',
    "CREATE TABLE epochs (epoch BIGINT, state VARCHAR, published_ns BIGINT, offsets MAP(INTEGER, BIGINT), "
    "rows BIGINT, cluster VARCHAR, topic VARCHAR)",
    "CREATE TABLE segments (file VARCHAR, table_name VARCHAR, first_epoch BIGINT, last_epoch BIGINT, rows "
    "BIGINT, bytes BIGINT, digest VARCHAR, classes INTEGER[], fresh BOOLEAN, audience INTEGER, "
    "listed BOOLEAN, superseded BIGINT)",
    "CREATE TABLE spans (file VARCHAR, table_name VARCHAR, role VARCHAR, source VARCHAR, stream VARCHAR, "
    "lowest BIGINT, highest BIGINT)",
    "CREATE TABLE indexes (file VARCHAR, first_epoch BIGINT, last_epoch BIGINT, edges BIGINT, zone_runs "
    "BIGINT, bytes BIGINT, digest VARCHAR, superseded BIGINT)",
    "CREATE TABLE classes (class INTEGER, policy_version VARCHAR, zone VARCHAR, label VARCHAR)",
    "CREATE TABLE store (id VARCHAR, version INTEGER, cluster VARCHAR, topic VARCHAR, "
    "partitions INTEGER[], partition_count INTEGER)",
    "CREATE TABLE migrations (name VARCHAR, done_ns BIGINT)",
)
"""Tables of the file besides those of rows: offsets, the newest epochs, and the files of the store."""
LATER = (
    "CREATE TABLE IF NOT EXISTS erasures (mark VARCHAR, number BIGINT, at_ns BIGINT, epoch BIGINT, "
    "rows BIGINT, files BIGINT, rewritten_ns BIGINT, absent_ns BIGINT, owed BOOLEAN)",
    "CREATE TABLE IF NOT EXISTS erased_runs (mark VARCHAR, place VARCHAR, revision BIGINT, low BIGINT, "
    "high BIGINT)",
    "CREATE TABLE IF NOT EXISTS keeping (heard_ns BIGINT, clock_ns BIGINT, passed_ns BIGINT, "
    "began_ns BIGINT)",
)
"""Erasures, the runs of erased events, and retention. A store of before gets these tables when it is opened.

`keeping` has one row: the broker's time, the machine's at that moment, and the time up to which what is over
was taken out, and that of the first record (0: unknown).
`mark` names a wearer and `place` a device or stream, both by a hash that only the key store can make.
"""


class Database:
    """An open DuckDB file with transactions."""

    connection: duckdb.DuckDBPyConnection

    @contextmanager
    def incoming(self, content: pa.Table) -> Iterator[None]:
        """Let statements in the block read `content` under the name `incoming`."""
        self.connection.register("incoming", content)
        try:
            yield
        finally:
            self.connection.unregister("incoming")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Run the statements of the block as one transaction."""
        self.connection.execute("BEGIN")
        try:
            yield
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")

    def only_row(self, statement: str) -> tuple[Any, ...]:
        """Return the only row of a statement."""
        [row] = self.connection.execute(statement).fetchall()
        only: tuple[Any, ...] = row
        return only


@dataclass(frozen=True, slots=True)
class Epoch:
    """The newest epoch and the step that its publication has reached."""

    number: int
    state: str


def row_of(segment: Segment) -> tuple[Any, ...]:
    """The segment as a row of SEGMENT_COLUMNS."""
    return (
        segment.file,
        segment.table,
        segment.first_epoch,
        segment.last_epoch,
        segment.rows,
        segment.bytes,
        segment.digest,
        segment.classes,
        segment.fresh,
        segment.audience,
        False,
    )


def made(table: str) -> str:
    """Statement that makes the table of a file's rows, unless it exists."""
    columns = ", ".join(f"{name} {kind}" for name, kind in types_of(table).items())
    return f"CREATE TABLE IF NOT EXISTS {table} ({columns})"


def create(directory: Path) -> None:
    """Make an empty hot file under a temporary name, then rename it, so that it is always complete."""
    temporary = directory / f"{HOT}{TEMPORARY}"
    temporary.unlink(missing_ok=True)
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH {quoted(str(temporary))} AS next (BLOCK_SIZE {BLOCK_BYTES})")
        connection.execute("USE next")
        for table in TABLES:
            connection.execute(made(table))
        for statement in _BOOKS:
            connection.execute(statement)
        connection.execute(
            "INSERT INTO store VALUES (?, ?, '', '', NULL, NULL)",
            [secrets.token_hex(4), limits.STORE_VERSION],
        )
        connection.execute("USE memory")
        connection.execute("DETACH next")
    sync(temporary)
    temporary.replace(directory / HOT)
    sync(directory)
