"""A corrected event has the same number and the next revision; the two are never confused."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from streams.events.digest import digest
from streams.events.record import Outgoing, StoredRecord
from streams.events.runs import Parent, Run
from streams.lineage import record
from streams.policy.step import Output, Step, Stretch, Tagged
from streams.queries import questions
from streams.queries.answers import WhyStored
from streams.queries.store import Store
from streams.queries.walk import walk
from streams.snapshots.writer import Writer
from streams.topology import DERIVED
from tests import build
from tests.snapshots.build import HOUSEHOLD, POLICY, T0_NS, Row, batch, derived, edge, stream
from tests.snapshots.build import record as record_of

#: Each example makes a store, which takes a second; shrinking makes hundreds, which would take minutes.
WITHOUT_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)
LEVELS = ("imu-right", "activity", "situation")
KINDS = dict(zip(LEVELS, ("imu", "activity", "situation"), strict=True))
NUMBERS = range(6)


class Node(NamedTuple):
    """An event of the graph with which the store is compared."""

    stream: str
    number: int
    revision: int = 0

    def __str__(self) -> str:
        return f"g1/{self.stream}/{self.number}" + (f".{self.revision}" if self.revision else "")


Graph = Mapping[Node, frozenset[Node]]


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Parents of each event; some events have several revisions, and parents are revisions too."""
    graph: dict[Node, frozenset[Node]] = {Node(LEVELS[0], number): frozenset() for number in NUMBERS}
    for level in (1, 2):
        below = [node for node in graph if node.stream == LEVELS[level - 1]]
        for number in sorted(draw(st.sets(st.sampled_from(NUMBERS), min_size=2, max_size=5))):
            # The example that is drawn first has the smallest numbers, and should have revisions.
            for revision in range(3 - draw(st.integers(0, 2))):
                parents = draw(st.frozensets(st.sampled_from(below), min_size=1, max_size=4))
                graph[Node(LEVELS[level], number, revision)] = parents
    return graph


def value_of(node: Node) -> bytes:
    return f"value of {node}".encode()


def tagged(node: Node) -> Tagged:
    kind, captured = KINDS[node.stream], node.stream == LEVELS[0]
    made = replace(
        build.batch(kind, node.stream, node.number, 1), t0_ns=T0_NS, revision=node.revision, session_id="s1"
    )
    label = HOUSEHOLD.label_of("imu", "public") or b""
    return Tagged(made, "public", label, "public" if captured else "join", consent_number=3 + node.revision)


def add(step: Step, node: Node, parents: frozenset[Node]) -> None:
    item, value = tagged(node), value_of(node)
    if node.stream == LEVELS[0]:
        step.stretches.append(Stretch(item, batches=[item.batch], values=[value], headers=[()]))
        return
    edges = (
        Parent("g1", parent.stream, parent.number, 1, 1, revision=parent.revision)
        for parent in sorted(parents)
    )
    step.outputs.append(Output(DERIVED, item, node.stream, 1, tuple(edges), value))


