"""The situation of a query: what was known of the wearer then (doing what, where), joined by event time.

A candidate is the latest derived event that had ended when the query was made and that the partition already
knew then. Being known is decided by place in the partition, not by arrival at a worker, so the join does not
depend on how fetches were cut.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from streams.errors import InputError
from streams.events.batch import Batch
from streams.events.identity import incarnation_of
from streams.events.kinds import ColumnType
from streams.events.runs import Parent
from streams.events.state import Recent
from streams.limits import RECENT_PER_KIND_MAX
from streams.policy.crossing import Cited, Maker

MAKER = Maker("situation", 1)


class Citable(NamedTuple):
    """A kind whose latest event a situation shows: by which column, and `unknown` where none is known."""

    kind: str
    column: str
    unknown: str | int

    @property
    def age_column(self) -> str:
        """Column of how long before the query that event ended, in ms."""
        return f"{self.kind}_age_ms"


def columns(citable: Sequence[Citable]) -> dict[str, ColumnType]:
    """Columns that the kind of a situation has; InputError where two kinds want one of the same name."""
    wanted: dict[str, ColumnType] = {}
    for kind in citable:
        if not wanted.keys().isdisjoint((kind.column, kind.age_column)):
            raise InputError(
                f"operator {kind.kind}: cites {kind.column}, which another one cites too, expected a column "
                "whose name no other has; rename it"
            )
        wanted[kind.column] = "token" if isinstance(kind.unknown, str) else "number"
        wanted[kind.age_column] = "number"
    return wanted


def cited(
    query: Batch, index: int, recents: Sequence[Recent], citable: Sequence[Citable]
) -> dict[str, Recent]:
    """Return, by kind, the events that the situation of the query at `index` of its batch cites.

    `recents` are in order of position; those of another wearer of the device are nobody's business here, and
    those of another incarnation were made under other numbers of consent. Only the last RECENT_PER_KIND_MAX
    of a kind that were known are looked at, which is what the device's state keeps.
    """
    asked_ns, incarnation = query.time_ns(index), incarnation_of(query.stream)
    latest: dict[str, Recent] = {}
    for recent in trim(recents[: bisect_left(recents, query.position, key=_position)], citable):
        if (
            recent.wearer_id != query.wearer_id
            or recent.t_last_ns > asked_ns
            or incarnation_of(recent.stream) != incarnation
        ):
            continue
        if recent.kind not in latest or recent.t_last_ns > latest[recent.kind].t_last_ns:
            latest[recent.kind] = recent
    return latest


def parent(source: str, recent: Recent) -> Cited:
    """What a situation inherits of an event of device `source` that it cites: it was not asked about it."""
    return Cited(
        Parent(source, recent.stream, recent.number, 1, 1, "indirect"),
        recent.zone,
        bytes.fromhex(recent.label),
        recent.consent,
        recent.since_ns,
    )


def trim(recents: Sequence[Recent], citable: Sequence[Citable]) -> tuple[Recent, ...]:
    """Keep the last RECENT_PER_KIND_MAX of each kind that a situation shows, in order of position."""
    kept: list[Recent] = []
    counts = {kind.kind: 0 for kind in citable}
    for recent in reversed(recents):
        if counts.get(recent.kind, RECENT_PER_KIND_MAX) < RECENT_PER_KIND_MAX:
            counts[recent.kind] += 1
            kept.append(recent)
        elif all(count >= RECENT_PER_KIND_MAX for count in counts.values()):
            break
    return tuple(reversed(kept))


def _position(recent: Recent) -> int:
    return recent.position


def values(asked_ns: int, latest: Mapping[str, Recent], citable: Sequence[Citable]) -> dict[str, Any]:
    """Columns of the situation event; ages are -1 where nothing was known."""
    shown: dict[str, Any] = {}
    for kind in citable:
        recent = latest.get(kind.kind)
        shown[kind.column] = recent.value if recent else kind.unknown
        shown[kind.age_column] = _age_ms(asked_ns, recent)
    return shown


def _age_ms(asked_ns: int, recent: Recent | None) -> int:
    return (asked_ns - recent.t_last_ns) // 1_000_000 if recent else -1
