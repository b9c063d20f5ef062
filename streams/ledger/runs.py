"""Numbers of streams as numpy runs, and the one operation that all counting needs.

That is how often each number is covered.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Ints: TypeAlias = NDArray[np.int64]
#: Half-open intervals, one a row: first number, number after the last.
Intervals: TypeAlias = Ints
ByStream: TypeAlias = Mapping[str, Intervals]

NONE: Intervals = np.empty((0, 2), np.int64)


def intervals(first: Sequence[int] | Ints, count: Sequence[int] | Ints) -> Intervals:
    """Intervals of consecutive numbers."""
    begin = np.asarray(first, np.int64)
    return np.column_stack((begin, begin + np.asarray(count, np.int64)))


def spread(first: Ints, step: Ints, count: Ints, width: Ints) -> Intervals:
    """Intervals `first + i * step ... + width` for i < count; those that touch or overlap come as one."""
    whole = (step <= width) | (count == 1)
    together = np.column_stack((first[whole], first[whole] + step[whole] * (count[whole] - 1) + width[whole]))
    first, step, count, width = first[~whole], step[~whole], count[~whole], width[~whole]
    index = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    begin = np.repeat(first, count) + index * np.repeat(step, count)
    return np.concatenate((together, np.column_stack((begin, begin + np.repeat(width, count)))))


def cover(*sets: Intervals) -> tuple[Intervals, list[Ints]]:
    """Cut the number line wherever a set begins or ends.

    Return the pieces and how often each set covers each piece.
    """
    bounds = np.unique(np.concatenate([part.ravel() for part in sets]))
    if bounds.size < 2:
        return NONE, [np.empty(0, np.int64) for _ in sets]
    depths = []
    for part in sets:
        change = np.zeros(bounds.size, np.int64)
        np.add.at(change, np.searchsorted(bounds, part[:, 0]), 1)
        np.add.at(change, np.searchsorted(bounds, part[:, 1]), -1)
        depths.append(np.cumsum(change)[:-1])
    return np.column_stack((bounds[:-1], bounds[1:])), depths


def size(pieces: Intervals) -> int:
    """How many numbers disjoint intervals hold."""
    return int((pieces[:, 1] - pieces[:, 0]).sum())


def union_size(sets: ByStream) -> int:
    """How many different numbers the streams hold together."""
    total = 0
    for part in sets.values():
        pieces, (depth,) = cover(part)
        total += size(pieces[depth > 0])
    return total


def named(found: Mapping[str, Intervals], most: int) -> list[str]:
    """Runs as text (`g1/imu-right/40-59`), at most `most` of them."""
    texts = [
        f"{stream}/{low}" if high - low == 1 else f"{stream}/{low}-{high - 1}"
        for stream, pieces in sorted(found.items())
        for low, high in _joined(pieces)
    ]
    return texts[:most]


def _joined(pieces: Intervals) -> Iterable[tuple[int, int]]:
    if not len(pieces):
        return []
    starts = np.flatnonzero(np.r_[True, pieces[1:, 0] != pieces[:-1, 1]])
    ends = np.r_[starts[1:] - 1, len(pieces) - 1]
    return [(int(pieces[a, 0]), int(pieces[b, 1])) for a, b in zip(starts, ends, strict=True)]