def written(graph: Graph, nodes: Sequence[Node]) -> list[Outgoing]:
    """Lineage of one fetch that made `nodes`."""
    step = Step()
    for node in nodes:
        add(step, node, graph[node])
    streams = [stream("g1", name, KINDS[name], captured=name == LEVELS[0]) for name in LEVELS]
    rows = {
        "policies": record.blocks("policies", [POLICY]),
        "streams": record.blocks("streams", streams),
        **record.blocks_of(step, HOUSEHOLD.version, "glasses.captured", 0, written_of(step)),
    }
    return record.encode(rows, 0, b"glasses/0", T0_NS // 1_000_000)


def written_of(step: Step) -> record.Written:
    values = [output.value or b"" for output in step.outputs]
    return record.Written(
        [record.Passed("", [digest(value) for value in stretch.values]) for stretch in step.stretches],
        [record.Made(len(value), digest(value)) for value in values],
    )


def sent(graph: Graph, nodes: Sequence[Node], offset: int) -> list[StoredRecord]:
    return [
        StoredRecord(offset + at, one.timestamp_ms, one.key, one.value)
        for at, one in enumerate(written(graph, nodes))
    ]


def closure(following: Mapping[Node, frozenset[Node]], start: Node) -> set[Node]:
    found: set[Node] = set()
    pending = [start]
    while pending:
        fresh = following.get(pending.pop(), frozenset()) - found
        found |= fresh
        pending += fresh
    return found


def stored(path: Path, *polls: Sequence[StoredRecord]) -> Path:
    writer = Writer.open(path)
    try:
        for records in polls:
            writer.ingest({0: records}, {0: records[-1].offset + 1}, T0_NS)
            writer.publish(T0_NS)
    finally:
        writer.close()
    return path


@settings(max_examples=2, deadline=None, phases=WITHOUT_SHRINKING)
@given(graphs())
def test_ids_with_revisions_are_the_same_from_the_step_to_the_answers(graph: Graph) -> None:
    first = [node for node in graph if not node.revision and all(not one.revision for one in graph[node])]
    corrected = [node for node in graph if node not in first] or first
    after = defaultdict[Node, set[Node]](set)
    for child, parents in graph.items():
        for parent in parents:
            after[parent].add(child)
    children = {parent: frozenset(some) for parent, some in after.items()}
    with tempfile.TemporaryDirectory() as name:
        # At the end everything is sent again, and must have no effect.
        path = stored(
            Path(name) / "s",
            sent(graph, first, 0),
            sent(graph, corrected, 10),
            [*sent(graph, first, 20), *sent(graph, corrected, 30)],
        )
        with Store.open(path) as store:
            assert sorted(store.sql("SELECT id, consent, digest FROM event_records", 1000).rows) == sorted(
                (str(node), 3 + node.revision, digest(value_of(node))) for node in graph
            )
            assert sorted(store.sql("SELECT child_id, parent_id FROM edge_records", 1000).rows) == sorted(
                (str(child), str(parent)) for child, parents in graph.items() for parent in parents
            )
            for node in sorted(graph)[::3]:
                assert {
                    str(Node(row.stream, number, row.revision))
                    for row in questions.ancestors(store, str(node)).ancestors
                    for number in range(row.first, row.last + 1)
                } == {str(one) for one in closure(graph, node)}
                assert {
                    Node(step.stream[1], number, step.stream[2])
                    for step in walk(
                        store, "children", ("g1", node.stream, node.revision), node.number, lambda _: False
                    )
                    for low, high in step.numbers
                    for number in range(low, high + 1)
                } == closure(children, node)
                why = questions.why(store, str(node))
                assert isinstance(why, WhyStored)
                assert (why.digest, why.consent) == (digest(value_of(node)), 3 + node.revision)
                assert {row.id for row in why.parents} <= {str(one) for one in graph[node]}
                assert questions.genuine(store, str(node), digest(value_of(node))).genuine


def test_the_edges_of_two_revisions_are_never_one_run() -> None:
    graph = {
        **{Node("imu-right", number): frozenset[Node]() for number in NUMBERS},
        **{Node("activity", at, at % 2): frozenset({Node("imu-right", at)}) for at in NUMBERS},
        **{Node("situation", at): frozenset({Node("activity", at, at % 2)}) for at in NUMBERS},
    }
    rows = build.lineage(written(graph, list(graph)))["edges"]
    found = {
        (row["child_stream"], row["child_revision"], row["parent_revision"]): Run(
            row["child_first"], row["child_step"], row["child_count"]
        )
        for row in rows
    }
    assert found == {
        ("activity", 0, 0): Run(0, 2, 3),
        ("activity", 1, 0): Run(1, 2, 3),
        ("situation", 0, 0): Run(0, 2, 3),
        ("situation", 0, 1): Run(1, 2, 3),
    }


ACTIVITY, IMU = ("g1", "activity", 0), ("g1", "imu-right", 0)
MADE = {"operator": "activity", "parent_width": 20}
BEGUN: Mapping[str, Sequence[Row]] = {
    "policies": [POLICY],
    "streams": [stream("g1", "imu-right"), stream("g1", "activity", "activity", captured=False)],
    "events": [batch("g1", "imu-right", 0, 20), derived("g1", "activity", 0)],
    "edges": [edge(ACTIVITY, IMU, **MADE)],
}
CORRECTED: Mapping[str, Sequence[Row]] = {
    "events": [derived("g1", "activity", 0, revision=1)],
    "edges": [edge(ACTIVITY, IMU, child_revision=1, **MADE)],
}
#: Each is refused, because its revision exists already or was never written.
AGAIN: Mapping[str, Mapping[str, Sequence[Row]]] = {
    "the first": {"events": [derived("g1", "activity", 0, digest="f" * 32)]},
    "the corrected": {"events": [derived("g1", "activity", 0, revision=1, digest="f" * 32)]},
    "its edges": {"edges": [edge(ACTIVITY, IMU, child_revision=1, **MADE)]},
    "edges of none": {"edges": [edge(ACTIVITY, IMU, child_revision=2, **MADE)]},
}


@pytest.mark.parametrize("polls", ["one", "each"])
def test_the_numbers_of_one_revision_are_taken_once(tmp_path: Path, polls: str) -> None:
    records = [record_of(at, rows) for at, rows in enumerate((BEGUN, CORRECTED, *AGAIN.values()))]
    path = stored(tmp_path / "s", *([records] if polls == "one" else [[one] for one in records]))
    with Store.open(path) as store:
        assert store.sql("SELECT id, digest FROM event_records WHERE kind = 'activity' ORDER BY 1").rows == [
            ("g1/activity/0", "0" * 32),
            ("g1/activity/0.1", "0" * 32),
        ]
        assert store.sql(
            "SELECT child_id, count(*), count(DISTINCT parent_id) FROM edge_records GROUP BY 1 ORDER BY 1"
        ).rows == [("g1/activity/0", 20, 20), ("g1/activity/0.1", 20, 20)]
        assert store.sql('SELECT "offset", rule, outcome FROM rejected ORDER BY ALL').rows == [
            (at, "duplicate", "refused") for at in range(2, 2 + len(AGAIN))
        ]
