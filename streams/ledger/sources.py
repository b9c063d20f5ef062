"""The ledger's own reader of the published store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from streams.errors import DamagedError, UnavailableError
from streams.ledger.runs import NONE, ByStream, Data, Ints, intervals, spread
from streams.quoting import quoted

#: SQL for a digest as two columns of 64 bits; text that is no digest becomes zero.
HALVES = ", ".join(
    f"coalesce(TRY_CAST('0x' || {{0}}[{first}:{first + 15}] AS UBIGINT), 0)" for first in (1, 17)
)


def numbered(side: str = "") -> str:
    """SQL for `source/stream[.revision]`; `side` is the prefix of the columns (none, `child_`, `parent_`)."""
    revision = f"CASE WHEN {side}revision > 0 THEN '.' || {side}revision ELSE '' END"
    return f"{side}source || '/' || {side}stream || {revision}"


class StoreReader:
    """The published store, opened as docs/sql.md says: ATTACH, USE, SET file_search_path."""

    def __init__(self, directory: Path) -> None:
        directory = directory.resolve()
        catalog = (directory / "catalog.duckdb").resolve()
        if not catalog.exists():
            raise UnavailableError(
                f"{directory}: no epoch has been published; run `sightline snapshots` first"
            )
        self._connection, self._directory = duckdb.connect(), directory
        with self._reading():
            self._connection.execute(f"ATTACH {quoted(str(catalog))} AS store (READ_ONLY)")
            self._connection.execute("USE store")
            self._connection.execute(f"SET file_search_path = {quoted(str(directory))}")

    def close(self) -> None:
        """Close the store."""
        self._connection.close()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Translate DuckDB's errors about unreadable files."""
        try:
            yield
        except duckdb.Error as error:
            raise DamagedError(
                f"{self._directory}: found a store whose files DuckDB cannot read ({type(error).__name__}); "
                "bring it back from a copy, or make it again from glasses.lineage"
            ) from None

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """All rows of a statement."""
        with self._reading():
            return self._connection.execute(statement).fetchall()

    def names(self, table: str) -> set[str]:
        """Columns of a table."""
        return {str(name) for name, *_ in self.rows(f"DESCRIBE {table}")}

    def scalar(self, statement: str) -> Any:
        """First column of the first row."""
        return self.rows(statement)[0][0]

    def columns(self, statement: str) -> dict[str, Any]:
        """All rows of a statement as NumPy columns; there must be no NULL."""
        with self._reading():
            columns = self._connection.execute(statement).fetchnumpy()
        return {name: np.asarray(column) for name, column in columns.items()}

    def grouped(self, statement: str) -> dict[str, list[Ints]]:
        """Columns of numbers, grouped by the text in the first column, in the order of the statement."""
        with self._reading():
            table: Any = self._connection.sql(statement).to_arrow_table()
        names = table.column(0).combine_chunks().dictionary_encode()
        index = names.indices.to_numpy()
        order = np.argsort(index, kind="stable")
        cuts = np.searchsorted(index[order], np.arange(1, len(names.dictionary)))
        parts = [
            np.split(column.to_numpy()[order].astype(np.int64, copy=False), cuts)
            for column in table.columns[1:]
        ]
        return {key: [part[i] for part in parts] for i, key in enumerate(names.dictionary.to_pylist())}

    def spread(self, statement: str) -> ByStream:
        """Intervals by stream, of a statement that returns key, first, step, count, width."""
        return {key: spread(*columns) for key, columns in self.grouped(statement).items()} or {"": NONE}

    def data(self, statement: str) -> dict[str, Data]:
        """Runs with digests by stream, of a statement that returns key, first, count and HALVES."""
        return {
            key: Data(intervals(first, count), np.column_stack((high, low)))
            for key, (first, count, high, low) in self.grouped(statement).items()
        }
