"""Samples that come late: they change windows that are closed already, so events get new revisions.

A window never waits for them. It is closed as `windows.roll` says, and its event is made. But a window beside
missing numbers of its own `length` numbers is kept, and so is one that the end of its session closed. If
samples with the missing numbers come, they make one window with the kept ones beside them, if these are equal
in what closes windows (law 2). The event of that window is the next revision of the one with its number, or
the first if there is none, and has an edge to each event that was made of its samples before. If the open
window is beside the samples, it goes on with them, and its event has those edges.

Each late batch changes windows by itself, in partition order, so that revisions do not depend on the division
into fetches either. Nothing is kept of a stream whose batches come in order, as numbers are without holes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from streams.events.identity import incarnation_of
from streams.events.state import KeptWindow, LookBack, OpenWindow
from streams.limits import LOOK_BACK_WINDOWS
from streams.policy.step import Stretch
from streams.processing.operators import Operator
from streams.processing.windows import ClosedWindow, Ended, Samples, begun, roll

#: An event, as (number, revision).
Made = tuple[int, int]


@dataclass(slots=True, eq=False)
class Told:
    """Which events made of the samples of one window are in force.

    `former` tells it of the windows that were joined; `own` is the event that was made of the whole, as soon
    as there is one.
    """

    former: tuple[Told, ...] = ()
    own: tuple[Made, ...] = ()

    @property
    def superseded(self) -> tuple[Made, ...]:
        """Events that the window's own event replaces."""
        return tuple(sorted(event for told in self.former for event in told.in_force))

    @property
    def in_force(self) -> tuple[Made, ...]:
        """The window's own event; without one, those that it would have replaced."""
        return self.own or self.superseded

    def make(self, number: int) -> None:
        """Put the window's own event, which has `number`, in force."""
        self.own = ((number, self.revision(number)),)

    def revision(self, number: int) -> int:
        """Revision of the window's own event, which has `number`."""
        return 1 + max((revision for of, revision in self.superseded if of == number), default=-1)


class Rolled(Struct, frozen=True):
    """The windows of one stream after a fetch.

    `told` has an entry for each closed window that is kept or has former ones, by `place`. `late` are windows
    of samples that come too late: no event is made of them.
    """

    closed: Sequence[ClosedWindow]
    left: OpenWindow | None
    told: dict[tuple[int, int], Told] = {}
    late: Sequence[ClosedWindow] = ()
    behind: _Behind | None = None

    def look_back(self) -> LookBack | None:
        """What is kept for the next fetch, when `told` has the events; None if that is nothing."""
        return None if self.behind is None else self.behind.end()


def place(window: ClosedWindow) -> tuple[int, int]:
    """What tells a closed window from the others of its stream: its position and its first number."""
    return window.position, window.window.first


def roll_on(
    operator: Operator,
    kept_max: int,
    name: tuple[str, str],
    opened: OpenWindow | None,
    before: LookBack | None,
    stretches: Sequence[tuple[Stretch, Samples]],
    ended: Sequence[Ended],
) -> Rolled:
    """Divide the samples of one stream into windows like `roll`, of which late samples change closed ones.

    `before` is what is kept of the stream, at most `kept_max` windows.
    """
    length = operator.length
    if (
        length is None
        or not operator.revises
        or (before is None and not ended and all(_in_order(stretch, length) for stretch, _ in stretches))
    ):
        closed, left = roll(name, opened, stretches, operator.sample, length, ended, operator.breaks)
        return Rolled(closed, left)
    behind = _Behind(operator, length, kept_max, name, opened, before or LookBack())
    known_to = -1
    for stretch, samples in stretches if not ended else _batches(stretches):
        position = stretch.first.batch.position
        behind.roll([], [of for of in ended if known_to < of[0] < position], ended_here=True)
        behind.take(stretch, samples)
        known_to = stretch.batches[-1].position
    behind.roll([], [of for of in ended if of[0] > known_to], ended_here=True)
    incarnation = incarnation_of(name[1])
    if any(session is None and incarnation < newer for _, session, newer in ended):
        behind.give_up()
    return Rolled(behind.closed, behind.opened, behind.told, behind.late, behind)


def _in_order(stretch: Stretch, length: int) -> bool:
    """Whether a stretch has the numbers that were due, and none is missing that would not be too late."""
    due = stretch.due
    return stretch.first.batch.run.first == due and not any(
        high >= _oldest(due, length) for _, high in stretch.holes
    )


