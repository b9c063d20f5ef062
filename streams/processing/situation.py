"""The situation of a query: the wearer's activity and place at that moment, joined by event time.

Of each kind it cites the latest derived event that had ended when the query was made and that was known by
then. An event is known if its position in the partition is before that of the query; arrival at a worker does
not matter, so the join does not depend on how records were divided into fetches.
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
    """A kind whose latest event a situation shows: the column to show, and its value if no event is known."""

    kind: str
    column: str
    unknown: str | int

    @property
    def age_column(self) -> str:
        """Name of the column with the time from the end of that event to the query, in ms."""
        return f"{self.kind}_age_ms"


def columns(citable: Sequence[Citable]) -> dict[str, ColumnType]:
    """Columns of the kind `situation`; InputError if two kinds need a column of the same name."""
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

    `recents` are in order of position. Events of another wearer of the device are private and therefore
    skipped; those of another incarnation are skipped because consent numbers begin again with it. Only the
    last RECENT_PER_KIND_MAX known events of a kind are considered, as many as the device's state keeps.
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
        before = latest.get(recent.kind)
        # Of two events of one stream that ended together the one that was made later is a revision.
        if (
            before is None
            or recent.t_last_ns > before.t_last_ns
            or (recent.t_last_ns == before.t_last_ns and recent.stream == before.stream)
        ):
            latest[recent.kind] = recent
    return latest


def parent(source: str, recent: Recent) -> Cited:
    """What a situation inherits of a cited event of device `source`, its indirect parent."""
    return Cited(
        Parent(source, recent.stream, recent.number, 1, 1, "indirect", revision=recent.revision),
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
    """Columns of the situation event; ages are in ms, -1 if no event is known."""
    shown: dict[str, Any] = {}
    for kind in citable:
        recent = latest.get(kind.kind)
        shown[kind.column] = recent.value if recent else kind.unknown
        shown[kind.age_column] = _age_ms(asked_ns, recent)
    return shown


def _age_ms(asked_ns: int, recent: Recent | None) -> int:
    return (asked_ns - recent.t_last_ns) // 1_000_000 if recent else -1
