"""The questions, against oracles in plain Python that know nothing of runs, files or SQL."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from streams.errors import InputError
from streams.events.runs import EdgeRun, Run
from streams.queries import questions, relation
from streams.queries.answers import Bounded, MetModel, WhyStored
from streams.queries.lookup import Direction
from streams.queries.loop import loop
from streams.queries.missing import missing
from streams.queries.role import Role
from streams.queries.store import Store
from streams.queries.walk import walk
from streams.topology import CAPTURED
from tests.queries.folded import fold
from tests.snapshots.build import Row, edge, event, row, store, stream

#: An example makes a store, which takes a second: hundreds of smaller ones would take minutes.
WITHOUT_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)
LEVELS = ("imu", "activity", "situation", "answer")
Node = tuple[str, int]


@st.composite
def graphs(draw: st.DrawFn) -> list[tuple[str, str, EdgeRun]]:
    """Edge runs from each level to lower ones, small enough that their windows overlap often."""
    graph = []
    for _ in range(draw(st.integers(1, 8))):
        low = draw(st.integers(0, len(LEVELS) - 2))
        high = draw(st.integers(low + 1, len(LEVELS) - 1))
        child = Run(draw(st.integers(0, 20)), draw(st.integers(1, 5)), draw(st.integers(1, 6)))
        graph.append(
            (
                LEVELS[high],
                LEVELS[low],
                EdgeRun(child, draw(st.integers(0, 20)), draw(st.integers(0, 6)), draw(st.integers(1, 5))),
            )
        )
    return graph


def edge_rows(graph: list[tuple[str, str, EdgeRun]]) -> list[Row]:
    return [
        edge(
            ("g1", child, run.child.first),
            ("g1", parent, run.parent_first),
            child_step=run.child.step,
            child_count=run.child.count,
            parent_step=run.parent_step,
            parent_width=run.width,
        )
        for child, parent, run in graph
    ]


def closure(graph: list[tuple[str, str, EdgeRun]], start: Node, *, up: bool) -> set[Node]:
    """All nodes before (or after) one, pair by pair."""
    following: dict[Node, set[Node]] = defaultdict(set)
    for child, parent, run in graph:
        for a, b in run.pairs():
            following[(child, a) if up else (parent, b)].add((parent, b) if up else (child, a))
    found: set[Node] = set()
    pending = [start]
    while pending:
        for node in following[pending.pop()] - found:
            found.add(node)
            pending.append(node)
    return found


@pytest.mark.parametrize(
    ("indexed", "bounds"),
    [
        ((), {}),
        (((1, 2, 3, 4),), {}),
        (((1, 2), (3,)), {}),
        (((1, 2, 3, 4),), {"_FEW_MAX": 0}),
        (((1, 2, 3, 4),), {"_FEW_MAX": 0, "_CROWD_MAX": 0}),
        (((1, 2, 3, 4),), {"_SIDE_BY_SIDE_MAX": 0}),
    ],
    ids=["fresh", "folded", "folded in part", "many rows", "one relation a statement", "relations joined"],
)
@settings(
    max_examples=2,
    deadline=None,
    phases=WITHOUT_SHRINKING,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(several=st.lists(graphs(), min_size=8, max_size=8), data=st.data())
def test_walks_find_what_a_plain_walk_finds(
    indexed: tuple[tuple[int, ...], ...],
    bounds: dict[str, int],
    several: list[list[tuple[str, str, EdgeRun]]],
    data: st.DataObject,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, bound in bounds.items():
        monkeypatch.setattr(relation, name, bound)
    # Making a store costs a second, so each holds several graphs, one a device, and several epochs to choose
    # files from.
    rows = [
        line | {"child_source": f"g{i}", "parent_source": f"g{i}"}
        for i, graph in enumerate(several)
        for line in edge_rows(graph)
    ]
    with tempfile.TemporaryDirectory() as name:
        path = store(Path(name) / "s", *({"edges": rows[i::4]} for i in range(4)))
        # Some is looked up in indexes, some in segments that none covers yet.
        if indexed:
            fold(path, *indexed)
        with Store.open(path) as opened:
            for i, graph in enumerate(several):
                child, parent, run = data.draw(st.sampled_from(graph))
                starts: dict[Direction, Node] = {
                    "parents": (child, run.child.last),
                    "children": (parent, run.parent_first),
                }
                for direction, start in starts.items():
                    found = {
                        (step.stream[1], number)
                        for step in walk(opened, direction, (f"g{i}", start[0], 0), start[1], lambda _: False)
                        for low, high in step.numbers
                        for number in range(low, high + 1)
                    }
                    assert found == closure(graph, start, up=direction == "parents")


intervals = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 12)), min_size=1, max_size=6)


def test_lost_records_are_told_by_number_or_to_others_by_their_order(tmp_path: Path) -> None:
    said = {"kind": "lost-records", "agent": "glasses", "topic": CAPTURED, "t_ns": 1_700_000_000_000_000_000}
    rows = [
        row("inputs", **said, partition=1, offset=162, value="40-161"),
        row("inputs", **said, partition=2, offset=0, value="7-"),
        row("inputs", **said | {"kind": "lost-state"}, partition=1, offset=162, value="30-39"),
    ]
    directory = store(tmp_path / "s", {"inputs": rows, "events": [event("g1", "imu", 0)]})
    with Store.open(directory) as opened:
        answer = missing(opened)
    assert answer.lost_records == 122
    assert isinstance(answer.lost, Bounded)
    assert [(run.partition, run.first, run.last) for run in answer.lost] == [(1, 40, 161), (2, 7, None)]
    assert answer.lost.rows[0].since == "2023-11-14T22:13:20.000000Z"
    with Store.open(directory, role=Role("analyst")) as opened:
        answer = missing(opened)
    assert (answer.lost_records, answer.lost) == ("100+", UNSET)
    with Store.open(store(tmp_path / "none", {"events": [event("g1", "imu", 0)]})) as opened:
        assert "lost_records" not in missing(opened).to_dict()


@settings(max_examples=3, deadline=None, phases=WITHOUT_SHRINKING)
@given(st.lists(st.tuples(intervals, intervals, intervals), min_size=10, max_size=10))
def test_missing_is_what_is_neither_stored_nor_rejected(streams: Any) -> None:
    rows: dict[str, list[Row]] = {"streams": [], "events": [], "rejected": []}
    for i, (stored, rejected, repeats) in enumerate(streams):
        rows["streams"].append(stream(f"g{i}", "imu"))
        rows["events"] += [event(f"g{i}", "imu", first, count) for first, count in stored]
        rows["rejected"] += [
            row(
                "rejected",
                source=f"g{i}",
                stream="imu",
                first=first,
                count=count,
                rule=rule,
                stage="zones",
                topic="glasses.captured",
            )
            for runs, rule in ((rejected, "unconfigured"), (repeats, "repeat"))
            for first, count in runs
        ]
    with tempfile.TemporaryDirectory() as name, Store.open(store(Path(name) / "s", rows)) as opened:
        answer = missing(opened)
    expected = set()
    for i, (stored, rejected, _) in enumerate(streams):
        there = {number for first, count in (*stored, *rejected) for number in range(first, first + count)}
        expected |= {(f"g{i}", number) for number in set(range(max(there) + 1)) - there}
    found = {
        (run.source, number) for run in answer.missing for number in range(run.first, run.first + run.count)
    }
    assert found == expected
    assert answer.missing_events == len(expected)


MODEL = ("training", "intent-model")


def single(child: tuple[str, str, int], *parents: tuple[str, str, int], **columns: Any) -> list[Row]:
    return [edge(child, parent, **columns) for parent in parents]


def loop_rows() -> dict[str, list[Row]]:
    """Two queries answered by versions 1 and 2; feedback on the first became what version 2 learned from."""
    return {
        "streams": [
            stream("g1", "imu"),
            stream("g1", "voice", "voice_query"),
            stream("g1", "feedback", "feedback"),
            *(
                stream("g1", kind, kind, captured=False)
                for kind in ("activity", "situation", "answer", "example")
            ),
            stream(*MODEL, "model", captured=False),
            stream("training", "seed", "example", captured=False),
        ],
        "models": [
            row("models", source=MODEL[0], stream=MODEL[1], version=version, examples=10 * version)
            for version in (1, 2)
        ],
        "events": [
            event("g1", "imu", 0, 100, zone="home-private"),
            event("g1", "voice", 0, 2, kind="voice_query", zone="voice-assistant"),
            event("g1", "activity", 0, 1, kind="activity", zone="home-private"),
            event("g1", "feedback", 0, kind="feedback"),
            event("g1", "situation", 0, 2, kind="situation"),
            event("g1", "answer", 0, 2, kind="answer", rule="highest parent"),
            event("g1", "example", 0, kind="example"),
            event(*MODEL, 1, 2, kind="model"),
            event("training", "seed", 0, 10, kind="example"),
        ],
        "decisions": [
            row(
                "decisions",
                source="g1",
                stream="answer",
                first=0,
                count=2,
                sink="glasses.answers",
                verdict="allow",
                rule="answers",
            )
        ],
        "rejected": [
            row(
                "rejected",
                source="g1",
                stream="imu",
                first=100,
                count=20,
                rule="none",
                reason="policy: none",
                zone="unconfigured",
                stage="zones",
            )
        ],
    }


def loop_edges() -> list[Row]:
    """What was made of what, round that loop."""
    return [
        edge(("g1", "activity", 0), ("g1", "imu", 0), parent_width=100),
        edge(
            ("g1", "situation", 0),
            ("g1", "activity", 0),
            child_count=2,
            parent_step=0,
            operator="situation",
        ),
        edge(("g1", "answer", 0), ("g1", "situation", 0), child_count=2, operator="assistant"),
        edge(("g1", "answer", 0), ("g1", "voice", 0), child_count=2, operator="assistant"),
        edge(
            ("g1", "answer", 0),
            (*MODEL, 1),
            child_count=2,
            parent_step=1,
            operator="assistant",
            directness="indirect",
        ),
        *single(
            ("g1", "example", 0),
            ("g1", "feedback", 0),
            ("g1", "answer", 0),
            ("g1", "voice", 0),
            operator="example",
        ),
        edge(
            (*MODEL, 1),
            ("training", "seed", 0),
            child_count=2,
            parent_step=0,
            parent_width=10,
            operator="training",
        ),
        edge((*MODEL, 2), ("g1", "example", 0), operator="training", declassifier="model-training"),
    ]


@pytest.fixture(scope="module")
def looped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The loop in a store: its edges are an epoch of their own."""
    return store(tmp_path_factory.mktemp("loop") / "s", loop_rows(), {"edges": loop_edges()})


