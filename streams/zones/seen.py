"""Which numbers of a stream have been seen: a bounded set of closed intervals, as a sorted tuple."""

from __future__ import annotations

from streams.events.state import Intervals
from streams.limits import SEEN_RANGES_MAX


def unseen(seen: Intervals, low: int, high: int) -> list[tuple[int, int]]:
    """Parts of `low ... high` (inclusive) that are not in `seen`, in order."""
    parts: list[tuple[int, int]] = []
    for start, end in seen:
        if end < low:
            continue
        if start > high:
            break
        if start > low:
            parts.append((low, start - 1))
        low = end + 1
    if low <= high:
        parts.append((low, high))
    return parts


def add(seen: Intervals, low: int, high: int) -> Intervals:
    """`seen` with `low ... high` (inclusive).

    Beyond SEEN_RANGES_MAX intervals the lowest hole counts as seen.
    """
    if seen and seen[-1][1] + 1 == low:
        return (*seen[:-1], (seen[-1][0], high))
    merged: list[tuple[int, int]] = []
    for start, end in sorted((*seen, (low, high))):
        if merged and start <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    if len(merged) > SEEN_RANGES_MAX:
        merged[:2] = [(merged[0][0], merged[1][1])]
    return tuple(merged)
