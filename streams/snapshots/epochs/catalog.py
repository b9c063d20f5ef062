"""The catalog of an epoch: a small DuckDB file with views over the current segments, made from a template."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import duckdb
import pyarrow as pa

from streams import files
from streams.lineage.kept import OVER_NS, TIMED, overdue, staying
from streams.lineage.tables import STORED, TABLES
from streams.quoting import quoted
from streams.recorder import OPERATIONS, linked
from streams.snapshots.epochs import comments
from streams.snapshots.epochs.hot import Hot
from streams.snapshots.files.directory import CATALOG, STORAGE_VERSION, TEMPORARY, catalog_name, sync
from streams.snapshots.files.segments import types_of

_VIEWS = Path(__file__).with_name("views.sql")
#: Tables that are copied from the hot file to a catalog; their size does not grow with history.
_CONTENT: Mapping[str, str] = {
    "epoch_rows": "SELECT epoch, published_ns, offsets, rows, cluster, topic FROM epochs",
    "segments": (
        "SELECT file, table_name, first_epoch, last_epoch, rows, bytes, digest, classes, fresh FROM segments "
        "WHERE superseded IS NULL ORDER BY table_name, first_epoch"
    ),
    "spans": (
        "SELECT file, role, source, stream, lowest, highest FROM spans SEMI JOIN "
        "(FROM segments WHERE superseded IS NULL AND NOT listed AND (fresh OR table_name NOT IN ('edges', "
        "'zone_runs'))) USING (file)"
    ),
    "indexes": (
        "SELECT file, first_epoch, last_epoch, edges, zone_runs, bytes, digest FROM indexes "
        "WHERE superseded IS NULL ORDER BY first_epoch"
    ),
    "classes": "FROM classes",
    "erasures": "SELECT number, at_ns, epoch, rows, files, rewritten_ns, absent_ns FROM erasures",
    "store": "FROM store",
}


@cache
def template() -> bytes:
    """Content of a catalog with all its views and no rows but those of `io_coverage`, which never change.

    It is made once per process, because making it takes longer than publishing an epoch.
    """
    with files.working_directory("catalog") as directory, duckdb.connect() as connection:
        path = directory / CATALOG
        connection.execute(
            f"ATTACH {quoted(str(path))} AS next (STORAGE_VERSION '{STORAGE_VERSION}', BLOCK_SIZE 16384)"
        )
        connection.execute("USE next")
        connection.execute("CREATE SCHEMA files")
        for table in (*TABLES, *STORED):
            connection.execute(_files_view("next", table, []))
        text = _VIEWS.read_text(encoding="utf-8")
        text = text.replace("OVER_NS", OVER_NS)
        for table in TIMED:
            text = text.replace(
                f"FROM staying.{table}", f"FROM {staying(table, f'files.{table}', 'keeping')}"
            )
            text = text.replace(f"FROM overdue.{table}", f"FROM {overdue(table)}")
        for statement in duckdb.extract_statements(text):
            connection.execute(statement)
        _declare(connection)
        _comment(connection)
        connection.execute("USE memory")
        connection.execute("DETACH next")
        return path.read_bytes()


def _declare(connection: duckdb.DuckDBPyConnection) -> None:
    """Write the operations that move data of events, as they are declared in the code."""
    recorded = linked(OPERATIONS)
    connection.executemany(
        f"INSERT INTO io_coverage VALUES ({', '.join('?' * 11)})",  # noqa: S608 - marks
        [
            (
                each.name,
                each.direction,
                each.asset,
                each.step,
                each.name in recorded,
                list(each.reads),
                list(each.recorded_in),
                each.reason,
                len(each.sites),
                each.counted,
                each.key,
            )
            for each in OPERATIONS
        ],
    )


def _comment(connection: duckdb.DuckDBPyConnection) -> None:
    """Set the comment of every view and column that readers see.

    KeyError if `comments` has no text for one.
    """
    ours = "WHERE database_name = 'next' AND schema_name = 'main' AND NOT internal ORDER BY ALL"
    views = connection.execute(f"SELECT view_name, 'VIEW' FROM duckdb_views() {ours}").fetchall()  # noqa: S608 - a constant
    tables = connection.execute(f"SELECT table_name, 'TABLE' FROM duckdb_tables() {ours}").fetchall()  # noqa: S608 - a constant
    columns = connection.execute(f"SELECT table_name, column_name FROM duckdb_columns() {ours}").fetchall()  # noqa: S608 - a constant
    connection.execute("BEGIN")
    for statement in comments.statements(views + tables, columns):
        connection.execute(statement)
    connection.execute("COMMIT")


def write(hot: Hot, directory: Path, epoch: int, content: Mapping[str, pa.Table]) -> None:
    """Write `catalog-<epoch>.duckdb`; it gets this name only when it is complete and on disk.

    `content` are rows of tables that do not follow from the hot file.
    """
    temporary = directory / f"{CATALOG}{TEMPORARY}"
    temporary.unlink(missing_ok=True)
    # A write-ahead log that a killed writer left belongs to another file, and DuckDB would refuse to open
    # the new file with it.
    temporary.with_name(f"{temporary.name}.wal").unlink(missing_ok=True)
    with files.create(temporary) as file:
        file.write(template())
    connection = hot.connection
    connection.execute(
        f"ATTACH {quoted(str(temporary))} AS next (STORAGE_VERSION '{STORAGE_VERSION}', BLOCK_SIZE 16384, "
        # Everything is written to the file when it is detached; it is not needed before.
        "RECOVERY_MODE no_wal_writes)"
    )
    try:
        with hot.transaction():
            for table, names in hot.files.current_files().items():
                connection.execute(_files_view("next", table, names))
            for table, rows in _CONTENT.items():
                connection.execute(f"INSERT INTO next.{table} BY NAME {rows}")
            for table, given in content.items():
                with hot.incoming(given):
                    connection.execute(f"INSERT INTO next.{table} BY NAME FROM incoming")
    finally:
        connection.execute("DETACH next")
    files.settle(temporary, directory / catalog_name(epoch))
    sync(directory)


def _files_view(catalog: str, table: str, files: list[str]) -> str:
    """View over a table's current segments; empty but typed if there are none."""
    if files:
        listed = ", ".join(quoted(file) for file in files)
        body = f"SELECT * FROM read_parquet([{listed}])"  # noqa: S608 - names are ours
    else:
        nulls = ", ".join(f"NULL::{kind} AS {name}" for name, kind in types_of(table).items())
        body = f"SELECT {nulls} WHERE false"
    return f"CREATE OR REPLACE VIEW {catalog}.files.{table} AS {body}"
