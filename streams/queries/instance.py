"""A DuckDB of a role's own: made, fenced in and filled from the store's."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pyarrow

from streams import limits

_ROWS_AT_ONCE = 65_536


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


def fill(connection: duckdb.DuckDBPyConnection, table: str, rows: duckdb.DuckDBPyRelation) -> int | None:
    """Put rows of another instance into a table; their number, None if they take more than ROLE_ROWS_MB."""
    counted = _Counted(rows.to_arrow_reader(_ROWS_AT_ONCE))
    connection.register("arriving", counted.reader())
    connection.execute(f"INSERT INTO {table} FROM arriving")
    connection.unregister("arriving")
    return None if counted.exceeds else counted.rows


class _Counted:
    """Rows on their way from one instance to the other, as many as a role is given at most."""

    def __init__(self, rows: pyarrow.RecordBatchReader) -> None:
        self._rows = rows
        self.rows = self.bytes = 0

    @property
    def exceeds(self) -> bool:
        return self.bytes > limits.ROLE_ROWS_MB * 1024 * 1024

    def reader(self) -> pyarrow.RecordBatchReader:
        """The rows, to be read once."""
        return pyarrow.RecordBatchReader.from_batches(self._rows.schema, self._batches())

    def _batches(self) -> Iterator[pyarrow.RecordBatch]:
        for batch in self._rows:
            self.rows, self.bytes = self.rows + batch.num_rows, self.bytes + batch.nbytes
            if self.exceeds:
                return
            yield batch
