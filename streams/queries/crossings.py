"""The question `crossings`: which events went from which zones into which sinks, over time."""

from __future__ import annotations

from msgspec import Struct

from streams.queries.about import told
from streams.queries.answers import Answer, Bounded
from streams.queries.spread import ALWAYS, Window
from streams.queries.store import Store

HOUR_NS = 3_600_000_000_000
SPANS_NS = {"minute": HOUR_NS // 60, "hour": HOUR_NS, "day": 24 * HOUR_NS, "always": 2**62}


class Crossed(Struct, frozen=True):
    """Events of a zone that went to a sink or were stopped before it, in the span of time from `t` on."""

    t: str
    zone: str
    sink: str
    purpose: str
    verdict: str
    passed: bool
    wearers: int
    events: int


class Crossings(Answer, frozen=True, kw_only=True):
    """What crossed into sinks, by span of time; `passed_events` and `stopped_events` are totals."""

    epoch: int
    every_s: int
    passed_events: int
    stopped_events: int
    crossings: Bounded[Crossed]


def crossings(
    store: Store,
    *,
    zone: str = "",
    sink: str = "",
    window: Window = ALWAYS,
    every_ns: int = HOUR_NS,
    refused: bool = False,
) -> Crossings:
    """Return what went from which zone into which sink, by time of the decision, in spans of `every_ns`.

    An empty `zone` or `sink` means all; `refused`: only what was stopped. An event counts at each sink.
    """
    rows = told(
        Crossed,
        store.shown(
            "crossings",
            {
                "zone": zone,
                "sink": sink,
                "since_ns": window.since_ns,
                "until_ns": window.until_ns,
                "every_ns": every_ns,
                "refused": refused,
            },
        ),
    )
    return Crossings(
        epoch=store.epoch,
        every_s=every_ns // 1_000_000_000,
        passed_events=sum(row.events for row in rows if row.passed),
        stopped_events=sum(row.events for row in rows if not row.passed),
        crossings=Bounded.of(rows),
    )
