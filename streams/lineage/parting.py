"""Part the rows of a lineage table: by a mask, by ranges of numbers of their key, or by what a text lists.

A row of which only a part is chosen is split: runs exactly (law 3). Nothing is lost or doubled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streams.lineage.ranges import Part, Ranges, outside

Numbers = NDArray[np.int64]
Mask = NDArray[np.bool_]


class Divided(NamedTuple):
    """The rows of a table that remain without the selected ones, and those; split rows are in both.

    The order of the rows may have changed.
    """

    kept: pa.Table
    taken: pa.Table


def words_of(rows: pa.Table, name: str) -> tuple[list[Any], Numbers]:
    """Distinct values of a column, and the index of each row's value."""
    column = rows.column(name).combine_chunks()
    words = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    return words.dictionary.to_pylist(), words.indices.to_numpy().astype(np.int64)


def are(rows: pa.Table, name: str, fits: Callable[[str], bool]) -> Mask:
    """Rows whose text fits."""
    values, codes = words_of(rows, name)
    if not len(rows):
        return np.zeros(0, bool)
    fitting = np.fromiter((fits(value) for value in values), bool, len(values))
    mask: Mask = fitting[codes]
    return mask


def keys_of(rows: pa.Table, names: Sequence[str]) -> tuple[list[tuple[Any, ...]], Numbers]:
    """Distinct combinations of some columns, and the index of each row's combination."""
    columns = [words_of(rows, name) for name in names]
    codes = np.stack([codes for _, codes in columns], 1)
    distinct, of = np.unique(codes, axis=0, return_inverse=True)
    keys = [
        tuple(values[code] for (values, _), code in zip(columns, row, strict=True))
        for row in distinct.tolist()
    ]
    return keys, of.reshape(-1).astype(np.int64)


def numbers_of(rows: pa.Table, name: str) -> Numbers:
    """A column of integers as an array."""
    values: Numbers = rows.column(name).to_numpy()
    return values


def parted(rows: pa.Table, taken: Mask) -> Divided:
    """Part rows that are not split."""
    return Divided(rows.filter(pa.array(~taken)), rows.filter(pa.array(taken)))


class Runs(NamedTuple):
    """How the runs of a table are named, and how a part of one is cut out of its rows."""

    first: str
    step: str
    length: str
    cut: Callable[[pa.Table, Numbers, Numbers], pa.Table]


def _set(rows: pa.Table, name: str, values: Numbers) -> pa.Table:
    # Indexes have some columns in 32 bits.
    kind = rows.schema.field(name).type
    return rows.set_column(rows.column_names.index(name), name, pa.array(values, pa.int64()).cast(kind))


def _cut_run(rows: pa.Table, begin: Numbers, end: Numbers) -> pa.Table:
    rows = _set(rows, "first", numbers_of(rows, "first") + numbers_of(rows, "step") * begin)
    return _set(rows, "count", end - begin + 1)


def _cut_edges(rows: pa.Table, begin: Numbers, end: Numbers) -> pa.Table:
    for side in ("child", "parent"):
        name = f"{side}_first"
        rows = _set(rows, name, numbers_of(rows, name) + numbers_of(rows, f"{side}_step") * begin)
    return _set(rows, "child_count", end - begin + 1)


RUN = Runs("first", "step", "count", _cut_run)
EDGE = Runs("child_first", "child_step", "child_count", _cut_edges)


def split(rows: pa.Table, runs: Runs, names: Sequence[str], ranges: Ranges, *, keep: bool = False) -> Divided:
    """Part runs by the numbers in `ranges` of their key: these are taken, or with `keep` all others are."""
    keys, of = keys_of(rows, names)
    first, step, count = (numbers_of(rows, name) for name in (runs.first, runs.step, runs.length))
    touched_rows, whole = ranges.overlap(keys, of, first, first + step * np.maximum(count - 1, 0))
    cut_rows = np.flatnonzero(touched_rows & ~whole)
    left, cut = list[tuple[int, Part]](), list[tuple[int, Part]]()
    for row in cut_rows.tolist():
        inside = ranges.inside(keys[of[row]], int(first[row]), int(step[row]), int(count[row]))
        cut += [(row, part) for part in inside]
        left += [(row, part) for part in outside(inside, int(count[row]))]
    kept, taken = (
        pa.concat_tables([rows.filter(pa.array(mask)), _pieces(rows, runs, some)])
        for mask, some in ((~touched_rows, left), (whole, cut))
    )
    return Divided(taken, kept) if keep else Divided(kept, taken)