def _oldest(due: int, length: int) -> int:
    """Lowest number that is not too late when `due` is the number after the highest."""
    return max(0, (due // length - LOOK_BACK_WINDOWS) * length)


def _batches(stretches: Iterable[tuple[Stretch, Samples]]) -> Iterator[tuple[Stretch, Samples]]:
    """Divide stretches into their batches, because a session may end between two of them."""
    for stretch, samples in stretches:
        end, due, seen = 0, stretch.due, list(stretch.seen)
        if seen:
            seen[-1] = (seen[-1][0], due - 1)
        for batch in stretch.batches:
            start, end = end, end + batch.run.count
            first = replace(stretch.first, batch=batch)
            yield Stretch(first, due=due, seen=seen, batches=[batch]), samples[start:end]
            seen = sorted((*seen, (batch.run.first, batch.run.last)))
            due = max(due, batch.run.last + 1)


@dataclass(slots=True, eq=False)
class _Kept:
    """A `KeptWindow` during a fetch."""

    window: OpenWindow
    told: Told
    ended: bool


@dataclass(slots=True)
class _Behind:
    """One stream during a fetch: its open window, and the closed ones that late samples can change."""

    operator: Operator
    length: int
    kept_max: int
    name: tuple[str, str]
    opened: OpenWindow | None
    before: LookBack
    closed: list[ClosedWindow] = field(default_factory=list)
    told: dict[tuple[int, int], Told] = field(default_factory=dict)
    late: list[ClosedWindow] = field(default_factory=list)
    floor: int = field(init=False)
    kept: list[_Kept] = field(init=False)
    # Numbers that are missing and the one after the highest, as far as the last stretch told.
    holes: list[tuple[int, int]] | None = None
    due: int = 0

    def __post_init__(self) -> None:
        self.floor = self.before.floor
        self.kept = [_Kept(kept.window, Told(own=kept.made), kept.ended) for kept in self.before.windows]

    def take(self, stretch: Stretch, samples: Samples) -> None:
        """Take the next stretch of the stream."""
        first, end = stretch.first.batch.run.first, stretch.run.last + 1
        self.holes, self.due = stretch.holes, max(stretch.due, end)
        tail = self.kept[-1] if self.kept else None
        if stretch.late:
            self._each(stretch, samples, stretch.due, ended=False)
        elif (
            tail is not None
            and tail.ended
            and self._last(tail.window) + 1 == first
            and (tail.window.session_id == stretch.first.batch.session_id)
        ):
            # The stream lags behind the one that said that the session ended.
            self._each(stretch, samples, self.due, ended=True)
        else:
            for kept in self.kept:
                kept.ended = False
            self.roll([(stretch, samples)], (), ended_here=False)

    def roll(
        self, stretches: Sequence[tuple[Stretch, Samples]], ended: Sequence[Ended], *, ended_here: bool
    ) -> None:
        """Roll samples that follow the open window, or close it where its session ended."""
        closed, self.opened = roll(
            self.name, self.opened, stretches, self.operator.sample, self.length, ended
        )
        for window in closed:
            self._close(window, ended=ended_here)

    def give_up(self) -> None:
        """Keep nothing: no samples of this incarnation of the stream are accepted any more."""
        self.kept, self.floor = [], 0

    def end(self) -> LookBack | None:
        """What is kept for the next fetch; None if that is nothing."""
        if self.holes is not None:
            oldest = _oldest(self.due, self.length)
            self.kept = [
                kept
                for kept in self.kept
                if kept.ended
                or not kept.window.samples
                or (kept.window.first >= oldest and self._beside(kept.window))
            ]
            self.floor = self.floor if self.floor > oldest else 0
        if not self.kept and not self.floor:
            return None
        return LookBack(
            tuple(KeptWindow(kept.window, kept.told.in_force, kept.ended) for kept in self.kept), self.floor
        )

    def _each(self, stretch: Stretch, samples: Samples, due: int, *, ended: bool) -> None:
        """Take late batches one by one, each divided where windows end by their length."""
        start = 0
        for batch in stretch.batches:
            run, at = batch.run, 0
            while at < run.count:
                end = min(run.count, at + self.length - (run.first + at) % self.length)
                taken = samples[start + at : start + end].tobytes()
                window = begun(stretch.first, batch, at, batch.time_ns(end - 1), taken)
                if window.first < max(self.floor, _oldest(due, self.length)):
                    self.late.append(self._closed(window, batch.position))
                else:
                    self._join(window, batch.position, ended=ended)
                at = end
            start += run.count

    def _join(self, window: OpenWindow, position: int, *, ended: bool) -> None:
        """Join late samples with the windows beside them."""
        low, high = window.first, self._last(window)
        if self.holes is not None:
            self.holes = [part for hole in self.holes for part in _without(hole, low, high)]
        beside = [
            kept
            for kept in self.kept
            if kept.window.samples
            and (self._last(kept.window) + 1 == low or kept.window.first == high + 1)
            and self._same(kept.window, window)
        ]
        opened = self.opened
        with_open = opened is not None and (
            (self._last(opened) + 1 == low or opened.first == high + 1) and self._same(opened, window)
        )
        parts = sorted([window, *(kept.window for kept in beside)], key=attrgetter("first"))
        if opened is None or not with_open:
            whole = self._closed(_joined(parts), position)
            self._close(whole, ended=ended or any(kept.ended for kept in beside))
            return
        self.opened = _joined(sorted([*parts, opened], key=attrgetter("first")))
        self._absorb(self.opened, beside)
        if (self._last(self.opened) + 1) % self.length == 0:
            full, self.opened = self._closed(self.opened, position), None
            self._close(full, ended=False)

    def _absorb(self, opened: OpenWindow, beside: Sequence[_Kept]) -> None:
        """Let one entry without samples stand for all windows that the open one has become."""
        gone = [
            kept
            for kept in self.kept
            if kept in beside or (not kept.window.samples and kept.window.first >= opened.first)
        ]
        if gone:
            told = Told(tuple(kept.told for kept in gone))
            self.kept = [kept for kept in self.kept if kept not in gone]
            self._keep(_Kept(replace(opened, samples=b""), told, ended=False))

    def _close(self, closed: ClosedWindow, *, ended: bool) -> None:
        """Add a closed window; keep it if late samples can change it."""
        window = closed.window
        inside = [
            kept for kept in self.kept if window.first <= kept.window.first < window.first + closed.count
        ]
        self.closed.append(closed)
        if inside:
            self.kept = [kept for kept in self.kept if kept not in inside]
        keeps = self._beside(window) or (ended and (window.first + closed.count) % self.length)
        if inside or keeps:
            told = self.told[place(closed)] = Told(tuple(kept.told for kept in inside))
            if keeps:
                self._keep(_Kept(window, told, ended))

    def _keep(self, kept: _Kept) -> None:
        """Keep a window; the oldest ones are given up if there are too many."""
        self.kept = sorted([*self.kept, kept], key=lambda each: each.window.first)
        whole = [each for each in self.kept if each.window.samples]
        if len(whole) > self.kept_max:
            self.floor = (whole[0].window.first // self.length + 1) * self.length
            self.kept = [
                each for each in self.kept if each.window.first >= self.floor or not each.window.samples
            ]

    def _beside(self, window: OpenWindow) -> bool:
        """Whether a number beside a window, within its `length` numbers, is missing."""
        low, high = window.first - 1, self._last(window) + 1
        numbers = [number for number in (low, high) if number // self.length == window.first // self.length]
        return any(
            start <= number <= end for number in numbers if number >= 0 for start, end in self.holes or ()
        )

    def _last(self, window: OpenWindow) -> int:
        return window.first + len(window.samples) // self.operator.sample.itemsize - 1

    def _same(self, a: OpenWindow, b: OpenWindow) -> bool:
        """Whether two windows are equal in what closes windows, and within the same `length` numbers."""
        return a.first // self.length == b.first // self.length and _tag(a) == _tag(b)

    def _closed(self, window: OpenWindow, position: int) -> ClosedWindow:
        return ClosedWindow(*self.name, window, position, np.frombuffer(window.samples, self.operator.sample))


def _tag(window: OpenWindow) -> tuple[Any, ...]:
    return window.zone, window.label, window.session_id, window.wearer_id, window.consent


def _joined(parts: Sequence[OpenWindow]) -> OpenWindow:
    """Windows that follow each other as one."""
    samples = b"".join(part.samples for part in parts)
    return replace(parts[0], t_last_ns=parts[-1].t_last_ns, samples=samples)


def _without(hole: tuple[int, int], low: int, high: int) -> list[tuple[int, int]]:
    """A hole without the numbers `low ... high` (inclusive), in at most two parts."""
    start, end = hole
    if high < start or end < low:
        return [hole]
    return [part for part in ((start, low - 1), (high + 1, end)) if part[0] <= part[1]]
