"""The question `reached`: whether one event led to another, and by which path."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from streams import limits
from streams.events.identity import EventId, format_id
from streams.queries.about import event_row, may_be_shown, parsed, start_of, unknown
from streams.queries.answers import Answer
from streams.queries.lookup import Direction
from streams.queries.relation import Interval, Stream
from streams.queries.store import Store
from streams.queries.walk import (
    Reached,
    children_of,
    common,
    include,
    one_hop,
    parents_of,
    size,
    subtract,
    union,
)


class WayRow(Struct, frozen=True):
    """One event of the path, what made it from the one before (empty for the first), and its zones."""

    id: str
    operator: str
    declassifier: str
    zones: tuple[str, ...]


class Between(Answer, frozen=True, kw_only=True):
    """Whether `id` reached `to`; `way` is a shortest path from `id` to `to`, empty if there is none.

    `reached` is None if a bound stopped the walk before the result was known; `stopped` says why.
    """

    id: str
    to: str
    epoch: int
    reached: bool | None
    stopped: tuple[str, ...]
    hops: int
    way: tuple[WayRow, ...]


def between(store: Store, identity: str, to: str) -> Between:
    """Return whether an event reached another, and a shortest path.

    The search runs from both ends, with each hop on the side with the smaller frontier. Paths only contain
    events that the role may see. InputError if an id is malformed or the store does not have the event.
    """
    ends = parsed(identity), parsed(to)
    for event in ends:
        if not may_be_shown(store, event):
            raise unknown(store, event)
    sides = _Side(store, "children", ends[0]), _Side(store, "parents", ends[1])
    stopped: tuple[str, ...] = ()
    meeting = _meeting(*sides)
    while meeting is None and all(side.frontier for side in sides):
        if sum(side.gone_through for side in sides) > limits.WALK_EVENTS_MAX:
            stopped = (
                f"after {sum(len(side.levels) - 1 for side in sides)} hops, with more than "
                f"{limits.WALK_EVENTS_MAX:,} events: a question goes through no more",
            )
            break
        side, other = sorted(sides, key=lambda each: sum(map(len, each.frontier.values())))
        side.go_on()
        meeting = _meeting(side, other)
    for side, event in zip(sides, ends, strict=True):
        # An event with parents or children exists; for others, look for the event's own row.
        met = meeting is not None and ends[0] != ends[1]
        if not met and not any(side.levels[1:]) and event_row(store, event) is None:
            raise unknown(store, event)
    way = () if meeting is None else _way(store, *sides, meeting)
    return Between(
        id=str(ends[0]),
        to=str(ends[1]),
        epoch=store.epoch,
        reached=None if stopped else meeting is not None,
        stopped=stopped,
        hops=max(len(way) - 1, 0),
        way=way,
    )


class _Side:
    """A walk from one end; `levels` has the events that each hop reached first, beginning with the event."""

    def __init__(self, store: Store, direction: Direction, event: EventId) -> None:
        self.store, self.direction = store, direction
        self.frontier: Reached = {start_of(event): [(event.number, event.number)]}
        self.levels: list[Reached] = [self.frontier]
        self.visited: Reached = dict(self.frontier)
        self.gone_through = 0

    def go_on(self) -> None:
        """Walk one hop further."""
        fresh: Reached = {}
        for step in one_hop(self.store, self.direction, self.frontier, len(self.levels)):
            numbers = subtract(step.numbers, self.visited.get(step.stream, ()))
            if numbers:
                include(fresh, step.stream, numbers)
        for stream, numbers in fresh.items():
            include(self.visited, stream, numbers)
            self.gone_through += size(numbers)
        self.frontier = fresh
        self.levels.append(fresh)


def _meeting(side: _Side, other: _Side) -> tuple[Stream, int] | None:
    """An event of the last hop of `side` that the other side has reached too, if any."""
    for stream, numbers in side.frontier.items():
        if both := common(numbers, other.visited.get(stream, ())):
            return stream, both[0][0]
    return None


def _way(store: Store, down: _Side, up: _Side, meeting: tuple[Stream, int]) -> tuple[WayRow, ...]:
    """Path through the event where two walks met, traced back hop by hop to both ends."""
    before = _back(store, down, meeting)
    after = _back(store, up, meeting)
    events = [*reversed([event for event, _ in before]), meeting, *(event for event, _ in after)]
    made_by = [("", ""), *reversed([made for _, made in before]), *(made for _, made in after)]
    zones = store.lookup.zones(
        {
            stream: (
                min(number for of, number in events if of == stream),
                max(number for of, number in events if of == stream),
            )
            for stream, _ in events
        }
    )
    return tuple(
        WayRow(
            format_id(stream[0], stream[1], number, stream[2]),
            *made,
            tuple(sorted({run.row_class.zone for run in zones[stream] if run.low <= number <= run.high})),
        )
        for (stream, number), made in zip(events, made_by, strict=True)
    )


def _back(
    store: Store, side: _Side, meeting: tuple[Stream, int]
) -> list[tuple[tuple[Stream, int], tuple[str, str]]]:
    """Events from the meeting back to the start of a side, each with the operator of the edge."""
    level = next(
        number
        for number, reached in enumerate(side.levels)
        if common(reached.get(meeting[0], ()), [(meeting[1],) * 2])
    )
    way = []
    (stream, number) = meeting
    against: Direction = "parents" if side.direction == "children" else "children"
    for reached in reversed(side.levels[:level]):
        stream, number, made = _neighbour(store, against, (stream, number), reached)
        way.append(((stream, number), made))
    return way


def _neighbour(
    store: Store, direction: Direction, event: tuple[Stream, int], among: Reached
) -> tuple[Stream, int, tuple[str, str]]:
    """A neighbour of `event` in `among`, with the operator and declassifier of the edge between them."""
    stream, number = event
    own: Sequence[Interval] = [(number, number)]
    for edge in store.lookup.edges(direction, {stream: own}):
        if direction == "parents":
            other, numbers = edge.parent, parents_of(edge.run, own)
        else:
            other, numbers = edge.child, children_of(edge.run, own)
        if both := common(union(numbers), among.get(other, ())):
            return other, both[0][0], (edge.how.operator, edge.how.declassifier)
    raise AssertionError("what a hop reached has a neighbour in the hop before")
