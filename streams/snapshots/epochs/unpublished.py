"""Rows that no epoch has yet. They are only in memory, because after a crash they are read again."""

from __future__ import annotations

from collections.abc import Mapping

import duckdb
import numpy as np
import pyarrow as pa

from streams.snapshots.files.columnar import compacted
from streams.snapshots.files.segments import schema_of


class Unpublished:
    """Rows by table in order of arrival; repeated texts are dictionary arrays."""

    def __init__(self) -> None:
        self._held: dict[str, list[pa.Table]] = {}
        self._shown = set[str]()

    def add(self, tables: Mapping[str, pa.Table], connection: duckdb.DuckDBPyConnection) -> None:
        """Add rows after those that wait already, and show them to statements of `connection`."""
        for table, rows in tables.items():
            if len(rows):
                self._held.setdefault(table, []).append(rows)
                self._hide(table, connection)

    def rows(self) -> dict[str, int]:
        """Number of waiting rows by table; tables without any are left out."""
        return {table: sum(map(len, some)) for table, some in self._held.items()}

    def of(self, number: int) -> dict[str, pa.Table]:
        """Return the waiting rows by table, as rows of epoch `number`."""
        by_table = {}
        for table, some in self._held.items():
            rows = compacted(pa.concat_tables(some).unify_dictionaries())
            by_table[table] = rows.append_column("epoch", pa.array(np.full(len(rows), number)))
        return by_table

    def shown(self, table: str, connection: duckdb.DuckDBPyConnection) -> str:
        """Name by which statements of `connection` can read the waiting rows of a table."""
        name = f"waiting_{table}"
        if table not in self._shown:
            some = self._held.get(table) or [schema_of(table).empty_table().drop_columns(["epoch"])]
            connection.register(name, pa.concat_tables(some).unify_dictionaries())
            self._shown.add(table)
        return name

    def _hide(self, table: str, connection: duckdb.DuckDBPyConnection) -> None:
        if table in self._shown:
            connection.unregister(f"waiting_{table}")
            self._shown.remove(table)

    def clear(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Forget all rows, because an epoch has them."""
        for table in [*self._shown]:
            self._hide(table, connection)
        self._held.clear()

    def opened_again(self) -> None:
        """Note that the connection is a new one, in which no table is registered yet."""
        self._shown.clear()
