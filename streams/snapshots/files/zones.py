"""Compare intervals of numbers with zone runs: the classes that overlap one, and who may see all of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
from msgspec import Struct

from streams.snapshots.files.coalesce import ALONE
from streams.snapshots.rows.poll import Mask, Numbers, numbers

#: (source, stream, revision)
Stream = tuple[str, str, int]


class Coverage(Struct, frozen=True):
    """Coverage of some intervals by zone runs; every field is an array with one value per interval.

    `known`: whether runs cover the whole interval. `own`: code of the only run that it overlaps, or ALONE.
    `audience`: bits of the roles that may see all classes that it overlaps; 0 if unknown. `begin`, `end`:
    range of the runs that it overlaps.
    """

    known: Mask
    own: Numbers
    audience: Numbers
    begin: Numbers
    end: Numbers


class Zones:
    """Zone runs of some streams in memory.

    Parameters
    ----------
    runs
        source, stream, revision, low, high, `class` and `own`, sorted by stream and low; `own` is the same
        for runs of one class, wearer and consent.
    audiences
        Bits of roles by class.
    """

    def __init__(self, runs: pa.Table, audiences: Sequence[int]) -> None:
        self._low, self._class, self._own = (numbers(runs, name) for name in ("low", "class", "own"))
        self._audience = np.array([*audiences, 0], np.int64)[np.append(self._class, -1)]
        self._reach = numbers(runs, "high").copy()
        self._gaps = np.zeros(len(runs) + 1, np.int64)
        self._where: dict[Stream, slice] = {}
        for stream, rows in _streams(runs):
            self._where[stream] = rows
            # If runs overlap each other, an interval may count more runs than it overlaps, which only
            # restricts more.
            np.maximum.accumulate(self._reach[rows], out=self._reach[rows])
        self._gaps[1 : len(runs)] = np.cumsum(self._low[1:] > self._reach[:-1] + 1)

    def over(self, streams: Sequence[Stream], of: Numbers, low: Numbers, high: Numbers) -> Coverage:
        """Coverage of the intervals `low` to `high`; `of` is the index of each one's stream in `streams`."""
        begin, end = np.zeros(len(of), np.int64), np.zeros(len(of), np.int64)
        order = np.argsort(of, kind="stable")
        bounds = np.searchsorted(of[order], np.arange(len(streams) + 1))
        for place, stream in enumerate(streams):
            if (rows := self._where.get(stream)) is not None:
                here = order[bounds[place] : bounds[place + 1]]
                begin[here] = rows.start + np.searchsorted(self._reach[rows], low[here], "left")
                end[here] = rows.start + np.searchsorted(self._low[rows], high[here], "right")
        touched = end > begin
        begin[~touched], end[~touched] = 0, 0
        known = touched.copy()
        some = np.flatnonzero(touched)
        first, last = begin[some], end[some] - 1
        known[some] = (
            (self._low[first] <= low[some])
            & (self._reach[last] >= high[some])
            & (self._gaps[first] == self._gaps[last])
        )
        own = np.full(len(of), ALONE, np.int64)
        alone = some[first == last]
        own[alone] = np.where(known[alone], self._own[begin[alone]], ALONE)
        audience = np.zeros(len(of), np.int64)
        if len(some):
            pairs = np.stack((begin[some], end[some]), axis=1).ravel()
            audience[some] = np.bitwise_and.reduceat(self._audience, pairs)[::2]
        audience[~known] = 0
        return Coverage(known, own, audience, begin, end)

    def classes(self, begin: Numbers, end: Numbers) -> set[int]:
        """Classes of the runs `begin` to `end` (exclusive) of each interval."""
        depth = np.zeros(len(self._class) + 1, np.int64)
        np.add.at(depth, begin, 1)
        np.add.at(depth, end, -1)
        return set(np.unique(self._class[np.cumsum(depth)[:-1] > 0]).tolist())


def _streams(runs: pa.Table) -> Iterator[tuple[Stream, slice]]:
    """Yield each stream with its slice of rows."""
    if not len(runs):
        return
    names = [runs.column(name).combine_chunks() for name in ("source", "stream", "revision")]
    codes = [name.dictionary_encode().indices.to_numpy() for name in names]
    changes = np.any([np.diff(code) != 0 for code in codes], axis=0)
    starts = [0, *(np.flatnonzero(changes) + 1).tolist()]
    for start, stop in zip(starts, [*starts[1:], len(runs)], strict=True):
        source, stream, revision = (name[start].as_py() for name in names)
        yield (source, stream, revision), slice(start, stop)
