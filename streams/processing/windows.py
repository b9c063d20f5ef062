"""Windows over one stream, aligned to event numbers so that they do not depend on how a fetch was cut.

A window holds numbers `k * length ... k * length + length - 1` at most. It also closes where the zone, the label or the
session changes, where a number is missing, where the session ends (law 2: a window never mixes zones), and where its
operator says that another run of samples begins. A batch that comes late makes windows of its own: every event is in
exactly one, so no two have the same number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from streams.events.batch import Batch
from streams.events.state import OpenWindow
from streams.events.step import Tagged

#: Places that a device knows: (number, latitude, longitude in degrees).
Anchors = tuple[tuple[int, float, float], ...]
#: (samples in front that are in the same window, samples of a batch) -> indices at which another window begins.
Breaks = Callable[[Sequence[Any], Sequence[Any]], Sequence[int]]


@dataclass(frozen=True, slots=True)
class ClosedWindow:
    """A finished window and the place in the partition where it became known."""

    window: OpenWindow
    position: int

    @property
    def count(self) -> int:
        """How many samples it has."""
        return len(self.window.samples)


def roll(opened: OpenWindow | None, batches: Sequence[tuple[Tagged, Sequence[Any]]], length: int,
         ended: Sequence[int], breaks: Breaks | None = None) -> tuple[list[ClosedWindow], OpenWindow | None]:
    """Put the samples of one stream's batches (in partition order) into windows.

    `batches` come with one sample per event; `ended` are the positions of session ends in this fetch; `breaks` finds where
    windows end besides. Returns the closed windows in order and the one that stays open.
    """
    closed: list[ClosedWindow] = []
    known_to = -1
    for tagged, samples in batches:
        batch = tagged.batch
        if opened is not None and not _continues(opened, tagged):
            closed.append(ClosedWindow(opened, _first_between(ended, known_to, batch.position)))
            opened = None
        at = set(breaks(opened.samples if opened is not None else (), samples)) if breaks is not None else set()
        at |= set(range(length - batch.run.first % length, batch.run.count + 1, length))
        for start, end in pairwise((*sorted({0, *at} - {batch.run.count}), batch.run.count)):
            if start in at and opened is not None:
                closed.append(ClosedWindow(opened, batch.position))
                opened = None
            opened = _grow(opened, tagged, samples, start, end)
        if batch.run.count in at and opened is not None:
            closed.append(ClosedWindow(opened, batch.position))
            opened = None
        known_to = batch.position
    if opened is not None and any(position > known_to for position in ended):
        closed.append(ClosedWindow(opened, _first_between(ended, known_to, max(ended))))
        opened = None
    return closed, opened


def _continues(opened: OpenWindow, tagged: Tagged) -> bool:
    batch = tagged.batch
    return (opened.first + len(opened.samples) == batch.run.first and opened.zone == tagged.zone
            and opened.label == tagged.label.hex() and opened.session_id == batch.session_id and opened.wearer_id == batch.wearer_id)


def _grow(opened: OpenWindow | None, tagged: Tagged, samples: Sequence[Any], start: int, end: int) -> OpenWindow:
    batch: Batch = tagged.batch
    added = tuple(samples[start:end])
    if opened is None:
        return OpenWindow(batch.kind, batch.run.first + start, batch.time_ns(start), batch.time_ns(end - 1), tagged.zone,
                          tagged.label.hex(), batch.session_id, batch.wearer_id, batch.origin, added)
    return replace(opened, t_last_ns=batch.time_ns(end - 1), samples=opened.samples + added)


def _first_between(positions: Sequence[int], low: int, high: int) -> int:
    """Where a window ended early became known: at the session's end if one lies between, else at the batch after it."""
    return min((position for position in positions if low < position <= high), default=high)