def _pieces(rows: pa.Table, runs: Runs, pieces: Sequence[tuple[int, Part]]) -> pa.Table:
    if not pieces:
        return rows.slice(0, 0)
    at = rows.take(pa.array([row for row, _ in pieces], pa.int64()))
    begin, end = (np.array([part[side] for _, part in pieces], np.int64) for side in (0, 1))
    return runs.cut(at, begin, end)


def joined(*parts: Divided) -> Divided:
    """The rows of several parts together."""
    return Divided(*(pa.concat_tables(some) for some in zip(*parts, strict=True)))


def split_parents(rows: pa.Table, ranges: Ranges) -> Divided:
    """Part edges by their parents with numbers in `ranges` of (source, stream, revision)."""
    keys, of = keys_of(rows, ("parent_source", "parent_stream", "parent_revision"))
    first, step, width = (numbers_of(rows, f"parent_{name}") for name in ("first", "step", "width"))
    count = numbers_of(rows, "child_count")
    hit, whole = ranges.overlap(keys, of, first, first + step * (count - 1) + width - 1)
    left, cut = list[tuple[int, int, Part]](), list[tuple[int, int, Part]]()
    for row in np.flatnonzero(hit & ~whole).tolist():
        for nth in range(int(count[row])):
            begins = int(first[row] + step[row] * nth)
            inside = ranges.inside(keys[of[row]], begins, 1, int(width[row]))
            cut += [(row, nth, part) for part in inside]
            left += [(row, nth, part) for part in outside(inside, int(width[row]))]
    return Divided(
        *(
            pa.concat_tables([rows.filter(pa.array(mask)), _of_parents(rows, some)])
            for mask, some in ((~hit, left), (whole, cut))
        )
    )


def _of_parents(rows: pa.Table, pieces: Sequence[tuple[int, int, Part]]) -> pa.Table:
    """Edges of one child each to some of its parents."""
    at = rows.take(pa.array([row for row, _, _ in pieces], pa.int64()))
    nth, begin, end = (
        np.array(values, np.int64)
        for values in (
            [nth for _, nth, _ in pieces],
            [part[0] for *_, part in pieces],
            [part[1] for *_, part in pieces],
        )
    )
    at = _cut_edges(at, nth, nth)
    return _set(
        _set(at, "parent_first", numbers_of(at, "parent_first") + begin), "parent_width", end - begin + 1
    )


def split_zone_runs(rows: pa.Table, names: Sequence[str], ranges: Ranges, *, keep: bool) -> Divided:
    """Part runs of zones like `split`."""
    low = numbers_of(rows, "low")
    runs = rows.append_column("first", pa.array(low)).append_column("step", pa.array(np.ones_like(low)))
    runs = runs.append_column("count", pa.array(numbers_of(rows, "high") - low + 1))
    divided = split(runs, RUN, names, ranges, keep=keep)
    return Divided(*(_as_zone_runs(some).select(rows.column_names) for some in divided))


def _as_zone_runs(runs: pa.Table) -> pa.Table:
    first = numbers_of(runs, "first")
    return _set(_set(runs, "low", first), "high", first + numbers_of(runs, "count") - 1)


def rewritten(rows: pa.Table, name: str, halves: Sequence[tuple[str, str]]) -> Divided:
    """Rows with another text in a column; those whose text is left empty are not taken."""
    at, kind = rows.column_names.index(name), rows.schema.field(name).type
    kept, taken = (
        rows.set_column(at, name, texts.dictionary_encode() if pa.types.is_dictionary(kind) else texts)
        for side in (0, 1)
        for texts in (pa.array([half[side] for half in halves], pa.string()),)
    )
    return Divided(kept, taken.filter(pa.array([bool(half[1]) for half in halves], pa.bool_())))
