"""Small helpers over Arrow tables of the store's rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from streams.snapshots.files.segments import CLASSED, ORDER
from streams.snapshots.rows.columns import MANY
from streams.snapshots.rows.poll import Numbers, Words, distinct, numbers


def compacted(rows: pa.Table) -> pa.Table:
    """Rows whose dictionaries hold only texts that some row uses.

    A file is written with its whole dictionaries, and texts of rows that were left out must not be stored.
    """
    for at, column in enumerate(rows.schema):
        if pa.types.is_dictionary(column.type):
            words = rows.column(at).combine_chunks()
            if len(words.indices.unique()) < len(words.dictionary):
                rows = rows.set_column(at, column.name, words.dictionary_decode().dictionary_encode())
    return rows


def bounds(rows: pa.Table, table: str, role: str = "own") -> tuple[Numbers, Numbers]:
    """Lowest and highest number of each row, as `segments.NUMBERS` says it in SQL."""
    if table == "zone_runs":
        return numbers(rows, "low"), numbers(rows, "high")
    if table == "models":
        return numbers(rows, "version"), numbers(rows, "version")
    side = f"{role}_" if table == "edges" else ""
    first = numbers(rows, f"{side}first")
    if role == "parent":
        more = numbers(rows, "parent_step") * (numbers(rows, "child_count") - 1)
        return first, first + more + numbers(rows, "parent_width") - 1
    more = np.maximum(numbers(rows, f"{side}count") - 1, 0)
    return first, first + (more if table == "rejected" else more * numbers(rows, f"{side}step"))


def combinations(rows: pa.Table, names: Sequence[str]) -> tuple[list[tuple[Any, ...]], Numbers]:
    """The different combinations of some columns' values, and which of them stands in each row."""
    return distinct([_words(rows.column(name)) for name in names])


def _words(column: pa.ChunkedArray) -> Words:
    """A column's different values, and which of them stands in each row."""
    dictionary = column.combine_chunks().dictionary_encode()
    return Words(dictionary.dictionary.to_pylist(), dictionary.indices.to_numpy().astype(np.int64))


def encoded(rows: pa.Table) -> pa.Table:
    """Rows with the texts that recur as dictionaries, as `decode` makes them."""
    for at, column in enumerate(rows.schema):
        if column.type == pa.string() and column.name not in MANY:
            rows = rows.set_column(at, column.name, rows.column(at).dictionary_encode())
    return rows


def dense(*codes: Numbers) -> Numbers:
    """A small number for each row, the same for equal combinations."""
    combined = codes[0]
    for code in codes[1:]:
        shifted = code - code.min(initial=0)
        combined = np.unique(combined * (shifted.max(initial=0) + 1) + shifted, return_inverse=True)[1]
    return combined.astype(np.int64)


def ordered(rows: pa.Table, table: str) -> pa.Table:
    """Rows in the order of their table; rows that are equal in it stay in the order in which they came."""
    keys = [_ranks(rows.column(name)) for name in ORDER[table]]
    return rows.take(pa.array(np.lexsort(keys[::-1])))


def _ranks(column: pa.ChunkedArray) -> Numbers:
    """Numbers in the order of a column's values."""
    if pa.types.is_integer(column.type):
        values: Numbers = column.to_numpy()
        return values
    words = _words(column)
    ranks = np.empty(len(words.values), np.int64)
    ranks[sorted(range(len(ranks)), key=words.values.__getitem__)] = np.arange(len(ranks))
    return ranks[words.codes]


def classes_of(rows: pa.Table, table: str) -> tuple[list[tuple[str, str, str]], Numbers]:
    """The different classes (policy version, zone, label) of a table, and which of them each row is of."""
    if CLASSED[table] == "label":
        return combinations(rows, ("policy_version", "zone", "label"))
    pairs, of = combinations(rows, ("policy_version", "zone"))
    return [(version, zone, "") for version, zone in pairs], of
