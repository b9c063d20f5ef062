"""Walks over lineage with bounds on events, hops and time, and an explanation of why they stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from streams import limits
from streams.errors import InputError
from streams.events.headers import rfc3339
from streams.queries.lookup import Direction
from streams.queries.relation import Interval, Stream
from streams.queries.store import Store
from streams.queries.walk import Reached, Step, common, hops, include, size, subtract, union

_EPOCH, _MICROSECOND = datetime.fromtimestamp(0, UTC), timedelta(microseconds=1)


class Bounds(NamedTuple):
    """Bounds of a walk: at most `hops` hops, over events captured up to `until_ns` (0: no bound)."""

    hops: int = limits.WALK_HOPS_MAX
    until_ns: int = 0


UNBOUNDED = Bounds()


class Window(NamedTuple):
    """A span of time, both ends included."""

    since_ns: int = 0
    until_ns: int = limits.TIME_NS_MAX

    @classmethod
    def of(cls, since: str, until: str, prefix: str = "") -> Window:
        """Window between two times in RFC 3339 (empty: open); InputError names the option `prefix` + name."""
        return cls(
            time_ns(since, f"{prefix}since") if since else 0,
            time_ns(until, f"{prefix}until") if until else limits.TIME_NS_MAX,
        )


ALWAYS = Window()


class Spread:
    """A walk from some events to their ancestors or descendants, within bounds.

    Iterate it once. Afterwards `reached` has the events, `last_hop` the last hop, and `stopped` sentences
    about the bounds that ended the walk, none if it is complete.
    """

    def __init__(
        self,
        store: Store,
        direction: Direction,
        starts: Mapping[Stream, Sequence[Interval]],
        stop_at: Callable[[Stream], bool],
        bounds: Bounds = UNBOUNDED,
    ) -> None:
        self.store, self.bounds = store, bounds
        self.reached: Reached = {}
        self.last_hop = 0
        self.stopped: list[str] = []
        self._later = False
        self._hops = hops(store, direction, starts, stop_at, bounds.hops, self._narrowed)

    def __iter__(self) -> Iterator[Step]:
        while True:
            try:
                steps = next(self._hops)
            except StopIteration as end:
                self._say_why(end.value)
                return
            for step in steps:
                self.last_hop = step.hop
                include(self.reached, step.stream, step.numbers)
                yield step
            if sum(map(size, self.reached.values())) > limits.WALK_EVENTS_MAX:
                self._hops.close()
                self._say_why({})
                self.stopped.append(self.too_many)
                return

    @property
    def too_many(self) -> str:
        """Sentence for a walk that reached more than WALK_EVENTS_MAX events."""
        return (
            f"after hop {self.last_hop}, with more than {limits.WALK_EVENTS_MAX:,} events: a question goes "
            "through no more; ask for fewer hops, or until an earlier time"
        )

    def _say_why(self, left: Reached) -> None:
        if count := sum(map(size, left.values())):
            self.stopped.append(
                f"after hop {self.bounds.hops}, as asked: what lies beyond {count:,} events was not looked at"
            )
        if self._later:
            self.stopped.append(
                f"at {rfc3339(self.bounds.until_ns)}, as asked: what was captured later was left out"
            )

    def _narrowed(self, steps: Sequence[Step]) -> Sequence[Step]:
        if not self.bounds.until_ns:
            return steps
        wanted: Reached = {}
        for step in steps:
            include(wanted, step.stream, step.numbers)
        later = captured_later(self.store, wanted, self.bounds.until_ns)
        kept = []
        for step in steps:
            numbers = subtract(step.numbers, later.get(step.stream, ()))
            self._later = self._later or size(numbers) < size(step.numbers)
            if numbers:
                low, high = numbers[0][0], numbers[-1][1]
                zones = tuple(run for run in step.zones if run.low <= high and run.high >= low)
                kept.append(replace(step, numbers=tuple(numbers), zones=zones))
        return kept


def captured_later(store: Store, events: Reached, until_ns: int) -> Reached:
    """Which of `events` were captured after a time; times within a run are interpolated."""
    asked = [(stream, low, high) for stream, numbers in events.items() for low, high in numbers]
    files = {
        file
        for (source, stream, _), low, high in asked
        for file in store.lookup.files("events", "own", source, stream, low, high)
    }
    if not files:
        return {}
    later: Reached = {}
    parameters = {
        "sources": [stream[0] for stream, _, _ in asked],
        "streams": [stream[1] for stream, _, _ in asked],
        "revisions": [stream[2] for stream, _, _ in asked],
        "lows": [low for _, low, _ in asked],
        "highs": [high for _, _, high in asked],
    }
    for source, stream, revision, first, step, count, since, last in store.query(
        "event_times", parameters, files
    ).rows:
        numbers = (
            first + step * nth
            for nth in range(count)
            if since + (last - since) * nth // max(count - 1, 1) > until_ns
        )
        later.setdefault((source, stream, revision), []).extend((number, number) for number in numbers)
    return {stream: common(union(numbers), events[stream]) for stream, numbers in later.items()}


def time_ns(text: str, option: str) -> int:
    """Nanoseconds since the Unix epoch of a time in RFC 3339; InputError names the `option`."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(
            f"{option}: found another form, expected a time in RFC 3339, such as 2026-11-28T19:46:28Z; "
            "without a zone it is UTC"
        ) from None
    since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH
    return min(max(since // _MICROSECOND * 1000, 0), limits.TIME_NS_MAX)
