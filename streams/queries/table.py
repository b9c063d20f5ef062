"""A table of rows that SQL gave, as a program takes it: in Arrow, pandas, Polars or plain values."""

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
    # Neither is needed to install or run Sightline.
    import pandas
    import polars


@dataclass(frozen=True, slots=True)
class Table:
    """Rows by named columns, held in memory as Arrow has them; nothing of them is read again.

    It does not change, and stays when its store is closed.
    """

    _rows: pyarrow.Table

    @classmethod
    def read(cls, relation: duckdb.DuckDBPyRelation) -> Table:
        """Read all rows of a relation; InputError where they take more than TABLE_MB megabytes."""
        batches, size_bytes = [], 0
        # Until the reader is closed, DuckDB runs nothing else on the connection.
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
            # A sum of integers has 128 bits, for which the packages that take a table have no numbers.
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
        """Rows in plain values of Python, each by column name; of columns of one name the last counts."""
        rows: list[dict[str, Any]] = self._rows.to_pylist()
        return rows

    def arrow(self) -> pyarrow.Table:
        """Rows as a `pyarrow.Table`, without a copy."""
        return self._rows

    def df(self) -> pandas.DataFrame:
        """Rows as a `pandas.DataFrame`; UnavailableError where pandas is not installed."""
        _package("pandas", "df")
        return self._rows.to_pandas()

    def pl(self) -> polars.DataFrame:
        """Rows as a `polars.DataFrame`; UnavailableError where Polars is not installed."""
        return _package("polars", "pl").from_arrow(self._rows)


def _package(name: str, method: str) -> ModuleType:
    """A package that not everybody has, for the method of a table that needs it."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise UnavailableError(
            f"table.{method}(): the package {name} is not installed; `pip install {name}`, or take .arrow() "
            "or .to_dicts(), which need nothing more"
        ) from None
