"""Ranges of numbers by key, and the arithmetic of runs that lie in them only in part (law 3)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

#: First and last index of a part of a run, both included.
Part = tuple[int, int]


class Ranges:
    """Sorted ranges (lowest and highest number) of each key; what overlaps or continues is one range."""

    def __init__(self, rows: Iterable[tuple[Hashable, int, int]]) -> None:
        given: dict[Hashable, list[tuple[int, int]]] = {}
        for key, low, high in rows:
            given.setdefault(key, []).append((low, high))
        self._by_key = {key: _united(some) for key, some in given.items()}

    def __bool__(self) -> bool:
        return bool(self._by_key)

    def overlap(
        self, keys: Sequence[Hashable], of: NDArray[np.int64], low: NDArray[np.int64], high: NDArray[np.int64]
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which intervals overlap a range of their key, and which lie in one completely.

        `of` is the index of each interval's key in `keys`.
        """
        touched, whole = np.zeros(len(of), bool), np.zeros(len(of), bool)
        for place, key in enumerate(keys):
            if (known := self._by_key.get(key)) is not None:
                lows, highs = known
                rows = np.flatnonzero(of == place)
                at = np.searchsorted(highs, low[rows], "left")
                begins = np.append(lows, np.int64(2**63 - 1))[at]
                ends = np.append(highs, np.int64(-1))[at]
                touched[rows] = begins <= high[rows]
                whole[rows] = (begins <= low[rows]) & (high[rows] <= ends)
        return touched, whole

    def inside(self, key: Hashable, first: int, step: int, count: int) -> list[Part]:
        """Parts of the run `first`, `first + step` ... (`count` numbers) that lie in ranges of a key."""
        known = self._by_key.get(key)
        if known is None:
            return []
        lows, highs = known
        step, parts = max(step, 1), list[Part]()
        at = bisect_left(highs, first)
        while at < len(lows) and lows[at] <= first + step * (count - 1):
            begin = max(0, -((first - int(lows[at])) // step))
            end = min(count - 1, (int(highs[at]) - first) // step)
            if begin <= end:
                parts.append((begin, end))
            at += 1
        return parts


def _united(some: Sequence[tuple[int, int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    united: list[tuple[int, int]] = []
    for low, high in sorted(some):
        if united and low <= united[-1][1] + 1:
            united[-1] = united[-1][0], max(united[-1][1], high)
        else:
            united.append((low, high))
    lows, highs = zip(*united, strict=True)
    return np.array(lows, np.int64), np.array(highs, np.int64)


def outside(parts: Sequence[Part], count: int) -> list[Part]:
    """The other parts of a run of `count` numbers; `parts` are sorted and do not overlap."""
    others, at = list[Part](), 0
    for begin, end in parts:
        if begin > at:
            others.append((at, begin - 1))
        at = end + 1
    if at < count:
        others.append((at, count - 1))
    return others
