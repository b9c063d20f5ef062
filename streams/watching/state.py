"""What the alert rules remember from one reading to the next (`streams.watching.absorbing` adds to it).

It is small, and can be made again from the store at any time. *Stream time* is measured in seconds by the
epochs: the sum of the times between them, where a pause and a step of the clock count for little
(PAUSE_S_MAX). So no alert depends on the time of day, and nothing ages while nothing arrives.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from msgspec import Struct

from streams.watching.reading import Disk, Position, Reader


class Span(NamedTuple):
    """Events of a short span of time, which ends at `at_s`."""

    at_s: float
    events: int


class Flow(Struct, frozen=True, kw_only=True):
    """Data of a restricted zone that went into a sink, since `at_s` in stream time; `epoch` is its first."""

    at_s: float
    epoch: int
    id: str
    events: int
    known: bool


class Counted(Struct, frozen=True, kw_only=True):
    """How many events were refused for one reason, recently, and the last of them."""

    rule: str
    verdict: str = ""
    sink: str = ""
    spans: tuple[Span, ...] = ()
    id: str = ""


class Device(Struct, frozen=True, kw_only=True):
    """When a device was last heard of, in stream time, and its last event that was stored."""

    at_s: float
    kind: str
    id: str


class Late(Struct, frozen=True, kw_only=True):
    """Data that passed after its wearer took back the consent; `late_s` is how long after, at most."""

    at_s: float
    late_s: float
    id: str
    events: int


class Permission(NamedTuple):
    """What a wearer permits from a moment on, in the broker's time."""

    at_ns: int
    purposes: frozenset[str]


class State(Struct, frozen=True, kw_only=True):
    """What is remembered; the maps and tuples are bounded (`streams.limits`).

    `time_s` is the stream time of the newest `epoch`, which was published at `published_ns`; it is 0 at the
    first reading. `began_s` is that of the store's first epoch. `seen_s` is the time, on the clock of
    readings, at which the newest epoch was published, and `now_s` that of the last reading. `decided` and
    `rejected` are by sink or stage and by rule, in stream time; `arrived`, by rule, is on the clock of
    readings, since `arriving_since_s`. `models` has the id of the newest version, and the date by which it is
    to be trained again. The lineage of the epochs up to `settled` was checked; `incomplete_ids` are the
    newest ids that lack a parent, with their stream times.
    """

    started: bool = False
    epoch: int = 0
    published_ns: int = 0
    time_s: float = 0.0
    began_s: float = 0.0
    seen_s: float = 0.0
    now_s: float = 0.0
    now_ns: int = 0
    flows: Mapping[tuple[str, str], Flow] = {}
    decided: Mapping[tuple[str, str], Counted] = {}
    rejected: Mapping[tuple[str, str], Counted] = {}
    arrived: Mapping[str, Counted] = {}
    arriving_since_s: float | None = None
    devices: Mapping[str, Device] = {}
    feedback: tuple[Span, ...] = ()
    bad: tuple[Span, ...] = ()
    models: Mapping[str, tuple[str, int]] = {}
    words: Mapping[str, tuple[Permission, ...]] = {}
    late: Mapping[tuple[str, str], Late] = {}
    settled: int = 0
    incomplete: tuple[Span, ...] = ()
    incomplete_ids: tuple[tuple[float, str], ...] = ()
    positions: tuple[tuple[float, Mapping[Reader, Position]], ...] = ()
    disks: tuple[tuple[float, Disk], ...] = ()
