"""Walks over edge runs, hop by hop.

The frontier is intervals of numbers, and only the files that hold them are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from streams import limits
from streams.errors import InputError
from streams.queries.store import Store

Interval = tuple[int, int]
#: Source, stream and revision: an edge to a corrected event does not lead to the one before.
Stream = tuple[str, str, int]
Direction = Literal["parents", "children"]


@dataclass(frozen=True, slots=True)
class Step:
    """What one hop found: events of `stream`, from `origin` by `operator`, as closed intervals of numbers."""

    hop: int
    origin: Stream
    stream: Stream
    operator: str
    operator_version: int
    directness: str
    declassifier: str
    numbers: tuple[Interval, ...]


def walk(
    store: Store,
    direction: Direction,
    start: Stream,
    number: int,
    stop_at: Callable[[Stream], bool],
    hops_max: int = limits.WALK_HOPS_MAX,
) -> Iterator[Step]:
    """Yield what lies before or after one event, nearest first; every event is gone through once.

    Parameters
    ----------
    stop_at
        Streams that are reached but not gone through.
    hops_max
        Bound on the walk's length. Event lineage has no cycle, but a store is only data.
    """
    frontier: dict[Stream, list[Interval]] = {start: [(number, number)]}
    visited: dict[Stream, list[Interval]] = {start: [(number, number)]}
    for hop in range(1, hops_max + 1):
        following: dict[Stream, list[Interval]] = {}
        for origin, wanted in sorted(frontier.items()):
            for met in _one_hop(store, direction, origin, wanted, hop):
                step = _shown(store, met)
                if not step.numbers:
                    continue
                yield step
                fresh = subtract(step.numbers, visited.get(step.stream, ()))
                if fresh and not stop_at(step.stream):
                    following.setdefault(step.stream, []).extend(fresh)
                visited[step.stream] = union([*visited.get(step.stream, ()), *step.numbers])
        frontier = {stream: union(numbers) for stream, numbers in following.items()}
        if not frontier:
            return


def _shown(store: Store, step: Step) -> Step:
    """A step with the numbers that the store's role is shown.

    What it is not shown is not gone through either.
    """
    if store.sight is None:
        return step
    (source, stream, revision), low, high = step.stream, step.numbers[0][0], step.numbers[-1][1]
    files = store.files_with("events", "own", source, stream, low, high)
    at = {
        "files": files,
        "source": source,
        "stream": stream,
        "revision": revision,
        "low": low,
        "high": high,
    }
    hidden: list[Interval] = []
    for row in store.query("zones_at", at).dicts() if files else ():
        if store.sight.sees(row, "events"):
            store.sight.note(row["policy_version"], row["zone"])
        else:
            hidden += _runs(0, row["count"] - 1, row["first"], row["step"], 1)
    shown = subtract(step.numbers, union(hidden))
    store.sight.hide("events", size(step.numbers) - size(shown))
    return replace(step, numbers=tuple(shown))


def _one_hop(
    store: Store, direction: Direction, origin: Stream, wanted: Sequence[Interval], hop: int
) -> Iterator[Step]:
    low, high = wanted[0][0], wanted[-1][1]
    role = "child" if direction == "parents" else "parent"
    source, stream, revision = origin
    files = store.files_with("edges", role, source, stream, low, high)
    if not files:
        return
    found: dict[tuple[Any, ...], list[Interval]] = {}
    for edge in store.query(
        direction,
        {
            "files": files,
            "source": source,
            "stream": stream,
            "revision": revision,
            "low": low,
            "high": high,
        },
    ).dicts():
        numbers = parents_of(edge, wanted) if direction == "parents" else children_of(edge, wanted)
        if numbers:
            other = "parent" if direction == "parents" else "child"
            key = (
                (edge[f"{other}_source"], edge[f"{other}_stream"], edge[f"{other}_revision"]),
                edge["operator"],
                edge["operator_version"],
                edge["directness"],
                edge["declassifier"],
            )
            found.setdefault(key, []).extend(numbers)
    for (met, operator, version, directness, declassifier), numbers in found.items():
        yield Step(hop, origin, met, operator, version, directness, declassifier, tuple(union(numbers)))


def parents_of(edge: Mapping[str, Any], wanted: Sequence[Interval]) -> list[Interval]:
    """Parents that an edge run gives to the children in `wanted`."""
    first, step, count = edge["child_first"], edge["child_step"], edge["child_count"]
    start, advance, width = edge["parent_first"], edge["parent_step"], edge["parent_width"]
    numbers: list[Interval] = []
    for low, high in wanted:
        begin, end = max(-(-(low - first) // step), 0), min((high - first) // step, count - 1)
        numbers += _runs(begin, end, start, advance, width)
    return numbers


def children_of(edge: Mapping[str, Any], wanted: Sequence[Interval]) -> list[Interval]:
    """Children that an edge run gives to the parents in `wanted`."""
    first, step, count = edge["child_first"], edge["child_step"], edge["child_count"]
    start, advance, width = edge["parent_first"], edge["parent_step"], edge["parent_width"]
    numbers: list[Interval] = []
    for low, high in wanted:
        if advance == 0:
            begin, end = (0, count - 1) if start <= high and start + width - 1 >= low else (0, -1)
        else:
            begin, end = (
                max(-(-(low - width + 1 - start) // advance), 0),
                min((high - start) // advance, count - 1),
            )
        numbers += _runs(begin, end, first, step, 1)
    return numbers


def _runs(begin: int, end: int, start: int, advance: int, width: int) -> list[Interval]:
    """Intervals `start + i * advance ... + width - 1` for i from `begin` to `end`; one where they touch."""
    if begin > end:
        return []
    if advance <= width:
        return [(start + begin * advance, start + end * advance + width - 1)]
    if end - begin >= limits.WALK_PARTS_MAX:
        raise InputError(
            f"walk: found a run that falls into more than {limits.WALK_PARTS_MAX:,} parts, expected fewer; "
            '`sightline sql "FROM edges"` shows the runs themselves'
        )
    return [(start + i * advance, start + i * advance + width - 1) for i in range(begin, end + 1)]


def union(intervals: Sequence[Interval]) -> list[Interval]:
    """Closed intervals as few sorted ones that do not touch."""
    merged: list[Interval] = []
    for low, high in sorted(intervals):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return merged


def subtract(intervals: Sequence[Interval], taken: Sequence[Interval]) -> list[Interval]:
    """`intervals` without `taken`; both sorted and not touching."""
    left: list[Interval] = []
    for interval in intervals:
        low, high = interval
        for start, end in taken:
            if end < low or start > high:
                continue
            if start > low:
                left.append((low, start - 1))
            low = end + 1
        if low <= high:
            left.append((low, high))
    return left


def size(intervals: Sequence[Interval]) -> int:
    """How many numbers the intervals hold."""
    return sum(high - low + 1 for low, high in intervals)
