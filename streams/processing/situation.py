"""The situation of a query: the wearer's activity and place at that moment, joined by event time.

Of each kind it cites the latest derived event that had ended when the query was made and that was known by
then. An event is known if its position in the partition is before that of the query; arrival at a worker does
not matter, so the join does not depend on how records were divided into fetches.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
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


class Known:
    """The events of one device that situations may cite, while a fetch is processed in order of position.

    Of each kind in `citable` the last RECENT_PER_KIND_MAX are known, as many as the device's state keeps.
    What late samples made takes its place by number among the others, and so displaces no later event.
    """

    def __init__(self, recents: Sequence[Recent], citable: Sequence[Citable]) -> None:
        self._of: dict[str, list[Recent]] = {kind.kind: [] for kind in citable}
        for recent in recents:
            if recent.kind in self._of:
                self._of[recent.kind].append(recent)

    def add(self, recent: Recent, replaced: Collection[tuple[int, int]]) -> None:
        """Add an event; those of its stream with a (number, revision) in `replaced` are no longer cited."""
        kept = self._of[recent.kind]
        if replaced:
            kept = [
                other
                for other in kept
                if other.stream != recent.stream or (other.number, other.revision) not in replaced
            ]
        later = (
            at
            for at, other in enumerate(kept)
            if other.number > recent.number and other.stream == recent.stream
        )
        at = next(later, len(kept))
        self._of[recent.kind] = [*kept[:at], recent, *kept[at:]][-RECENT_PER_KIND_MAX:]

    def cited(self, query: Batch, index: int) -> dict[str, Recent]:
        """Return, by kind, the events that the situation of the query at `index` of its batch cites.

        Events of another wearer of the device are private and therefore skipped; those of another incarnation
        are skipped because consent numbers begin again with it.
        """
        asked_ns, incarnation = query.time_ns(index), incarnation_of(query.stream)
        latest: dict[str, Recent] = {}
        for kind, known in self._of.items():
            for recent in known:
                if (
                    recent.wearer_id == query.wearer_id
                    and recent.t_last_ns <= asked_ns
                    and incarnation_of(recent.stream) == incarnation
                    and (kind not in latest or recent.t_last_ns > latest[kind].t_last_ns)
                ):
                    latest[kind] = recent
        return latest

    @property
    def recents(self) -> tuple[Recent, ...]:
        """What is kept for the next fetch."""
        return tuple(recent for known in self._of.values() for recent in known)


def parent(source: str, recent: Recent) -> Cited:
    """What a situation inherits of a cited event of device `source`, its indirect parent."""
    return Cited(
        Parent(source, recent.stream, recent.number, 1, 1, "indirect", revision=recent.revision),
        recent.zone,
        bytes.fromhex(recent.label),
        recent.consent,
        recent.since_ns,
    )


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
