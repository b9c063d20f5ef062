"""SQL conditions for rows that a reader can process; all other rows are left out and counted.

The writer refuses such rows now, but an older store can contain them. One row that cannot be cast, or that
would expand to a thousand million rows, must not make all questions fail.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from streams.limits import (
    EVENTS_PER_FETCH_MAX,
    NUMBER_MAX,
    PARENTS_PER_CHILD_MAX,
    TIME_NS_MAX,
)
from streams.lineage.tables import TABLES

#: Maximum of a time that a policy places in the future.
_LATEST_NS = 2**63 - 1


def _span(first: str, step: str, count: str) -> Iterable[str]:
    """Conditions that a run's numbers are in range, in an order in which none of them overflows."""
    yield f'"{first}" BETWEEN 0 AND {NUMBER_MAX}'
    yield f'"{step}" BETWEEN 0 AND {NUMBER_MAX}'
    yield f'"{count}" BETWEEN 0 AND {EVENTS_PER_FETCH_MAX}'
    yield f'"{step}" <= ({NUMBER_MAX} - "{first}") // greatest("{count}" - 1, 1)'


def _conditions(table: str) -> Iterable[str]:
    columns = TABLES[table]
    for name, kind in columns.items():
        if name.endswith("_ns"):
            yield f'"{name}" BETWEEN 0 AND {_LATEST_NS if name == "retrain_by_ns" else TIME_NS_MAX}'
        elif kind == "text":
            yield f'"{name}" IS NOT NULL'
    if "step" in columns:
        yield from _span("first", "step", "count")
        yield '"step" >= 1 AND "count" >= 1'
    elif "count" in columns:
        yield f'"first" BETWEEN 0 AND {NUMBER_MAX} AND "count" BETWEEN 0 AND {EVENTS_PER_FETCH_MAX}'
    if table == "edges":
        yield from _span("child_first", "child_step", "child_count")
        yield from _span("parent_first", "parent_step", "child_count")
        yield "child_step >= 1 AND child_count >= 1"
        yield f"parent_width BETWEEN 1 AND {PARENTS_PER_CHILD_MAX}"
        yield f"child_count * parent_width <= {EVENTS_PER_FETCH_MAX}"


def _condition(table: str) -> str:
    """Conditions in order, so that none is evaluated on rows that an earlier one excludes."""
    parts = " ".join(f"WHEN NOT coalesce({part}, false) THEN false" for part in _conditions(table))
    return f"CASE {parts} ELSE true END"


#: Condition by table.
READABLE: Mapping[str, str] = {table: _condition(table) for table in TABLES}
