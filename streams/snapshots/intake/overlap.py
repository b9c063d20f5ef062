"""Leave out rows whose numbers another row has already, and edges between events that do not exist.

Only the row is left out, not its record. A device that sends under another's name, or to two partitions, can
cause such rows in an agent's record, and must not make the rows of other devices disappear.
"""

from __future__ import annotations

from bisect import bisect_right

import numpy as np
import pyarrow as pa
from msgspec import Struct

from streams.limits import LINEAGE_CHILDREN_MAX
from streams.snapshots.intake.lookup import Lookup
from streams.snapshots.rows.poll import (
    DUPLICATE,
    FORGED,
    Mask,
    Numbers,
    Poll,
    Words,
    distinct,
    joined,
    numbers,
)
from streams.topology import AGENTS, TRAINING_SOURCE

#: Columns within which the numbers of events are unique.
_NUMBERED = ("source", "stream", "revision")


def check(poll: Poll, known: Lookup) -> None:
    """Leave out rows of a poll that are in the store or the poll already, and edges without events."""
    if "events" in poll.tables:
        _events(poll, known)
    if "edges" in poll.tables:
        _edges(poll, known)
    if "streams" in poll.tables and len(poll.tables["streams"]):
        _streams(poll, known)
    for table in ("models", "training_runs"):
        if table in poll.tables and len(poll.tables[table]):
            stored, version = known.versions(table), numbers(poll.tables[table], "version")
            again = np.isin(version, np.array(sorted(stored), np.int64))
            again[np.setdiff1d(np.arange(len(version)), np.unique(version, return_index=True)[1])] = True
            poll.leave(table, again, DUPLICATE, ".version: stands already")


def _streams(poll: Poll, known: Lookup) -> None:
    """Leave out rows that give a stream another kind than its first one."""
    content = poll.tables["streams"]
    streams = list(
        zip(content.column("source").to_pylist(), content.column("stream").to_pylist(), strict=True)
    )
    kinds = known.kinds(streams)
    wrong = np.fromiter(
        (
            kinds.setdefault(stream, kind) != kind
            for stream, kind in zip(streams, content.column("kind").to_pylist(), strict=True)
        ),
        bool,
        len(content),
    )
    poll.leave("streams", wrong, DUPLICATE, ".kind: stands already, as another one")


def _events(poll: Poll, known: Lookup) -> None:
    content = poll.tables["events"]
    if not len(content):
        return
    streams, of = poll.distinct("events", *_NUMBERED)
    low = numbers(content, "first")
    high = low + numbers(content, "count") - 1
    taken = _clashing(of, low, high)
    highest = known.highest(stream[:2] for stream in streams)
    old = ~taken & (low <= np.array([highest[stream[:2]] for stream in streams])[of])
    if old.any():
        behind, position = np.unique(of[old], return_inverse=True)
        taken[old] = known.taken([streams[at] for at in behind.tolist()], position, low[old], high[old])
    reached = np.full(len(streams), -1, np.int64)
    np.maximum.at(reached, of[~taken], high[~taken])
    known.reached((stream[:2], last) for stream, last in zip(streams, reached.tolist(), strict=True))
    poll.leave("events", taken, DUPLICATE, ": numbers stand already")


def _covered(of: Numbers, low: Numbers, high: Numbers) -> tuple[Numbers, Mask]:
    """Sort intervals by group and number; the second result tells which begin within an earlier one."""
    order = _grouped(of)
    group, begin, end = of[order], low[order], high[order]
    if not ((group[1:] == group[:-1]) & (begin[1:] <= end[:-1])).any():
        # Nearly always intervals follow one another, and none begins within an earlier one.
        return order, np.zeros(len(of), bool)
    order = np.lexsort((low, of))
    ranks = np.unique(np.concatenate((low, high)), return_inverse=True)[1]
    width = np.int64(2 * len(of) + 1)
    begin, end = of[order] * width + ranks[: len(of)][order], of[order] * width + ranks[len(of) :][order]
    covered = np.zeros(len(of), bool)
    covered[1:] = begin[1:] <= np.maximum.accumulate(end)[:-1]
    return order, covered


def _grouped(of: Numbers) -> Numbers:
    """Stable order by group; as 16-bit integers if possible, which NumPy sorts without comparing."""
    few = len(of) > 0 and int(of.max()) < 2**15
    return np.argsort(of.astype(np.int16) if few else of, kind="stable")


def _clashing(of: Numbers, low: Numbers, high: Numbers) -> Mask:
    """Intervals that overlap an earlier one of their group."""
    clashing = np.zeros(len(of), bool)
    order, covered = _covered(of, low, high)
    if not covered.any():
        return clashing
    # Only overlapping intervals are examined one by one, in order of arrival.
    clusters = np.cumsum(~covered)
    crowded = np.isin(clusters, clusters[covered])
    stand: dict[int, tuple[list[int], list[int]]] = {}
    for row in np.sort(order[crowded]).tolist():
        lows, highs = stand.setdefault(int(of[row]), ([], []))
        at = bisect_right(lows, high[row])
        if at and highs[at - 1] >= low[row]:
            clashing[row] = True
        else:
            lows.insert(at, int(low[row]))
            highs.insert(at, int(high[row]))
    return clashing


