"""A store's decisions and edges as arrays, so that another policy can judge all of them at once.

A row only takes memory for its numbers: texts are compared by their hashes, and each distinct text is read
once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams import limits
from streams.events.identity import EventId
from streams.queries.store import Store
from streams.topology import TRAINING_SOURCE, ZONED

Numbers = NDArray[np.int64]
Flags = NDArray[np.bool_]


class DecisionClass(NamedTuple):
    """Values that many decisions have in common; fields are columns of `decisions`."""

    sink: str
    verdict: str
    passed: bool
    zone: str
    label: str
    policy_version: str
    attributes: str
    consent_state: str


_CLASS = ", ".join(DecisionClass._fields)
_DECISIONS = f"""SELECT hash(source, stream) AS stream, "first", step, "count", hash({_CLASS}) AS class,
    hash(wearer) AS wearer, appended_ns, at_ns FROM decisions"""  # noqa: S608
_CLASSES = f"SELECT DISTINCT hash({_CLASS}) AS class, {_CLASS} FROM decisions"  # noqa: S608
#: Edges of models are left out, because each version names all its examples again; the order of examples says
#: the same. So are edges to what an event replaced, which has no parent that the event does not have itself.
_EDGES = """SELECT hash(child_source, child_stream) AS child, child_first, child_step, child_count,
    hash(parent_source, parent_stream) AS parent, parent_first, parent_step, parent_width,
    hash(operator) AS operator, directness = 'direct' AS direct FROM edges
    WHERE operator <> 'training' AND (child_source <> parent_source OR child_stream <> parent_stream)"""
_OPERATORS = "SELECT DISTINCT hash(operator) AS id, operator FROM edges WHERE operator <> 'training'"
_STREAMS = """SELECT DISTINCT hash(source, stream) AS id, source, stream FROM (
    SELECT source, stream FROM decisions UNION SELECT child_source, child_stream FROM edges
    UNION SELECT parent_source, parent_stream FROM edges)"""

#: Kinds of parents of an edge.
CAPTURED, DERIVED, MODEL, UNKNOWN = range(4)


def spread(first: Numbers, step: Numbers, count: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """Expand runs to numbers; returns the arrays (row, index in the row, number)."""
    row = np.repeat(np.arange(len(count)), count)
    place = np.arange(len(row)) - (np.cumsum(count) - count)[row]
    return row, place, first[row] + step[row] * place


def flags(values: Iterable[bool]) -> Flags:
    """Make an array of truth values."""
    return np.fromiter(values, dtype=np.bool_)


def matched(stream: Numbers, number: Numbers, wanted: tuple[Numbers, Numbers]) -> Numbers:
    """For each wanted (stream, number): its index in the arrays `stream` and `number`, -1 if it is absent."""
    _, _, which = distinct(np.concatenate((stream, wanted[0])), np.concatenate((number, wanted[1])))
    place = np.full(len(which), -1)
    place[which[: len(stream)]] = np.arange(len(stream))
    places: Numbers = place[which[len(stream) :]]
    return places


def distinct(stream: Numbers, number: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """Distinct pairs (stream, number) in order, and for each given pair the index of its distinct pair."""
    order = np.lexsort((number, stream))
    stream, number = stream[order], number[order]
    new = np.ones(len(order), dtype=np.bool_)
    new[1:] = (stream[1:] != stream[:-1]) | (number[1:] != number[:-1])
    which = np.empty(len(order), dtype=np.int64)
    which[order] = np.cumsum(new) - 1
    return stream[new], number[new], which


@dataclass
class DecisionArrays:
    """Decisions and edges of a store, as far as its role may see them.

    `of` has the index in `classes` for each row of decisions. Derived events are called *nodes*, numbered in
    the order of (stream, number).
    """

    streams: list[tuple[str, str]]
    classes: list[DecisionClass]
    operators: list[str]
    rows: dict[str, NDArray[Any]]
    of: Numbers
    stream: Numbers
    edges: dict[str, NDArray[Any]]

    @classmethod
    def read(cls, store: Store) -> DecisionArrays:
        """Read a store under its role. Memory: about 64 bytes per row of either table."""
        rows, edges = store.arrays(_DECISIONS), store.arrays(_EDGES)
        classes = {key: DecisionClass(*row) for key, *row in store.sql(_CLASSES, limits.NUMBER_MAX).rows}
        streams = {key: (source, name) for key, source, name in store.sql(_STREAMS, limits.NUMBER_MAX).rows}
        operators = dict(store.sql(_OPERATORS, limits.NUMBER_MAX).rows)
        ids = np.array(sorted(streams), dtype=np.uint64)
        kinds, of = np.unique(rows["class"], return_inverse=True)
        work, operator = np.unique(edges["operator"], return_inverse=True)
        edges |= {
            "operator": operator,
            "child": np.searchsorted(ids, edges["child"]),
            "parent": np.searchsorted(ids, edges["parent"]),
        }
        return cls(
            [streams[int(key)] for key in ids],
            [classes[int(key)] for key in kinds],
            [operators[int(key)] for key in work],
            rows,
            of,
            np.searchsorted(ids, rows["stream"]),
            edges,
        )

    def __post_init__(self) -> None:
        self.is_captured = flags(bool(each.attributes) for each in self.classes)[self.of]
        self._index_derived()
        self._index_captured()

    def sinks(self, *names: str) -> Flags:
        """For each class: whether it is about one of these sinks."""
        return flags(each.sink in names for each in self.classes)

    def kind_is(self, kind: str) -> Flags:
        """For each class: whether it is about captured events of a kind."""
        return flags(each.attributes.startswith(f"kind={kind} ") for each in self.classes)

    def _index_derived(self) -> None:
        """Number the derived events, and find them in decisions (`d_*`) and edges (`e_*`), one per event."""
        derived = np.flatnonzero(~self.is_captured)
        rows, edges = self.rows, self.edges
        row, _, number = spread(*(rows[name][derived] for name in ("first", "step", "count")))
        self.d_row = derived[row]
        child_row, place, child = spread(edges["child_first"], edges["child_step"], edges["child_count"])
        low = edges["parent_first"][child_row] + edges["parent_step"][child_row] * place
        kind = self._parents_are()[child_row]
        width = np.where(kind == CAPTURED, 1, edges["parent_width"][child_row])
        again, _, low = spread(low, np.ones_like(low), width)
        self.e_row, self.e_kind, self.e_low = child_row[again], kind[again], low
        self.e_high = np.where(self.e_kind == CAPTURED, low + edges["parent_width"][self.e_row] - 1, low)
        inner = np.flatnonzero(self.e_kind == DERIVED)
        streams = (self.stream[self.d_row], edges["child"][self.e_row], edges["parent"][self.e_row[inner]])
        numbers = (number, child[again], low[inner])
        self.node_stream, self.node_number, node = distinct(np.concatenate(streams), np.concatenate(numbers))
        self.d_node, self.e_child, self.e_parent = np.split(
            node, np.cumsum([len(self.d_row), len(self.e_row)])
        )
        parent = np.full(len(self.e_row), -1)
        parent[inner] = self.e_parent
        self.e_parent = parent
        self.node_class = np.full(len(self.node_number), -1)
        self.node_class[self.d_node[::-1]] = self.of[self.d_row[::-1]]

    def _parents_are(self) -> Numbers:
        """Kind of the parents for each row of edges."""
        kinds = np.full(len(self.streams), UNKNOWN)
        kinds[self.edges["child"]] = DERIVED
        kinds[self.stream[~self.is_captured]] = DERIVED
        kinds[self.stream[self.is_captured]] = CAPTURED
        kinds[[at for at, (source, _) in enumerate(self.streams) if source == TRAINING_SOURCE]] = MODEL
        parents: Numbers = kinds[self.edges["parent"]]
        return parents

    def _index_captured(self) -> None:
        """Sort the decisions that were made when captured events came in; these runs do not overlap."""
        came = np.flatnonzero(self.is_captured & self.sinks(ZONED)[self.of])
        order = np.lexsort((self.rows["first"][came], self.stream[came]))
        self.came = came[order]
        self.came_first = self.rows["first"][self.came]
        self.came_last = self.came_first + self.rows["count"][self.came] - 1

    def within(self, edges: Numbers) -> tuple[Numbers, Numbers]:
        """Match edges with decisions about their captured parents: (index in `edges`, row of decisions)."""
        streams = self.edges["parent"][self.e_row[edges]]
        of = self.stream[self.came]
        low, high = np.zeros(len(edges), dtype=np.int64), np.zeros(len(edges), dtype=np.int64)
        for stream in np.unique(streams):
            mine = streams == stream
            begin, end = np.searchsorted(of, (stream, stream + 1))
            low[mine] = begin + np.searchsorted(self.came_last[begin:end], self.e_low[edges[mine]])
            high[mine] = begin + np.searchsorted(
                self.came_first[begin:end], self.e_high[edges[mine]], side="right"
            )
        row, _, place = spread(low, np.ones_like(low), np.maximum(high - low, 0))
        return row, self.came[place]

    def of_operator(self, *names: str) -> Numbers:
        """Indices of the edges, one per event, that these operators made."""
        wanted = flags(name in names for name in self.operators)
        return np.flatnonzero(wanted[self.edges["operator"][self.e_row]]) if len(wanted) else self.e_row[:0]

    def named(self, ids: Sequence[EventId]) -> Numbers:
        """Nodes of derived events by their ids, -1 for unknown ones."""
        places = {name: at for at, name in enumerate(self.streams)}
        stream = np.array([places.get((event.source, event.stream), -1) for event in ids], dtype=np.int64)
        number = np.array([event.number for event in ids], dtype=np.int64)
        return matched(self.node_stream, self.node_number, (stream, number))
