"""The ledger's own reader of the published store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from streams.errors import DamagedError, InputError, UnavailableError
from streams.ledger.runs import NONE, ByStream, Data, Intervals, Ints, intervals, spread
from streams.quoting import quoted

#: SQL for a digest as two columns of 64 bits; text that is no digest becomes zero.
HALVES = ", ".join(
    f"coalesce(TRY_CAST('0x' || {{0}}[{first}:{first + 15}] AS UBIGINT), 0)" for first in (1, 17)
)

#: More epochs than a store has.
_APART = 10**12


def numbered(side: str = "") -> str:
    """SQL for `source/stream[.revision]`; `side` is the prefix of the columns (none, `child_`, `parent_`)."""
    revision = f"CASE WHEN {side}revision > 0 THEN '.' || {side}revision ELSE '' END"
    return f"{side}source || '/' || {side}stream || {revision}"


def _union(connection: duckdb.DuckDBPyConnection, names: Sequence[str]) -> str:
    """Statements that make the views of several stores as one, in memory.

    A store's epochs are counted apart from those of the one before it, and a stream of two stores is one.
    """
    views = connection.execute(
        "SELECT view_name FROM duckdb_views() "
        "WHERE database_name = ? AND schema_name = 'main' AND NOT internal",
        [names[0]],
    ).fetchall()
    made = []
    for (view,) in views:
        columns = {name for name, *_ in connection.execute(f"DESCRIBE {names[0]}.{view}").fetchall()}
        rows = " UNION ALL ".join(
            f"SELECT * {f'REPLACE (epoch + {place * _APART} AS epoch)' if 'epoch' in columns else ''} "  # noqa: S608 - ours
            f"FROM {name}.{view}"
            for place, name in enumerate(names)
        )
        if view == "streams":
            rows = (
                "SELECT source, stream, any_value(kind) AS kind, bool_or(captured) AS captured, "  # noqa: S608
                f"min(epoch) AS epoch FROM ({rows}) GROUP BY source, stream"
            )
        made.append(f"CREATE VIEW memory.main.{view} AS {rows}")
    return "; ".join(made)


class StoreReader:
    """The published store, opened as docs/sql.md says: ATTACH, USE, SET file_search_path.

    Several stores, each with some partitions, are read as one: each of its views holds the rows of all.
    `reached` are the offsets of `glasses.lineage` by partition below which their newest epochs hold
    everything.
    """

    def __init__(self, *directories: Path) -> None:
        resolved = [directory.resolve() for directory in directories]
        catalogs = [(directory / "catalog.duckdb").resolve() for directory in resolved]
        for directory, catalog in zip(resolved, catalogs, strict=True):
            if not catalog.exists():
                raise UnavailableError(
                    f"{directory}: no epoch has been published; run `sightline snapshots` first"
                )
        self._connection, self._named = duckdb.connect(), " and ".join(map(str, resolved))
        names = ["store", *(f"store_{place}" for place in range(1, len(resolved)))]
        with self._reading():
            # The names of a store's files have its id, so each is in one of the directories.
            self._connection.execute(f"SET file_search_path = {quoted(','.join(map(str, resolved)))}")
            for name, catalog in zip(names, catalogs, strict=True):
                self._connection.execute(f"ATTACH {quoted(str(catalog))} AS {name} (READ_ONLY)")
        self._refuse_overlap(dict(zip(names, resolved, strict=True)))
        self.reached: dict[int, int] = {}
        for name in names:
            newest = self.rows(f"SELECT offsets FROM {name}.epochs ORDER BY epoch DESC LIMIT 1")  # noqa: S608
            self.reached |= dict(newest[0][0]) if newest else {}
        with self._reading():
            self._connection.execute("USE store" if len(names) == 1 else _union(self._connection, names))

    def _refuse_overlap(self, directories: Mapping[str, Path]) -> None:
        """Raise InputError if a partition is in two of several stores, because its rows would count twice."""
        holder: dict[int, Path] = {}
        for name, directory in directories.items() if len(directories) > 1 else ():
            told = "partitions" in self.names(f"{name}.store")
            partitions = self.scalar(f"SELECT partitions FROM {name}.store") if told else None  # noqa: S608
            if partitions is None:
                raise InputError(
                    f"{directory}: found a store of every partition beside others, expected stores that hold "
                    "some each"
                )
            for partition in partitions:
                if partition in holder:
                    raise InputError(
                        f"{holder[partition]} and {directory}: found partition {partition} in both, expected "
                        "each partition in one store"
                    )
                holder[partition] = directory

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
                f"{self._named}: found a store whose files DuckDB cannot read ({type(error).__name__}); "
                "bring it back from a copy, or make it again from glasses.lineage"
            ) from None

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """All rows of a statement."""
        with self._reading():
            return self._connection.execute(statement).fetchall()

    def names(self, table: str) -> set[str]:
        """Columns of a table."""
        return {str(name) for name, *_ in self.rows(f"DESCRIBE {table}")}

    def of_each(self, table: str, columns: str, where: str = "true") -> list[tuple[Any, ...]]:
        """Rows of a table of the catalogs, of the stores that have it; catalogs of before may lack it."""
        have = self.rows(
            f"SELECT table_catalog FROM information_schema.tables WHERE table_name = {quoted(table)} "  # noqa: S608
            "AND table_catalog <> 'memory' AND table_schema = 'main'"
        )
        statements = (f"SELECT {columns} FROM {name}.{table} WHERE {where}" for (name,) in have)  # noqa: S608
        return [row for statement in statements for row in self.rows(statement)]

    @cached_property
    def over(self) -> ByStream:
        """Numbers by `source/stream` whose retention is over: what had them is not in the store any more."""
        rows = [
            *self.of_each("expired", "source || '/' || stream, low, 1, high - low + 1, 1"),
            *self.of_each("overdue", 'source || \'/\' || stream, "first", step, "count", 1'),
        ]
        by_stream: dict[str, list[tuple[int, ...]]] = {}
        for name, *numbers in rows:
            by_stream.setdefault(name, []).append((*numbers,))
        return {name: spread(*np.array(some, np.int64).T) for name, some in by_stream.items()}

    def over_of(self, key: str) -> Intervals:
        """The same of one stream; a revision (`source/stream.2`) has the numbers of its stream."""
        return self.over.get(key.partition(".")[0], NONE)

    def hold(self) -> None:
        """Let the clock stand for all that is asked from now on, so that nothing is over meanwhile."""
        self.rows("BEGIN TRANSACTION")

    def given(self, name: str, table: pa.Table) -> None:
        """Let statements read a table by a name."""
        self._connection.register(name, table)

    def table(self, statement: str) -> pa.Table:
        """All rows of a statement in Arrow."""
        with self._reading():
            return self._connection.sql(statement).to_arrow_table()

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
        table: Any = self.table(statement)
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