def _edges(poll: Poll, known: Lookup) -> None:
    """Leave out edges without a child in the same partition, and edges whose parents do not exist."""
    if not len(poll.tables["edges"]):
        return
    _unwritten(poll, known)
    content = poll.tables["edges"]
    streams, of = poll.distinct("edges", "parent_source", "parent_stream")
    highest = known.highest(streams)
    reached = np.array([highest[stream] for stream in streams], np.int64)[of]
    last = numbers(content, "parent_first") + numbers(content, "parent_width") - 1
    last += numbers(content, "parent_step") * (numbers(content, "child_count") - 1)
    # Records of training come in another partition than their parents, before or after them.
    across = ~poll.by("edges", next(iter(AGENTS))) | poll.is_in("edges", "parent_source", TRAINING_SOURCE)
    poll.leave("edges", ~across & (last > reached), FORGED, ": found parents that no agent has written yet")


class _Children(Struct, frozen=True):
    """Single children of edges, with the lowest and highest number of their parents; `row`: the edge."""

    row: Numbers
    number: Numbers
    low: Numbers
    high: Numbers

    def part(self, rows: Mask | Numbers) -> _Children:
        return _Children(self.row[rows], self.number[rows], self.low[rows], self.high[rows])


def _children(edges: pa.Table) -> _Children:
    count = numbers(edges, "child_count")
    row = np.repeat(np.arange(len(edges)), count)
    nth = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    low = numbers(edges, "parent_first")[row] + nth * numbers(edges, "parent_step")[row]
    return _Children(
        row,
        numbers(edges, "child_first")[row] + nth * numbers(edges, "child_step")[row],
        low,
        low + numbers(edges, "parent_width")[row] - 1,
    )


def _unwritten(poll: Poll, known: Lookup) -> None:
    edges, children = poll.tables["edges"], _children(poll.tables["edges"])
    lacking = np.unique(children.row[~_brought(poll, children)])
    absent = np.zeros(len(edges), bool)
    if len(lacking):
        absent[lacking] = True
        looked = children.part(absent[children.row])
        written = np.zeros(len(looked.row), bool)
        for begin in range(0, len(written), LINEAGE_CHILDREN_MAX):
            part = np.arange(begin, min(begin + LINEAGE_CHILDREN_MAX, len(written)))
            written[part] = _written(poll, known, looked.part(part))
        absent = np.bincount(looked.row, ~written, len(edges)) > 0
    # A child can have a parent of one stream only once.
    some = children.part(~absent[children.row])
    pair = poll.distinct("edges", *(f"{side}_{name}" for side in ("child", "parent") for name in _NUMBERED))[
        1
    ]
    order, covered = _covered(_keys(pair[some.row], some.number), some.low, some.high)
    again = np.zeros(len(edges), bool)
    again[some.row[order][covered]] = True
    poll.leave(
        "edges",
        absent | again,
        DUPLICATE,
        ": found a child that no such record brought, or that has its parents",
    )


def _keys(group: Numbers, number: Numbers) -> Numbers:
    """A small number for each pair of group and number; equal pairs have the same number."""
    ranks = np.unique(number, return_inverse=True)[1]
    keys: Numbers = np.unique(group * np.int64(len(ranks) + 1) + ranks, return_inverse=True)[1]
    return keys


def _brought(poll: Poll, children: _Children) -> Mask:
    """Which children are events of this poll that came in the same partition."""
    if "events" not in poll.tables or not len(poll.tables["events"]):
        return np.zeros(len(children.row), bool)
    partitions = np.concatenate((poll.partition_of("edges"), poll.partition_of("events")))
    columns = [joined(poll.words("edges", f"child_{name}"), poll.words("events", name)) for name in _NUMBERED]
    _, of = distinct(
        [*columns, Words(np.unique(partitions).tolist(), np.unique(partitions, return_inverse=True)[1])]
    )
    asked, events_of = of[: len(poll.tables["edges"])], of[len(poll.tables["edges"]) :]
    wanted = np.zeros(int(of.max()) + 1, bool)
    wanted[asked] = True
    near = wanted[events_of]
    keys = _keys(
        np.concatenate((asked[children.row], events_of[near])),
        np.concatenate((children.number, numbers(poll.tables["events"], "first")[near])),
    )
    brought: Mask = np.isin(keys[: len(children.row)], keys[len(children.row) :])
    return brought


def _written(poll: Poll, known: Lookup, children: _Children) -> Mask:
    """Which children came in an earlier poll in the same partition and do not have those parents yet."""
    edges, at = poll.tables["edges"], pa.array(children.row)
    return known.written(
        pa.table(
            {
                **{f"child_{name}": edges.column(f"child_{name}").take(at) for name in _NUMBERED},
                "number": children.number,
                "partition": poll.partition_of("edges")[children.row],
                **{f"parent_{name}": edges.column(f"parent_{name}").take(at) for name in _NUMBERED},
                "low": children.low,
                "high": children.high,
            }
        )
    )
