"""The figures of `sightline evaluate`: F1 as scikit-learn has it, the curve of a draw, and its repetition."""

from __future__ import annotations

import random

import orjson
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from device_sim.draw import DRAWS, Draw
from streams.cli.main import main
from streams.evaluation.household import ATTACKER, Attack, Household, licensed_of
from streams.evaluation.influence import followed
from streams.evaluation.measure import (
    F1_MIN,
    GAIN_POINTS_MIN,
    UTTERANCES_MIN,
    Curve,
    Turn,
    drawn,
    f1_by_intent,
    macro_f1,
)
from streams.models.intent import fit
from streams.training.run import OUTLIER_RULE
from tests import build

INTENTS = st.sampled_from(["alarm_set", "play_music", "weather_query", "general_praise"])


@given(st.lists(st.tuples(INTENTS, INTENTS), min_size=1, max_size=60))
def test_f1_is_that_of_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    true, predicted = [of for of, _ in pairs], [guess for _, guess in pairs]
    labels = sorted(set(true))
    expected = f1_score(true, predicted, labels=labels, average=None, zero_division=0)
    assert f1_by_intent(pairs) == pytest.approx(dict(zip(labels, expected, strict=True)))


def test_the_average_is_over_intents_of_enough_utterances() -> None:
    (first,) = drawn([1])
    model = fit(first.seed)
    predicted = [guess for guess, _ in model.predict([text for text, _ in first.test])]
    true = [intent for _, intent in first.test]
    large = sorted({intent for intent in true if true.count(intent) >= UTTERANCES_MIN})
    assert len(large) == 12
    assert macro_f1(model, first.test, UTTERANCES_MIN) == pytest.approx(
        f1_score(true, predicted, labels=large, average="macro"), abs=1e-4
    )


def turns(*f1: float) -> Curve:
    return Curve(1, [Turn(1, i + 1, 88, 0.5, each, each, True) for i, each in enumerate(f1)])


@pytest.mark.parametrize(
    ("f1", "holds"),
    [
        ((0.55, 0.7, F1_MIN), True),
        ((0.55, 0.9, F1_MIN - 0.01), False),
        ((F1_MIN - GAIN_POINTS_MIN / 100 + 0.01, F1_MIN), False),
        ((0.9, 0.9), False),
    ],
)
def test_the_bar_is_about_the_last_generation_and_its_gain(f1: tuple[float, ...], holds: bool) -> None:
    assert turns(*f1).holds is holds


def test_a_declined_generation_is_not_the_last() -> None:
    curve = turns(0.55, 0.9)
    worse = Turn(1, 3, 88, 0.5, 0.3, 0.3, False)
    assert Curve(1, [*curve.turns, worse]).last == curve.turns[-1]


def small(number: int, count: int = 120) -> Draw:
    """A draw with some of its 1,200 queries."""
    (whole,) = drawn([number])
    few = random.Random(0).sample(list(whole.queries), count)
    return Draw(number, whole.seed, whole.validation, whole.test, few, whole.spoken)


def test_a_household_gives_the_same_versions_again_and_none_learns_what_it_is_measured_on() -> None:
    draw = small(2)
    first, again = (build.run(Household(draw, build.policy(), 24).live()) for _ in range(2))
    assert [version.dump() for version in first] == [version.dump() for version in again]
    assert len(first) >= 3
    assert first[0].model.digest == fit(draw.seed).digest
    assert first[0].manifest.seed_digest == licensed_of(draw).seed.digest
    assert first[-1].accuracy > first[0].accuracy
    assert {source for source, *_ in first[-1].manifest.admitted} == {"g1", "g2", "g3", "g4"}


def test_an_attacker_is_named_and_is_no_parent_of_a_model() -> None:
    household = Household(small(1, 360), build.policy(), 100, Attack("inverted", lies=True))
    versions = build.run(household.live())
    assert ("outlier", ATTACKER) in household.named
    assert {name for name, _ in household.named} <= {"outlier", "wearer-weight"}
    last = versions[-1].manifest
    assert {source for source, *_ in last.admitted} == {"g1", "g2", "g3", "g4"}
    assert {source for source, *_, rule in last.refused if rule == OUTLIER_RULE} == {ATTACKER}


def test_what_lineage_reaches_contains_every_answer_that_changes_without_a_wearer() -> None:
    influences, effects = build.run(followed(small(3), build.policy(), 24))
    assert [influence.wearer for influence in influences] == ["w1", "w2", "w3", "w4"]
    for influence in influences:
        assert influence.missed == 0
        assert 0 < influence.changed <= influence.reached < influence.answers, "version 1 knew nobody"
    assert len(effects) == 5
    assert {effect.first_known for effect in effects} == {2}
    assert any(effect.answer and effect.now != effect.without for effect in effects)


@pytest.mark.slow
def test_every_draw_meets_the_bar() -> None:
    answer = CliRunner().invoke(main, ["evaluate", "--json"])
    draws = orjson.loads(answer.output)["draws"]
    assert [each["draw"] for each in draws] == list(DRAWS)
    for each in draws:
        assert each["last"] >= F1_MIN
        assert each["gain_points"] >= GAIN_POINTS_MIN
        judged = each["promotion"]
        assert judged["shuffled_declined"] == judged["shuffled"] == 20
        assert judged["equal"] == 400
        assert judged["equal_declined"] <= 0.08 * 400
        for attack in each["attacks"]:
            assert attack["points_lost"] <= 2
            assert any("5" in name for name in attack["named"]), "the device or the wearer is named"
        for influence in each["influence"]:
            assert influence["missed"] == 0
            assert 0 < influence["changed"] < influence["reached"] <= influence["answers"]
    assert answer.exit_code == 0
