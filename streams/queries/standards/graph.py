"""The graph of a store's lineage as other tools take it: runs of events, and edges between them.

A *run* here is a row of `events`: a stretch of one stream in one zone, as one record brought it. Its name
begins with the id of its first event: `g1/imu-right/100..119`, with `+20` behind where the numbers go in
steps of 20. The edges of single events are counted between the runs that hold them, so all that an export
tells are edges that are stored, and each stored edge is counted once. An event that an edge names and that
is stored no longer (or is not shown) is a run of its own, of which nothing is known but its id.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from streams import limits
from streams.errors import InputError
from streams.queries.store import Store

_RUN = """source || '/' || stream || '/' || "first" || CASE WHEN revision > 0 THEN '.' || revision ELSE '' END
    || CASE WHEN "count" > 1 THEN '..' || ("first" + step * ("count" - 1)) ELSE '' END
    || CASE WHEN "count" > 1 AND step > 1 THEN '+' || step ELSE '' END"""
#: An event that two rows hold counts as one of the first of them, so that no edge is counted twice.
_EDGES = f"""WITH singles AS (
    SELECT source, stream, revision, number, min(run) AS run FROM (
        SELECT source, stream, revision, "first" + step * unnest(range("count")) AS number, {_RUN} AS run
        FROM events)
    GROUP BY ALL)
SELECT coalesce(children.run, child_id) AS child, coalesce(parents.run, parent_id) AS parent,
    operator, operator_version, directness, declassifier, count(*) AS edges
FROM edge_records
    LEFT JOIN singles AS children ON children.source = child_source AND children.stream = child_stream
        AND children.revision = child_revision AND children.number = child_number
    LEFT JOIN singles AS parents ON parents.source = parent_source AND parents.stream = parent_stream
        AND parents.revision = parent_revision AND parents.number = parent_number
GROUP BY ALL ORDER BY ALL LIMIT {limits.STANDARD_EDGES_MAX + 1}"""  # noqa: S608 - names of ours
_RUNS = f"""SELECT {_RUN} AS run, min(kind) AS kind, min(zone) AS zone, min(policy_version) AS policy_version,
    min(wearer) AS wearer, min("count") AS events, min(t_first_ns) AS t_first_ns, max(t_last_ns) AS t_last_ns
FROM events GROUP BY ALL ORDER BY ALL"""  # noqa: S608 - names of ours


class RunNode(NamedTuple):
    """A run; `kind` is empty and times are 0 where the store, as the role is shown it, has no such row."""

    run: str
    kind: str = ""
    zone: str = ""
    policy_version: str = ""
    wearer: str = ""
    events: int = 1
    t_first_ns: int = 0
    t_last_ns: int = 0


class RunEdge(NamedTuple):
    """How many of its events a run has of another one, by what made them: `edges` counts single events."""

    child: str
    parent: str
    operator: str
    operator_version: int
    directness: str
    declassifier: str
    edges: int


@dataclass(frozen=True)
class Graph:
    """Runs that have part in an edge, by name, and all edges, sorted by child and parent."""

    runs: Mapping[str, RunNode]
    edges: list[RunEdge]

    @property
    def single_edges(self) -> int:
        """How many edges between single events the edges between runs stand for."""
        return sum(edge.edges for edge in self.edges)


def read_graph(store: Store) -> Graph:
    """Read all lineage that the store's role is shown.

    InputError where it is more than STANDARD_EDGES_MAX edges between runs.
    """
    edges = [RunEdge(*row) for row in rows_of(store.arrays(_EDGES))]
    if len(edges) > limits.STANDARD_EDGES_MAX:
        raise InputError(
            f"export: found more than {limits.STANDARD_EDGES_MAX:,} edges between runs, expected fewer: no "
            "tool that reads such a file takes more. `sightline snapshots export` writes all of the store "
            "into one DuckDB file"
        )
    known = {row[0]: row for row in rows_of(store.arrays(_RUNS))}
    taking_part = dict.fromkeys(name for edge in edges for name in (edge.parent, edge.child))
    runs = {name: RunNode(*known.get(name, (name,))) for name in sorted(taking_part)}
    return Graph(runs, edges)


def store_id(store: Store) -> str:
    """What tells this store from others."""
    ((name,),) = rows_of(store.arrays("SELECT id FROM store"))
    return str(name)


def rows_of(arrays: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """Rows of arrays of one length, in plain values of Python."""
    return zip(*(array.tolist() for array in arrays.values()), strict=True)
