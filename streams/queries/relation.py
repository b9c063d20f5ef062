"""Relations of an index file: the common values of many edges, and which of their rows a walk needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

from streams.events.runs import EdgeRun, Run

Interval = tuple[int, int]
#: Source, stream and revision.
Stream = tuple[str, str, int]
Side = Literal["child", "parent"]

#: Up to this many relations, one condition for each is faster than a join.
_SIDE_BY_SIDE_MAX = 16
#: With fewer rows than this, filter here: DuckDB would take longer to parse the conditions.
_FEW_MAX = 256
#: Up to this many rows, reading all is faster than a condition for each relation.
_CROWD_MAX = 65_536


class How(NamedTuple):
    """How children were made from parents."""

    operator: str
    operator_version: int
    directness: str
    declassifier: str


class Edge(NamedTuple):
    """Edges of one run between two streams."""

    child: Stream
    parent: Stream
    how: How
    run: EdgeRun


class Relation(NamedTuple):
    """A row of `relations` of an index: common values of many edges, and bounds of their numbers."""

    file: str
    number: int
    child_source: str
    child_stream: str
    child_revision: int
    parent_source: str
    parent_stream: str
    parent_revision: int
    operator: str
    operator_version: int
    directness: str
    declassifier: str
    child_first_base: int
    child_step_base: int
    parent_offset_base: int
    step_offset_base: int
    edges: int
    child_low: int
    child_high: int
    child_extent: int
    parent_low: int
    parent_high: int
    parent_extent: int
    offset_low: int
    offset_high: int

    @property
    def child(self) -> Stream:
        """Stream of the children."""
        return self.child_source, self.child_stream, self.child_revision

    @property
    def parent(self) -> Stream:
        """Stream of the parents."""
        return self.parent_source, self.parent_stream, self.parent_revision

    def rows_for(self, side: Side, low: int, high: int) -> Interval | None:
        """Bounds of the index column `child_first` for rows with numbers low..high, if there are any."""
        if side == "child":
            if self.child_low > high or self.child_high < low:
                return None
            first, last = low - self.child_extent, high
        else:
            if self.parent_low > high or self.parent_high < low:
                return None
            first, last = low - self.parent_extent - self.offset_high, high - self.offset_low
        return max(first, self.child_low) - self.child_first_base, min(
            last, self.child_high
        ) - self.child_first_base

    def crowd(self, first: int, last: int) -> int:
        """Estimate how many rows have `child_first` from `first` to `last`, if they lie evenly."""
        reach = max(self.child_high - self.child_low, 1)
        return self.edges * min(last - first + 1, reach) // reach

    def reader(self) -> Callable[[int, int, int, int, int, int], Edge]:
        """Return what makes the edges of one row of the index, from its columns."""
        child, parent = self.child, self.parent
        how = How(self.operator, self.operator_version, self.directness, self.declassifier)
        first_base, step_base = self.child_first_base, self.child_step_base
        offset_base, advance_base = first_base + self.parent_offset_base, step_base + self.step_offset_base

        def edge(first: int, step: int, count: int, offset: int, step_offset: int, width: int) -> Edge:
            run = EdgeRun(
                Run(first_base + first, step_base + step, count),
                offset_base + first + offset,
                advance_base + step + step_offset,
                width,
            )
            return Edge(child, parent, how, run)

        return edge


def edges_in(
    index: str, asked: Sequence[tuple[Relation, Interval]], known: Mapping[tuple[str, int], Relation]
) -> str:
    """SELECT statement for rows of relations in an index, each with bounds of its `child_first`.

    It may return some more rows that lie between these. `known` has all relations by index and number.
    """
    columns = (
        f"SELECT '{index}', relation, child_first, child_step, child_count, parent_offset, step_offset, "
        "parent_width"
    )
    wanted = [(relation.number, low, high) for relation, (low, high) in asked]
    numbers, lows, highs = zip(*wanted, strict=True)
    if len(wanted) > _SIDE_BY_SIDE_MAX:
        return (
            f"{columns} FROM (VALUES {', '.join(map(str, wanted))}) asked (number, low, high) "
            f"JOIN {index}.edges ON relation = number AND child_first BETWEEN low AND high "
            f"WHERE relation BETWEEN {min(numbers)} AND {max(numbers)}"
        )
    if sum(relation.crowd(min(lows), max(highs)) for relation, _ in asked) > _CROWD_MAX:
        return " UNION ALL ".join(
            f"{columns} FROM {index}.edges WHERE relation = {number} AND child_first BETWEEN {low} AND {high}"
            for number, low, high in wanted
        )
    bounds = (
        f"relation BETWEEN {min(numbers)} AND {max(numbers)} "
        f"AND child_first BETWEEN {min(lows)} AND {max(highs)}"
    )
    among = [known.get((index, number)) for number in range(min(numbers), max(numbers) + 1)[: _FEW_MAX + 1]]
    if (
        sum(_FEW_MAX if relation is None else relation.crowd(min(lows), max(highs)) + 1 for relation in among)
        <= _FEW_MAX
    ):
        return f"{columns} FROM {index}.edges WHERE {bounds}"
    # The outer bounds let DuckDB skip rows early; a condition with OR would take longer to plan.
    each = [
        "CASE relation "
        + " ".join(f"WHEN {bounds_of[0]} THEN {bounds_of[at]}" for bounds_of in wanted)
        + " END"
        for at in (1, 2)
    ]
    return f"{columns} FROM {index}.edges WHERE {bounds} AND child_first BETWEEN {each[0]} AND {each[1]}"
