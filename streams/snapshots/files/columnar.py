"""Helpers for Arrow tables of the store's rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from streams.snapshots.files.segments import CLASSED, ORDER
from streams.snapshots.rows.columns import MANY
from streams.snapshots.rows.poll import Numbers, Words, distinct, numbers


def compacted(rows: pa.Table) -> pa.Table:
    """Rows without unused texts in their dictionaries.

    A file contains whole dictionaries, and texts of rows that were left out must not be stored.
    """
    for at, column in enumerate(rows.schema):
        if pa.types.is_dictionary(column.type):
            words = rows.column(at).combine_chunks()
            if len(words.indices.unique()) < len(words.dictionary):
                rows = rows.set_column(at, column.name, words.dictionary_decode().dictionary_encode())
    return rows


def bounds(rows: pa.Table, table: str, role: str = "own") -> tuple[Numbers, Numbers]:
    """Lowest and highest number of each row, as `segments.NUMBERS` computes them in SQL."""
    if table in ("zone_runs", "expired"):
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
    """Distinct combinations of the values of some columns, and the index of each row's combination."""
    return distinct([_words(rows.column(name)) for name in names])


def _words(column: pa.ChunkedArray) -> Words:
    """Distinct values of a column, and the index of each row's value."""
    dictionary = column.combine_chunks().dictionary_encode()
    return Words(dictionary.dictionary.to_pylist(), dictionary.indices.to_numpy().astype(np.int64))


def encoded(rows: pa.Table) -> pa.Table:
    """Rows with repeated texts as dictionary arrays, as `decode` makes them."""
    for at, column in enumerate(rows.schema):
        if column.type == pa.string() and column.name not in MANY:
            rows = rows.set_column(at, column.name, rows.column(at).dictionary_encode())
    return rows


def dense(*codes: Numbers) -> Numbers:
    """A small number for each row; rows with equal combinations have the same number."""
    combined = codes[0]
    for code in codes[1:]:
        shifted = code - code.min(initial=0)
        combined = np.unique(combined * (shifted.max(initial=0) + 1) + shifted, return_inverse=True)[1]
    return combined.astype(np.int64)


def ordered(rows: pa.Table, table: str) -> pa.Table:
    """Rows sorted as in their table; equal rows keep their order."""
    keys = [_ranks(rows.column(name)) for name in ORDER[table]]
    return rows.take(pa.array(np.lexsort(keys[::-1])))


def _ranks(column: pa.ChunkedArray) -> Numbers:
    """Numbers in the same order as a column's values."""
    if pa.types.is_integer(column.type):
        values: Numbers = column.to_numpy()
        return values
    words = _words(column)
    ranks = np.empty(len(words.values), np.int64)
    ranks[sorted(range(len(ranks)), key=words.values.__getitem__)] = np.arange(len(ranks))
    return ranks[words.codes]


def classes_of(rows: pa.Table, table: str) -> tuple[list[tuple[str, str, str]], Numbers]:
    """Distinct classes (policy version, zone, label) in a table, and the index of each row's class."""
    if CLASSED[table] == "label":
        return combinations(rows, ("policy_version", "zone", "label"))
    pairs, of = combinations(rows, ("policy_version", "zone"))
    return [(version, zone, "") for version, zone in pairs], of
