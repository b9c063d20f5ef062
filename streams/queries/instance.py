"""A DuckDB database of a role's own: made, locked against files, and filled from the store's."""

from __future__ import annotations

import duckdb
import pyarrow

from streams import limits

#: Of rows that go from one instance to another.
ROWS_AT_ONCE = 65_536


def make(files: str) -> duckdb.DuckDBPyConnection:
    """A DuckDB of its own that reaches `files` (a list in SQL), no other and no object of this process."""
    connection = duckdb.connect(
        config={
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "memory_limit": f"{limits.ROLE_MEMORY_MB}MB",
            # What does not fit fails; nothing of the store is written anywhere.
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
    """Names of all tables and views of an instance, DuckDB's own included."""
    named = (
        "SELECT view_name FROM system.main.duckdb_views() "
        "UNION SELECT table_name FROM system.main.duckdb_tables()"
    )
    return frozenset(name for (name,) in connection.execute(named).fetchall())


def keep(connection: duckdb.DuckDBPyConnection, name: str, rows: duckdb.DuckDBPyRelation) -> int | None:
    """Let an instance read rows of another one under a name; their number, None if they exceed ROLE_ROWS_MB.

    They stay in Arrow: statements over tables of DuckDB's own beside Parquet are planned badly, as it knows
    how many distinct values the one has and not the other.
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
