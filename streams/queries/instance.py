"""A DuckDB instance for a single role: without access to files, and filled from the store's connection."""

from __future__ import annotations

import duckdb
import pyarrow

from streams import limits

#: Rows per batch when rows are copied from one instance to another.
ROWS_AT_ONCE = 65_536


def make(files: str) -> duckdb.DuckDBPyConnection:
    """Make a DuckDB instance that can read `files` (a list in SQL), and no other file or Python object."""
    connection = duckdb.connect(
        config={
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "memory_limit": f"{limits.ROLE_MEMORY_MB}MB",
            # Fail rather than write data of the store to a temporary file.
            "temp_directory": "",
        }
    )
    for setting in (
        "TimeZone = 'UTC'",
        "parquet_metadata_cache = true",
        "python_enable_replacements = false",
        f"allowed_paths = {files}",
        "enable_external_access = false",
        "lock_configuration = true",
    ):
        connection.execute(f"SET {setting}")
    return connection


def names_in(connection: duckdb.DuckDBPyConnection) -> frozenset[str]:
    """Names of all tables and views of an instance, including DuckDB's own."""
    named = (
        "SELECT view_name FROM system.main.duckdb_views() "
        "UNION SELECT table_name FROM system.main.duckdb_tables()"
    )
    return frozenset(name for (name,) in connection.execute(named).fetchall())


def keep(connection: duckdb.DuckDBPyConnection, name: str, rows: duckdb.DuckDBPyRelation) -> int | None:
    """Copy rows of another instance under a name; return their number, None if they exceed ROLE_ROWS_MB.

    The rows stay in Arrow. DuckDB plans joins of its own tables with Parquet files badly, because it knows
    the number of distinct values for the former only.
    """
    reader = rows.to_arrow_reader(ROWS_AT_ONCE)
    batches, size = [], 0
    for batch in reader:
        size += batch.nbytes
        if size > limits.ROLE_ROWS_MB * 1024 * 1024:
            return None
        batches.append(batch)
    table = pyarrow.Table.from_batches(batches, reader.schema)
    connection.register(name, table)
    return int(table.num_rows)
