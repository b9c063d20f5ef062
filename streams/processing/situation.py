"""The situation of a query: what the wearer was doing and where, joined by event time.

A candidate is the latest derived event that had ended when the query was made and that the partition already
knew then. Being known is decided by place in the partition, not by arrival at a worker, so the join does not
depend on how fetches were cut.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

from streams.events.batch import Batch
from streams.events.identity import incarnation_of
from streams.events.runs import Parent
from streams.events.state import Recent
from streams.limits import RECENT_PER_KIND_MAX
from streams.policy.crossing import Cited, Maker

MAKER = Maker("situation", 1)
CITED = ("activity", "place")


def cited(query: Batch, index: int, recents: Sequence[Recent]) -> dict[str, Recent]:
    """Return, by kind, the events that the situation of the query at `index` of its batch cites.

    `recents` are in order of position; those of another wearer of the device are nobody's business here, and
    those of another incarnation were made under other numbers of consent. Only the last RECENT_PER_KIND_MAX
    of a kind that were known are looked at, which is what the device's state keeps.
    """
    asked_ns, incarnation = query.time_ns(index), incarnation_of(query.stream)
    found: dict[str, Recent] = {}
    for recent in trim(recents[: bisect_left(recents, query.position, key=_position)]):
        if (
            recent.wearer_id != query.wearer_id
            or recent.t_last_ns > asked_ns
            or incarnation_of(recent.stream) != incarnation
        ):
            continue
        if recent.kind not in found or recent.t_last_ns > found[recent.kind].t_last_ns:
            found[recent.kind] = recent
    return found


def parent(source: str, recent: Recent) -> Cited:
    """What a situation inherits of an event of device `source` that it cites: it was not asked about it."""
    return Cited(
        Parent(source, recent.stream, recent.number, 1, 1, "indirect"),
        recent.zone,
        bytes.fromhex(recent.label),
        recent.consent,
        recent.since_ns,
    )


def trim(recents: Sequence[Recent]) -> tuple[Recent, ...]:
    """Keep the last RECENT_PER_KIND_MAX of each kind, in order of position."""
    kept: list[Recent] = []
    counts = dict.fromkeys(CITED, 0)
    for recent in reversed(recents):
        if counts[recent.kind] < RECENT_PER_KIND_MAX:
            counts[recent.kind] += 1
            kept.append(recent)
        elif all(count >= RECENT_PER_KIND_MAX for count in counts.values()):
            break
    return tuple(reversed(kept))


def _position(recent: Recent) -> int:
    return recent.position


def values(asked_ns: int, found: dict[str, Recent]) -> dict[str, Any]:
    """Columns of the situation event; ages are -1 where nothing was known."""
    activity, place = found.get("activity"), found.get("place")
    return {
        "activity": activity.value if activity else "unknown",
        "activity_age_ms": _age_ms(asked_ns, activity),
        "place_number": place.value if place else 0,
        "place_age_ms": _age_ms(asked_ns, place),
    }


def _age_ms(asked_ns: int, recent: Recent | None) -> int:
    return (asked_ns - recent.t_last_ns) // 1_000_000 if recent else -1