def test_ancestors_stop_at_a_model_and_name_its_version(looped: Path) -> None:
    with Store.open(looped) as opened:
        answer = questions.ancestors(opened, "g1/answer/1")
        through = questions.ancestors(opened, "g1/answer/1", through_models=True)
    assert {(found.id, found.events) for found in answer.ancestors} == {
        ("g1/situation/1", 1),
        ("g1/voice/1", 1),
        ("training/intent-model/2", 1),
        ("g1/activity/0", 1),
        ("g1/imu/0", 100),
    }
    assert [found.zones for found in answer.ancestors if found.id == "g1/imu/0"] == [("home-private",)]
    assert [model.id for model in answer.models] == ["training/intent-model/2"]
    assert answer.hops == 3
    assert {"g1/example/0", "g1/feedback/0", "training/seed/0", "training/intent-model/1"} <= {
        found.id for found in through.ancestors
    }


def test_why_says_rule_decisions_model_and_situation(looped: Path) -> None:
    with Store.open(looped) as opened:
        answer = questions.why(opened, "g1/answer/1")
        model = questions.why(opened, "training/intent-model/2")
        refused = questions.why(opened, "g1/imu/105")
    assert isinstance(answer, WhyStored)
    assert isinstance(model, WhyStored)
    assert isinstance(answer.model, MetModel)
    assert (answer.zone, answer.rule, answer.situation, answer.model.version) == (
        "public",
        "highest parent",
        "g1/situation/1",
        2,
    )
    assert [decision.sink for decision in answer.decisions] == ["glasses.answers"]
    assert {parent.declassifier for parent in model.parents} == {"", "model-training"}
    assert [rejection.zone for rejection in refused.rejected] == ["unconfigured"]


def test_loop_follows_an_answer_into_the_answers_after_it(looped: Path) -> None:
    with Store.open(looped) as opened:
        answer = loop(opened, "g1/answer/0")
        model = loop(opened, "training/intent-model/1")
    assert (answer.feedback, answer.examples) == (("g1/feedback/0",), ("g1/example/0",))
    assert [(one.version, one.answers, one.learned_from_it) for one in answer.generations] == [(2, 1, True)]
    assert [(one.version, one.answers) for one in model.generations] == [(1, 1), (2, 1)]


@pytest.mark.parametrize("identity", ["nonsense", "g1/imu/100000", "g9/imu/0", "g1/imu/-1"])
def test_an_unknown_event_is_a_sentence(looped: Path, identity: str) -> None:
    with Store.open(looped) as opened:
        for question in (questions.ancestors, questions.why, loop):
            with pytest.raises(InputError, match="event"):
                question(opened, identity)
