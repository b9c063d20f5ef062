"""Walks over edge runs, hop by hop.

The frontier of a walk has intervals of numbers by stream; one statement finds the edges of all of it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter

from streams import limits
from streams.errors import InputError
from streams.events.runs import EdgeRun
from streams.queries.lookup import Direction, ZoneRun
from streams.queries.relation import How, Interval, Stream
from streams.queries.store import Store

#: Events by stream, as sorted intervals of numbers that do not touch.
Reached = dict[Stream, list[Interval]]


@dataclass(frozen=True, slots=True)
class Step:
    """Events of `stream` that one hop reached from `origin` by `operator`, as closed intervals of numbers.

    `zones` are the runs of zones of these events, as far as the store's role may see them.
    """

    hop: int
    origin: Stream
    stream: Stream
    operator: str
    operator_version: int
    directness: str
    declassifier: str
    numbers: tuple[Interval, ...]
    zones: tuple[ZoneRun, ...]


def walk(
    store: Store,
    direction: Direction,
    start: Stream,
    number: int,
    stop_at: Callable[[Stream], bool],
    hops_max: int = limits.WALK_HOPS_MAX,
) -> Iterator[Step]:
    """Yield the ancestors or descendants of one event, like `hops`."""
    for steps in hops(store, direction, {start: [(number, number)]}, stop_at, hops_max):
        yield from steps


def hops(
    store: Store,
    direction: Direction,
    starts: Mapping[Stream, Sequence[Interval]],
    stop_at: Callable[[Stream], bool],
    hops_max: int = limits.WALK_HOPS_MAX,
    narrow: Callable[[Sequence[Step]], Sequence[Step]] = tuple,
) -> Generator[Sequence[Step], None, Reached]:
    """Yield the ancestors or descendants of some events, hop by hop; every event is visited once.

    Returns the events from which the walk did not continue because of `hops_max`, if any.

    Parameters
    ----------
    starts
        Sorted, disjoint intervals of numbers, not adjacent, by stream.
    stop_at
        Whether a walk stops at the events of a stream.
    hops_max
        Bound on the number of hops. Lineage has no cycles, but a damaged store could have.
    narrow
        Filters the steps of a hop; the walk does not continue from events that it removes.
    """
    frontier: Reached = {stream: list(numbers) for stream, numbers in starts.items()}
    visited: Reached = {stream: list(numbers) for stream, numbers in starts.items()}
    for hop in range(1, hops_max + 1):
        if not frontier:
            break
        following: Reached = {}
        steps = narrow(list(one_hop(store, direction, frontier, hop)))
        if steps:
            yield steps
        for step in steps:
            fresh = subtract(step.numbers, visited.get(step.stream, ()))
            if fresh and not stop_at(step.stream):
                following.setdefault(step.stream, []).extend(fresh)
            include(visited, step.stream, step.numbers)
        frontier = {stream: union(numbers) for stream, numbers in following.items()}
    return frontier


def one_hop(
    store: Store, direction: Direction, frontier: Mapping[Stream, Sequence[Interval]], hop: int
) -> Iterator[Step]:
    """Steps from the frontier, with the numbers that the store's role may see.

    The walk does not continue through events that it may not see.
    """
    numbers_met: dict[tuple[Stream, Stream, How], list[Interval]] = {}
    for edge in store.lookup.edges(direction, frontier):
        if direction == "parents":
            origin, met = edge.child, edge.parent
            numbers = parents_of(edge.run, frontier[origin])
        else:
            origin, met = edge.parent, edge.child
            numbers = children_of(edge.run, frontier[origin])
        if numbers:
            numbers_met.setdefault((origin, met, edge.how), []).extend(numbers)
    reached: dict[Stream, Interval] = {}
    for (_, met, _), numbers in numbers_met.items():
        low, high = reached.get(met, numbers[0])
        reached[met] = (min(low, *(each[0] for each in numbers)), max(high, *(each[1] for each in numbers)))
    zones = {stream: judged(store, runs) for stream, runs in store.lookup.zones(reached).items()}
    over = {stream: union(numbers) for stream, numbers in store.lookup.over(reached).items()}
    for (origin, met, how), numbers in sorted(numbers_met.items()):
        shown_runs, hidden = zones[met]
        every = subtract(union(numbers), over.get(met, ()))
        shown = subtract(every, hidden)
        near = (
            [run for run in shown_runs if run.low <= shown[-1][1] and run.high >= shown[0][0]]
            if shown
            else []
        )
        if store.role_filter is not None:
            store.role_filter.hide("events", size(every) - size(shown))
            for run in near:
                store.role_filter.note(run.row_class.policy_version, run.row_class.zone)
        if shown:
            yield Step(hop, origin, met, *how, tuple(shown), tuple(near))


def judged(store: Store, runs: Sequence[ZoneRun]) -> tuple[list[ZoneRun], list[Interval]]:
    """Divide runs of zones into those that the store's role may see, and the numbers of the others.

    Where runs overlap, it is unknown which class a number has, so the role must be allowed to see all.
    """
    if store.role_filter is None:
        return list(runs), []
    shown, hidden = [], []
    for run in runs:
        if store.role_filter.shows(run.row_class, "events"):
            shown.append(run)
        else:
            hidden.append((run.low, run.high))
    return shown, union(hidden)


def parents_of(run: EdgeRun, wanted: Sequence[Interval]) -> list[Interval]:
    """Numbers of the parents, by an edge run, of the children in `wanted`, which is sorted and disjoint."""
    first, step, count = run.child.first, run.child.step, run.child.count
    start, advance, width = run.parent_first, run.parent_step, run.width
    if count == 1:
        return [(start, start + width - 1)] if holds(wanted, first) else []
    numbers: list[Interval] = []
    for low, high in near(wanted, first, run.child.last):
        begin, end = max(-(-(low - first) // step), 0), min((high - first) // step, count - 1)
        numbers += _runs(begin, end, start, advance, width)
    return numbers


def children_of(run: EdgeRun, wanted: Sequence[Interval]) -> list[Interval]:
    """Numbers of the children, by an edge run, of the parents in `wanted`, which is sorted and disjoint."""
    first, step, count = run.child.first, run.child.step, run.child.count
    start, advance, width = run.parent_first, run.parent_step, run.width
    numbers: list[Interval] = []
    for low, high in near(wanted, start, start + advance * (count - 1) + width - 1):
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
    """Intervals `start + i * advance ... + width - 1` for i from `begin` to `end`, merged if they touch."""
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


def union(intervals: Iterable[Interval]) -> list[Interval]:
    """Merge closed intervals into the fewest sorted ones."""
    merged: list[Interval] = []
    for low, high in sorted(intervals):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return merged


def include(events: Reached, stream: Stream, numbers: Iterable[Interval]) -> None:
    """Add numbers of a stream to `events`, in place."""
    events[stream] = union([*events.get(stream, ()), *numbers])


def united(several: Iterable[Mapping[Stream, Sequence[Interval]]]) -> Reached:
    """Union of several sets of events."""
    numbers: dict[Stream, list[Interval]] = {}
    for events in several:
        for stream, of_stream in events.items():
            numbers.setdefault(stream, []).extend(of_stream)
    return {stream: union(of_stream) for stream, of_stream in numbers.items()}


def subtract(intervals: Sequence[Interval], taken: Sequence[Interval]) -> list[Interval]:
    """`intervals` without `taken`; both sorted and disjoint."""
    left: list[Interval] = []
    at = 0
    for interval in intervals:
        low, high = interval
        while at < len(taken) and taken[at][1] < low:
            at += 1
        following = at
        while following < len(taken) and taken[following][0] <= high:
            start, end = taken[following]
            if start > low:
                left.append((low, start - 1))
            low = end + 1
            following += 1
        if low <= high:
            left.append((low, high))
    return left


def near(intervals: Sequence[Interval], low: int, high: int) -> Sequence[Interval]:
    """Those of some sorted, disjoint intervals that have a number from `low` to `high`."""
    begin = bisect_left(intervals, low, key=itemgetter(1))
    return intervals[begin : bisect_right(intervals, high, lo=begin, key=itemgetter(0))]


def holds(intervals: Sequence[Interval], number: int) -> bool:
    """Whether one of some sorted, disjoint intervals has a number."""
    at = bisect_left(intervals, number, key=itemgetter(1))
    return at < len(intervals) and intervals[at][0] <= number


def common(intervals: Sequence[Interval], others: Sequence[Interval]) -> list[Interval]:
    """Intersection of `intervals` and `others`; both sorted and disjoint."""
    return subtract(intervals, subtract(intervals, others))


def size(intervals: Sequence[Interval]) -> int:
    """How many numbers the intervals hold."""
    return sum(high - low + 1 for low, high in intervals)
