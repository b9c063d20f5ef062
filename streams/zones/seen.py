"""Which numbers of a stream have arrived: a bounded set of closed intervals, as a sorted tuple.

It also keeps enough of the batches to tell a repeat from a collision (other data under the same numbers): a
digest of each of the last few batches, and times and sessions of a sample of all before them. The memory of a
stream does not depend on how its records were divided into fetches.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Literal, NamedTuple

import numpy as np
import xxhash

from streams.events.batch import Batch
from streams.events.state import MARK_BYTES, RECENT_BYTES, Intervals, Seen
from streams.limits import CLOCK_SLACK_NS, SEEN_MARKS_MAX, SEEN_RANGES_MAX, SEEN_RECENT_BATCHES

_RECENT = np.dtype(
    [("first", "<i8"), ("events", "<u4"), ("t_ns", "<i8"), ("session", "<u4"), ("digest", "<u8")]
)
_MARK = np.dtype([("first", "<i8"), ("t_ns", "<i8"), ("session", "<u4")])
if (_RECENT.itemsize, _MARK.itemsize) != (RECENT_BYTES, MARK_BYTES):
    raise AssertionError("what a state says of its batches must be what is packed into it")
Verdict = Literal["repeat", "collision", "unknown"]


class _Recent(NamedTuple):
    """One batch that arrived: numbers, time, and hashes of its session and its bytes."""

    first: int
    events: int
    t_ns: int
    session: int
    digest: int


class _Mark(NamedTuple):
    """One number of the sample: its capture time and a hash of its session."""

    first: int
    t_ns: int
    session: int


class Memory:
    """What is known of the batches of one stream, for the duration of one fetch."""

    def __init__(self, seen: Seen) -> None:
        self._recent = [_Recent(*row) for row in np.frombuffer(seen.recent, _RECENT).tolist()]
        self._marks = [_Mark(*row) for row in np.frombuffer(seen.marks, _MARK).tolist()]
        self._stride = seen.stride
        self._fresh: list[tuple[Batch, bytes]] = []
        #: The next batch that begins at this number or above leaves a mark.
        self.mark_from = self._marks[-1].first + self._stride if self._marks else 0

    def note(self, batch: Batch, value: bytes) -> None:
        """Remember a batch that was accepted."""
        self._fresh.append((batch, value))
        if batch.run.first >= self.mark_from:
            self._marks.append(_Mark(batch.run.first, batch.t0_ns, _hash(batch.session_id)))
            if len(self._marks) > SEEN_MARKS_MAX:
                self._marks, self._stride = self._marks[::2], self._stride * 2
            self.mark_from = self._marks[-1].first + self._stride

    def verdict(self, batch: Batch, value: bytes) -> Verdict:
        """Classify a batch of whose numbers at least one has arrived before."""
        session, low, high = _hash(batch.session_id), batch.run.first, batch.run.last
        recent = self._latest()
        known: Verdict = "unknown"
        for before in reversed(recent):
            if before.first > high or before.first + before.events <= low:
                continue
            if (before.first, before.events) == (low, batch.run.count):
                return "repeat" if before.digest == xxhash.xxh3_64_intdigest(value) else "collision"
            at = max(low, before.first)
            if before.session != session or abs(batch.time_ns(at - low) - before.t_ns) > CLOCK_SLACK_NS:
                return "collision"
            known = "repeat"
        if known == "unknown" and self._contradicts(batch, session, recent):
            return "collision"
        return known

    def end(self, ranges: Intervals, floor: int) -> Seen:
        """State for the next fetch, with the given intervals and floor."""
        if self._fresh:
            self._recent, self._fresh = self._latest(), []
        return Seen(
            ranges,
            floor,
            np.array(self._recent, _RECENT).tobytes(),
            np.array(self._marks, _MARK).tobytes(),
            self._stride,
        )

    def _latest(self) -> list[_Recent]:
        """The last batches that arrived. Only these are hashed: hashing every batch would waste time."""
        fresh = [
            _Recent(
                batch.run.first,
                batch.run.count,
                batch.t0_ns,
                _hash(batch.session_id),
                xxhash.xxh3_64_intdigest(value),
            )
            for batch, value in self._fresh[-SEEN_RECENT_BATCHES:]
        ]
        return [*self._recent, *fresh][-SEEN_RECENT_BATCHES:]

    def _contradicts(self, batch: Batch, session: int, recent: list[_Recent]) -> bool:
        """Whether the time or session of a batch of old numbers contradicts the marks before and after it."""
        at = bisect_right(self._marks, batch.run.first, key=lambda mark: mark.first) - 1
        if at < 0:
            return False
        before = self._marks[at]
        if at + 1 < len(self._marks):
            behind = self._marks[at + 1]
        else:
            last = max(recent)
            behind = _Mark(last.first, last.t_ns, last.session)
        early, late = sorted((before.t_ns, behind.t_ns))
        if not early - CLOCK_SLACK_NS <= batch.t0_ns <= late + CLOCK_SLACK_NS:
            return True
        return before.session == behind.session != session


def _hash(text: str) -> int:
    return xxhash.xxh3_64_intdigest(text.encode()) & 0xFFFFFFFF


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
    """`seen` with `low ... high` (inclusive) added; the number of intervals is not bounded here."""
    if seen and seen[-1][1] + 1 == low:
        return (*seen[:-1], (seen[-1][0], high))
    merged: list[tuple[int, int]] = []
    for start, end in sorted((*seen, (low, high))):
        if merged and start <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return tuple(merged)


def bounded(seen: Intervals, floor: int) -> tuple[Intervals, int]:
    """Close the lowest holes until SEEN_RANGES_MAX intervals are left; returns (intervals, floor).

    The floor is the number above the highest closed hole. An event below it that may or may not have arrived
    before is too late.
    """
    while len(seen) > SEEN_RANGES_MAX:
        floor = seen[1][0]
        seen = ((seen[0][0], seen[1][1]), *seen[2:])
    return seen, floor
