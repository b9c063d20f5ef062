"""Numbers of streams as NumPy runs, and the operation for all counting: how often each number is covered."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Ints: TypeAlias = NDArray[np.int64]
#: Half-open intervals, one per row: first number, number after the last.
Intervals: TypeAlias = Ints
ByStream: TypeAlias = Mapping[str, Intervals]

NONE: Intervals = np.empty((0, 2), np.int64)
_MIX, _HALF = np.uint64(0x9E3779B97F4A7C15), np.uint64(32)


@dataclass(frozen=True, slots=True)
class Data:
    """Runs of one stream with the digests of their records: XXH3-128, as two columns of 64 bits."""

    runs: Intervals
    digests: Ints

    def only(self, digests: Ints) -> Data:
        """Runs whose digests are among `digests`."""
        if not len(digests):
            return NO_DATA
        group, _ = groups(list(np.concatenate((self.digests, digests)).T))
        chosen = np.isin(group[: len(self.runs)], group[len(self.runs) :])
        return Data(self.runs[chosen], self.digests[chosen])


NO_DATA = Data(NONE, np.empty((0, 2), np.int64))


def column(numbers: array[int]) -> Ints:
    """View numbers as a NumPy column."""
    return np.frombuffer(numbers, np.int64) if numbers else np.empty(0, np.int64)


def halves(digests: bytes | bytearray) -> Ints:
    """Digests of 16 bytes each as two columns."""
    return np.frombuffer(bytes(digests), ">u8").astype(np.int64).reshape(-1, 2)


def joined(a: Data, b: Data) -> Data:
    """Runs of `a` and `b` together."""
    return Data(np.concatenate((a.runs, b.runs)), np.concatenate((a.digests, b.digests)))


def groups(columns: Sequence[NDArray[np.generic]]) -> tuple[Ints, Ints]:
    """Group rows whose columns are all equal; returns (group of each row, one row of each group)."""
    mixed = np.zeros(columns[0].size, np.uint64)
    for part in columns:
        mixed = (mixed ^ part.astype(np.uint64)) * _MIX
        mixed ^= mixed >> _HALF
    # A single sort of hashes instead of one per column, because equal rows only need to be adjacent.
    order = np.argsort(mixed, kind="stable")
    changes = np.zeros(order.size, np.bool_)
    changes[:1] = True
    for part in columns:
        ordered = part[order]
        changes[1:] |= ordered[1:] != ordered[:-1]
    group = np.empty(order.size, np.int64)
    group[order] = np.cumsum(changes) - 1
    return group, order[changes]


def unaccounted(wanted: Data, known: Data) -> Intervals:
    """Numbers of `wanted` that `known` does not have with the same digest, once for each digest."""
    numbers = np.unique(np.concatenate((wanted.runs.ravel(), known.runs.ravel())))
    group, _ = groups(list(np.concatenate((wanted.digests, known.digests)).T))

    def on_lines(runs: Intervals, group: Ints) -> Intervals:
        # Each digest gets its own section of one line. Ranks replace numbers, which may take 62 bits.
        return np.searchsorted(numbers, runs) + (group * numbers.size)[:, None]

    cut = len(wanted.runs)
    pieces, (is_wanted, is_known) = cover(
        on_lines(wanted.runs, group[:cut]), on_lines(known.runs, group[cut:])
    )
    open_pieces = pieces[(is_wanted > 0) & (is_known == 0)]
    return numbers[open_pieces % numbers.size] if len(open_pieces) else NONE


def intervals(first: Sequence[int] | Ints, count: Sequence[int] | Ints) -> Intervals:
    """Make intervals of consecutive numbers."""
    begin = np.asarray(first, np.int64)
    return np.column_stack((begin, begin + np.asarray(count, np.int64)))


def spread(first: Ints, step: Ints, count: Ints, width: Ints) -> Intervals:
    """Intervals `first + i * step ... + width` for i < count; merged where they touch or overlap."""
    whole = (step <= width) | (count == 1)
    together = np.column_stack((first[whole], first[whole] + step[whole] * (count[whole] - 1) + width[whole]))
    first, step, count, width = first[~whole], step[~whole], count[~whole], width[~whole]
    index = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    begin = np.repeat(first, count) + index * np.repeat(step, count)
    return np.concatenate((together, np.column_stack((begin, begin + np.repeat(width, count)))))


def cover(*sets: Intervals) -> tuple[Intervals, list[Ints]]:
    """Divide the number line wherever an interval begins or ends.

    Return the pieces, and how often each set covers each piece.
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


def without(pieces: Intervals, others: Intervals) -> Intervals:
    """The parts of some intervals that no other covers."""
    parts, (is_one, is_other) = cover(pieces, others)
    left: Intervals = parts[(is_one > 0) & (is_other == 0)]
    return left


def size(pieces: Intervals) -> int:
    """Number of numbers in disjoint intervals."""
    return int((pieces[:, 1] - pieces[:, 0]).sum())


def union_size(sets: ByStream) -> int:
    """Number of different numbers in all streams together."""
    total = 0
    for part in sets.values():
        pieces, (depth,) = cover(part)
        total += size(pieces[depth > 0])
    return total


def named(by_stream: Mapping[str, Intervals], most: int) -> list[str]:
    """Runs as text (`g1/imu-right/40-59`), at most `most` of them; a revision follows the numbers."""
    texts = [
        f"{stream}/{low}{dot}{revision}" if high - low == 1 else f"{stream}/{low}-{high - 1}{dot}{revision}"
        for key, pieces in sorted(by_stream.items())
        for stream, dot, revision in [key.partition(".")]
        for low, high in _joined(pieces)
    ]
    return texts[:most]


def _joined(pieces: Intervals) -> Iterable[tuple[int, int]]:
    if not len(pieces):
        return []
    starts = np.flatnonzero(np.r_[True, pieces[1:, 0] != pieces[:-1, 1]])
    ends = np.r_[starts[1:] - 1, len(pieces) - 1]
    return [(int(pieces[a, 0]), int(pieces[b, 1])) for a, b in zip(starts, ends, strict=True)]
