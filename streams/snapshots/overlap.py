"""Rows that stand where another stands already, and edges between events that are none.

Only the row is left out, not its record: a device that sends under another's name, or to two partitions,
can bring such rows into an honest record, and must not take its neighbours with it.
"""

from __future__ import annotations

from bisect import bisect_right

import numpy as np
import pyarrow as pa

from streams.limits import LINEAGE_CHILDREN_MAX
from streams.snapshots.known import Known, Stream
from streams.snapshots.poll import DUPLICATE, FORGED, Mask, Numbers, Poll, distinct, is_in, numbers
from streams.topology import AGENTS, TRAINING_SOURCE


def check(poll: Poll, known: Known) -> None:
    """Leave out the rows of a poll that are in the store or in the poll already, and edges of no events."""
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


def _streams(poll: Poll, known: Known) -> None:
    """A stream keeps the kind that was said of it first."""
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


def _events(poll: Poll, known: Known) -> None:
    content = poll.tables["events"]
    if not len(content):
        return
    streams, of = _streams_of(content, "")
    low = numbers(content, "first")
    high = low + numbers(content, "count") - 1
    taken = _clashing(of, low, high)
    highest = known.highest(streams)
    old = ~taken & (low <= np.array([highest[stream] for stream in streams])[of])
    if old.any():
        behind, there = np.unique(of[old], return_inverse=True)
        taken[old] = known.taken([streams[at] for at in behind.tolist()], there, low[old], high[old])
    reached = np.full(len(streams), -1, np.int64)
    np.maximum.at(reached, of[~taken], high[~taken])
    known.reached(dict(zip(streams, reached.tolist(), strict=True)))
    poll.leave("events", taken, DUPLICATE, ": numbers stand already")


def _streams_of(content: pa.Table, prefix: str) -> tuple[list[Stream], Numbers]:
    """The different streams of a table, and which of them each row is about."""
    found, of = distinct(content.column(f"{prefix}source"), content.column(f"{prefix}stream"))
    return [(source, stream) for source, stream in found], of


def _covered(of: Numbers, low: Numbers, high: Numbers) -> tuple[Numbers, Mask]:
    """Order of intervals by group and number, and which of them in that order begin in an earlier one."""
    order = np.lexsort((low, of))
    ranks = np.unique(np.concatenate((low, high)), return_inverse=True)[1]
    width = np.int64(2 * len(of) + 1)
    begin, end = of[order] * width + ranks[: len(of)][order], of[order] * width + ranks[len(of) :][order]
    covered = np.zeros(len(of), bool)
    covered[1:] = begin[1:] <= np.maximum.accumulate(end)[:-1]
    return order, covered


def _clashing(of: Numbers, low: Numbers, high: Numbers) -> Mask:
    """Intervals that overlap one of their group that came before them."""
    clashing = np.zeros(len(of), bool)
    order, covered = _covered(of, low, high)
    if not covered.any():
        return clashing
    # Only where some overlap is it looked at one by one, in the order in which they came.
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


def _edges(poll: Poll, known: Known) -> None:
    """Leave out edges whose child no record of the same partition brought, or whose parents are none."""
    if not len(poll.tables["edges"]):
        return
    _unwritten(poll, known)
    content = poll.tables["edges"]
    streams, of = _streams_of(content, "parent_")
    highest = known.highest(streams)
    reached = np.array([highest[stream] for stream in streams], np.int64)[of]
    last = numbers(content, "parent_first") + numbers(content, "parent_width") - 1
    last += numbers(content, "parent_step") * (numbers(content, "child_count") - 1)
    # What training writes comes by another partition than what it is made of, before it or after it.
    across = ~poll.by("edges", next(iter(AGENTS))) | is_in(content, "parent_source", (TRAINING_SOURCE,))
    poll.leave("edges", ~across & (last > reached), FORGED, ": found parents that no agent has written yet")


def _unwritten(poll: Poll, known: Known) -> None:
    edges = poll.tables["edges"]
    events = poll.tables.get("events")
    count = numbers(edges, "child_count")
    row = np.repeat(np.arange(len(edges)), count)
    nth = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    child = numbers(edges, "child_first")[row] + nth * numbers(edges, "child_step")[row]
    low = numbers(edges, "parent_first")[row] + nth * numbers(edges, "parent_step")[row]
    high = low + numbers(edges, "parent_width")[row] - 1
    partition = poll.partition_of("edges")
    came = np.zeros(len(row), bool)
    if events is not None and len(events):
        columns = [
            pa.chunked_array(
                [*edges.column(f"child_{name}").chunks, *events.column(name).chunks], pa.string()
            )
            for name in ("source", "stream")
        ]
        both = np.concatenate((partition, poll.partition_of("events")))
        _, of = distinct(*columns, pa.chunked_array([pa.array(both)]))
        firsts = numbers(events, "first")
        ranks = np.unique(np.concatenate((child, firsts)), return_inverse=True)[1]
        keys = np.concatenate((of[: len(edges)][row], of[len(edges) :])) * np.int64(len(ranks) + 1) + ranks
        came = np.isin(keys[: len(row)], keys[len(row) :])
    lacking = np.unique(row[~came])
    absent = np.zeros(len(edges), bool)
    if len(lacking):
        absent[lacking] = True
        looked = absent[row]
        written = _looked_up(known, edges, row[looked], child[looked], low[looked], high[looked], partition)
        absent = np.bincount(row[looked], ~written, len(edges)) > 0
    # Of one child and one stream of parents, no parent stands twice.
    kept = ~absent[row]
    _, pair = distinct(
        *(edges.column(f"{side}_{name}") for side in ("child", "parent") for name in ("source", "stream"))
    )
    ranks = np.unique(child, return_inverse=True)[1]
    of_child = (pair[row] * np.int64(len(ranks) + 1) + ranks)[kept]
    again = np.zeros(len(edges), bool)
    if len(of_child):
        order, covered = _covered(np.unique(of_child, return_inverse=True)[1], low[kept], high[kept])
        again[row[kept][order][covered]] = True
    poll.leave(
        "edges",
        absent | again,
        DUPLICATE,
        ": found a child that no such record brought, or that has its parents",
    )


def _looked_up(
    known: Known,
    edges: pa.Table,
    row: Numbers,
    child: Numbers,
    low: Numbers,
    high: Numbers,
    partition: Numbers,
) -> Mask:
    """Which of some children came in an earlier poll, by the same partition, without those parents."""
    found = np.zeros(len(row), bool)
    for begin in range(0, len(row), LINEAGE_CHILDREN_MAX):
        part = slice(begin, begin + LINEAGE_CHILDREN_MAX)
        at = pa.array(row[part])
        found[part] = known.written(
            pa.table(
                {
                    "source": edges.column("child_source").take(at),
                    "stream": edges.column("child_stream").take(at),
                    "number": child[part],
                    "partition": partition[row[part]],
                    "parent_source": edges.column("parent_source").take(at),
                    "parent_stream": edges.column("parent_stream").take(at),
                    "low": low[part],
                    "high": high[part],
                }
            )
        )
    return found
