"""The result of an SQL statement as Arrow, pandas, Polars or plain Python values."""

from __future__ import annotations

import importlib
from contextlib import closing, suppress
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow

from streams import limits
from streams.errors import InputError, UnavailableError
from streams.queries.instance import ROWS_AT_ONCE

if TYPE_CHECKING:
    # Optional packages.
    import pandas
    import polars


@dataclass(frozen=True, slots=True)
class Table:
    """Rows with named columns, in memory as Arrow. Immutable, and valid after its store is closed."""

    _rows: pyarrow.Table

    @classmethod
    def read(cls, relation: duckdb.DuckDBPyRelation) -> Table:
        """Read all rows of a relation; InputError if they take more than TABLE_MB megabytes."""
        batches, size_bytes = [], 0
        # An open reader blocks other statements on the connection.
        with closing(relation.to_arrow_reader(ROWS_AT_ONCE)) as reader:
            for batch in reader:
                size_bytes += batch.nbytes
                if size_bytes > limits.TABLE_MB * 1024 * 1024:
                    raise InputError(
                        f"sql: found an answer of more than {limits.TABLE_MB:,} MB, expected a smaller one; "
                        "count or group in SQL, name the columns that you need, or ask for some streams at a "
                        "time"
                    )
                batches.append(batch)
        rows = pyarrow.Table.from_batches(batches, reader.schema)
        for number, kind in enumerate(relation.types):
            # Sums of integers have 128 bits in DuckDB, a type that pandas and Polars do not have.
            if kind == "HUGEINT":
                with suppress(pyarrow.ArrowInvalid):
                    narrow = rows.column(number).cast(pyarrow.int64())
                    rows = rows.set_column(number, rows.column_names[number], narrow)
        return cls(rows)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns, in the order of the statement."""
        return tuple(self._rows.column_names)

    def __len__(self) -> int:
        return int(self._rows.num_rows)

    def to_dicts(self) -> list[dict[str, Any]]:
        """Rows as dictionaries of plain Python values; if columns share a name, the last one counts."""
        rows: list[dict[str, Any]] = self._rows.to_pylist()
        return rows

    def arrow(self) -> pyarrow.Table:
        """Rows as a `pyarrow.Table`, without a copy."""
        return self._rows

    def df(self) -> pandas.DataFrame:
        """Rows as a `pandas.DataFrame`; UnavailableError if pandas is not installed."""
        _package("pandas", "df")
        return self._rows.to_pandas()

    def pl(self) -> polars.DataFrame:
        """Rows as a `polars.DataFrame`; UnavailableError if Polars is not installed."""
        return _package("polars", "pl").from_arrow(self._rows)


def _package(name: str, method: str) -> ModuleType:
    """Import an optional package that a method of `Table` needs."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise UnavailableError(
            f"table.{method}(): the package {name} is not installed; `pip install {name}`, or take .arrow() "
            "or .to_dicts(), which need nothing more"
        ) from None
