"""What was made of data, against the oracle."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from streams.errors import InputError
from streams.queries import questions
from streams.queries.answers import Bounded, ReachedRow
from streams.queries.between import between
from streams.queries.descendants import ReachedModel, descendants
from streams.queries.find import Wanted, find
from streams.queries.reach import reach
from streams.queries.spread import Bounds
from streams.queries.store import Store
from tests.queries.folded import fold
from tests.queries.oracle import CAPTURED, MODEL, Node, Oracle, is_model, kind_of, node_id, oracles
from tests.snapshots.build import store

#: An example makes a store, which takes a second; the first that is drawn is the smallest there is.
FEW = settings(
    max_examples=2,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def single(rows: tuple[ReachedRow, ...]) -> dict[Node, int]:
    """Events of rows with the hop that reached them first."""
    hops: dict[Node, int] = {}
    for reached in sorted(rows, key=lambda each: each.hop):
        for number in range(reached.first, reached.last + 1):
            hops.setdefault((reached.source, reached.stream, number, reached.revision), reached.hop)
    return hops


def chosen(oracle: Oracle, data: st.DataObject) -> list[Node]:
    """Events to ask about: some of each kind."""
    kinds = sorted({fact.kind for fact in oracle.facts.values()})
    return [
        data.draw(st.sampled_from(sorted(node for node, fact in oracle.facts.items() if fact.kind == kind)))
        for kind in kinds
    ]


@FEW
@given(oracle=oracles(devices=("g1", "g2")), data=st.data())
def test_the_present_is_told_as_single_events_have_it(oracle: Oracle, data: st.DataObject) -> None:
    """Some is looked up in indexes, some in segments that none covers yet."""
    with tempfile.TemporaryDirectory() as name:
        path = fold(store(Path(name) / "s", *oracle.epochs), (1, 2), (3,))
        with Store.open(path) as opened:
            for about in ("w1", "w2", *(node_id(node) for node in oracle.facts if is_model(node))):
                _check_reach(oracle, about, opened)
            for node in chosen(oracle, data):
                before = oracle.levels([node], up=True, through=lambda other: not is_model(other))
                after = oracle.levels([node], up=False, through=lambda other: not is_model(other))
                ancestors = questions.ancestors(opened, node_id(node))
                assert single(ancestors.ancestors.rows) == before
                assert single(
                    questions.ancestors(opened, node_id(node), through_models=True).ancestors.rows
                ) == (oracle.levels([node], up=True))
                answer = descendants(opened, node_id(node))
                assert single(answer.descendants.rows) == after
                assert answer.stopped == ()
                assert answer.made_of_it == Counter(map(kind_of, after))
                assert {(model.id, model.hop) for model in answer.models} == {
                    (node_id(other), hop) for other, hop in after.items() if is_model(other)
                }
                _check_answers(oracle, answer.models.rows)
                depth = data.draw(st.integers(1, 3))
                cut = descendants(opened, node_id(node), Bounds(hops=depth))
                assert single(cut.descendants.rows) == {
                    other: hop for other, hop in after.items() if hop <= depth
                }
                _check_generations(oracle, node, opened)
                _check_between(oracle, node, opened)
                _check_until(oracle, node, opened, data)


@FEW
@given(oracle=oracles(devices=("g1", "g2")), data=st.data())
def test_a_past_epoch_is_answered_as_it_was(oracle: Oracle, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = fold(store(Path(name) / "s", *oracle.epochs), (1, 2), (3,))
        for epoch in (1, 2, 3):
            past = oracle.as_of(epoch)
            with Store.open(path) as opened:
                opened.look_back(epoch)
                for about in ("w1", "w2"):
                    _check_reach(past, about, opened)
                for node in chosen(past, data):
                    answer = descendants(opened, node_id(node))
                    assert answer.epoch == epoch
                    assert single(answer.descendants.rows) == past.levels(
                        [node], up=False, through=lambda other: not is_model(other)
                    )
                    assert single(
                        questions.ancestors(opened, node_id(node), through_models=True).ancestors.rows
                    ) == past.levels([node], up=True)
                    _check_between(past, node, opened)
                assert find(opened, Wanted()).events == len(past.facts)
                later = [node for node, fact in oracle.facts.items() if fact.epoch > epoch]
                with pytest.raises(InputError, match="no agent wrote it"):
                    descendants(opened, node_id(data.draw(st.sampled_from(sorted(later)))))


def _check_answers(oracle: Oracle, models: Sequence[ReachedModel]) -> None:
    for model in models:
        node = (*MODEL, model.version, 0)
        answers = [other for other in oracle.children.get(node, ()) if oracle.facts[other].kind == "answer"]
        assert model.answers == len(answers)


def _check_generations(oracle: Oracle, node: Node, opened: Store) -> None:
    answer = descendants(opened, node_id(node), through_models=True)
    assert answer.made_of_it == Counter(map(kind_of, oracle.levels([node], up=False)))
    assert isinstance(answer.generations, Bounded)
    assert sum((Counter(row.events) for row in answer.generations), Counter()) == answer.made_of_it
    reached: set[Node] = {node}
    starts = {node}
    for row in answer.generations:
        fresh = set(oracle.levels(starts, up=False, through=lambda other: not is_model(other))) - reached
        assert row.events == Counter(map(kind_of, fresh))
        starts = {other for other in fresh if is_model(other)}
        assert set(row.models) == {node_id(other) for other in starts}
        reached |= fresh
    assert not starts


def _check_until(oracle: Oracle, node: Node, opened: Store, data: st.DataObject) -> None:
    after = oracle.levels([node], up=False, through=lambda other: not is_model(other))
    until_ns = data.draw(st.sampled_from(sorted({oracle.facts[other].t_ns for other in (node, *after)})))
    kept = Oracle({n: f for n, f in oracle.facts.items() if f.t_ns <= until_ns or n == node})
    for child, parents in oracle.parents.items():
        if child in kept.facts:
            kept.parents[child] = parents
    early = kept.levels([node], up=False, through=lambda other: not is_model(other))
    answer = descendants(opened, node_id(node), Bounds(until_ns=until_ns))
    assert single(answer.descendants.rows) == early
    assert bool(answer.stopped) == any(
        child not in kept.facts
        for parent in (node, *(other for other in early if not is_model(other)))
        for child in oracle.children.get(parent, ())
    )


def _check_between(oracle: Oracle, node: Node, opened: Store) -> None:
    """Of one event of each kind, whether it is reached, and over how many hops."""
    after = oracle.levels([node], up=False)
    for kind in sorted(set(map(kind_of, oracle.facts))):
        other = max((each for each in oracle.facts if kind_of(each) == kind and each != node), default=None)
        if other is None:
            continue
        answer = between(opened, node_id(node), node_id(other))
        assert answer.reached == (other in after)
        if other in after:
            assert answer.hops == after[other]
            ids = [row.id for row in answer.way]
            assert (ids[0], ids[-1]) == (node_id(node), node_id(other))
            for before, row in zip(answer.way, answer.way[1:], strict=False):
                (child,) = (each for each in oracle.parents if node_id(each) == row.id)
                assert before.id in set(map(node_id, oracle.parents[child]))


def _check_reach(oracle: Oracle, about: str, opened: Store) -> None:
    answer = reach(opened, about)
    own = {
        node
        for node, fact in oracle.facts.items()
        if fact.wearer == about or (is_model(node) and node_id(node) == about)
    }
    every = set(own)
    if "/" not in about:
        every |= set(oracle.levels(own, up=False, through=lambda other: not is_model(other)))
        assert answer.captured == Counter(kind_of(n) for n in own if n[1] in CAPTURED)
        assert answer.derived == Counter(
            kind_of(n) for n in every if n[1] not in CAPTURED and not is_model(n)
        )
        assert answer.examples == sum(kind_of(n) == "example" for n in every)
    models = {node for node in every if is_model(node)}
    answers = {
        child for node in models for child in oracle.children.get(node, ()) if kind_of(child) == "answer"
    }
    assert (answer.answers, sum(answer.answers_to.values())) == (len(answers), len(answers))
    assert answer.answers_to == Counter(oracle.facts[node].wearer for node in answers)
    second = oracle.levels(models, up=False)
    others = {node for node in second if kind_of(node) == "example"} - every
    assert answer.second_examples == len(others)
    assert set(answer.second_wearers) == {oracle.facts[node].wearer for node in others}
    later = {node for node in second if is_model(node) and others & set(oracle.parents[node])} - models
    assert {model.id for model in answer.models} == set(map(node_id, models))
    assert {model.id: model.learned_from for model in answer.second_models} == {
        node_id(node): len(others & set(oracle.parents[node])) for node in later
    }
    assert {model.id: model.learned_from for model in answer.models} == {
        node_id(node): len(every & set(oracle.parents[node])) if "/" not in about else 0 for node in models
    }
