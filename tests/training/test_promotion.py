"""Promotion: a worse version is declined and never serves, an equal one hardly ever, also by wearer."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_sim.draw import draw, utterances
from streams import metrics
from streams.errors import MalformedError
from streams.events.record import Fetch, Outgoing
from streams.limits import GROUP_EXAMPLES_MIN, PROMOTION_LEVEL
from streams.models.intent import IntentModel, fit
from streams.models.registry import ModelTable
from streams.models.version import ModelVersion
from streams.pipeline.live import LiveTraining
from streams.topology import EXAMPLES, MODELS
from streams.training import promotion, seed
from streams.training.lesson import Lesson, Pair
from streams.training.promotion import Validation
from streams.training.run import Fitted, fit_and_measure
from tests import build
from tests.hostile.test_cores import GOOD_EXAMPLES
from tests.training.test_runs import history, versions

LICENSED = seed.licensed()
POINTER = b"model/current"


@given(st.integers(0, 60), st.integers(0, 60))
def test_the_chance_is_that_of_a_fair_coin(better: int, worse: int) -> None:
    """Pascal's triangle, row by row, is independent of the formula."""
    row = [1]
    for _ in range(better + worse):
        row = [a + b for a, b in zip([0, *row], [*row, 0], strict=True)]
    assert promotion.chance(better, worse) == pytest.approx(sum(row[worse:]) / sum(row))


@pytest.mark.parametrize(
    ("better", "worse", "promoted"),
    # A binomial table: of 10, at least 9 heads have chance 0.0107, at least 8 have 0.0547.
    [(0, 0, True), (2, 8, True), (1, 9, False), (9, 1, True), (0, 4, True), (0, 5, False), (200, 200, True)],
)
def test_only_losses_that_chance_does_not_explain_decline(better: int, worse: int, promoted: bool) -> None:
    right = [True] * better + [False] * worse + [True] * 50 + [False] * 50
    before = [False] * better + [True] * worse + [True] * 50 + [False] * 50
    verdict = promotion.judge(right, before, [""] * len(right), 3)
    assert (verdict.better, verdict.worse, verdict.promoted) == (better, worse, promoted)
    assert promoted or verdict.reason.startswith("worse than version 3 on the validation set of 1")


def test_outcomes_and_wearers_that_do_not_belong_together_are_no_verdict() -> None:
    with pytest.raises(ValueError, match="zip"):
        promotion.judge([True] * 20, [True] * 20, ["w1"] * 21, 1)


def test_a_candidate_as_good_is_declined_in_at_most_a_twentieth_of_all_cases() -> None:
    """Summed over all outcomes, for every number of differences; nothing is drawn."""
    for differ in range(60):
        declined = sum(
            comb(differ, worse)
            for worse in range(differ + 1)
            if promotion.chance(differ - worse, worse) <= PROMOTION_LEVEL
        )
        assert declined / 2**differ <= PROMOTION_LEVEL


def outcomes(chance: random.Random, wearers: int) -> tuple[list[bool], list[bool], list[str]]:
    """Outcomes of two equally good versions, which differ on a fifth of the examples."""
    whose = [""] * 364 + [f"w{i}" for i in range(wearers) for _ in range(GROUP_EXAMPLES_MIN + i)]
    right, before = list[bool](), list[bool]()
    for _ in whose:
        same = chance.random() < 0.8
        right.append(chance.random() < 0.5)
        before.append(right[-1] if same else not right[-1])
    return right, before, whose


@pytest.mark.parametrize("wearers", [0, 4, 20])
def test_with_the_bound_for_each_wearer_it_is_hardly_more(wearers: int) -> None:
    chance = random.Random(wearers)
    declined = sum(not promotion.judge(*outcomes(chance, wearers), 1).promoted for _ in range(2000))
    # 5 % for all and 1 % for the wearers together; with 2,000 draws, three deviations are 1.6 %.
    assert declined / 2000 <= 0.06 + 0.016


def test_what_is_good_on_average_and_bad_for_one_wearer_is_declined() -> None:
    whose = [""] * 300 + ["w1"] * 20 + ["w2"] * 20
    before = [False] * 40 + [True] * 260 + [True] * 40
    right = [True] * 300 + [False] * 12 + [True] * 8 + [True] * 20
    verdict = promotion.judge(right, before, whose, 7)
    assert verdict.p_value > 0.9
    assert verdict.reason == (
        "worse than version 7 for 1 of 2 wearers by more than 10% of their own examples"
    )
    few = [*whose[:300], *["w1"] * (GROUP_EXAMPLES_MIN - 1), *[""] * (41 - GROUP_EXAMPLES_MIN)]
    assert promotion.judge(right, before, few, 7).promoted, "too few to judge"


@pytest.mark.parametrize("chance", range(20))
def test_a_model_of_shuffled_labels_is_declined(chance: int) -> None:
    drawn = draw(1, utterances())
    some = random.Random(chance).sample(list(drawn.queries), 60)
    good = fit([*drawn.seed, *some])
    intents = [intent for _, intent in (*drawn.seed, *some)]
    random.Random(chance).shuffle(intents)
    shuffled = fit(list(zip((text for text, _ in (*drawn.seed, *some)), intents, strict=True)))
    outcome = promotion.judge(
        shuffled.right(drawn.validation), good.right(drawn.validation), [""] * len(drawn.validation), 2
    )
    assert not outcome.promoted
    back = promotion.judge(
        good.right(drawn.validation), shuffled.right(drawn.validation), [""] * len(drawn.validation), 2
    )
    assert back.promoted


def shuffled(pairs: Sequence[Pair]) -> list[Pair]:
    intents = [intent for _, intent in pairs]
    random.Random(0).shuffle(intents)
    return list(zip((text for text, _ in pairs), intents, strict=True))


def trained(bad: Sequence[int], cut: int = 4) -> tuple[list[Outgoing], LiveTraining]:
    """Three runs; those with a number in `bad`, from 0, fit on shuffled labels."""
    runs: list[int] = []

    async def fit_(lesson: Lesson, validation: Validation, serving: IntentModel | None) -> Fitted:
        runs.append(len(runs))
        given = replace(lesson, pairs=shuffled(lesson.pairs)) if runs[-1] in bad else lesson
        return fit_and_measure(given, validation, serving)

    core = LiveTraining(build.followed(), history, fit_, 4)
    state, written = core.empty(0), list[Outgoing]()
    for at in range(0, len(GOOD_EXAMPLES), cut):
        outcome = build.step(core, state, Fetch(EXAMPLES, 0, GOOD_EXAMPLES[at : at + cut]))
        assert outcome.checkpoint
        state = core.restore(0, core.save(None, outcome.state))
        written += outcome.outputs
        build.learn_models(core.followed, outcome.outputs)
    assert state.serving == max(set(range(2, 5)) - {number + 2 for number in bad}, default=1)
    return written, core


@pytest.mark.parametrize("cut", [4, 12])
@pytest.mark.parametrize("bad", [(), (0,), (1,), (2,), (0, 1, 2)])
def test_a_declined_version_is_kept_with_its_reason_and_no_worker_takes_it_up(
    bad: tuple[int, ...], cut: int
) -> None:
    declined = metrics.read("training_declined_total")
    written, core = trained(bad, cut)
    made = versions(written)
    assert [version.version for version in made] == [2, 3, 4], "a declined version uses a number"
    assert [version.version - 2 for version in made if version.declined] == list(bad)
    pointers = [one for one in written if one.topic == MODELS and one.key == POINTER]
    assert len(pointers) == 3 - len(bad)
    promoted = [1, *(version.version for version in made if not version.declined)]
    assert core.followed.models.now.serving == promoted[-1]
    assert metrics.read("training_declined_total") == declined + len(bad)
    rows = build.lineage(written)["promotions"]
    assert [(row["version"], row["outcome"], row["reason"]) for row in rows] == [
        (version.version, "declined" if version.declined else "promoted", version.declined)
        for version in made
    ]
    for row in rows:
        before = max(number for number in promoted if number < row["version"])
        assert row["against"] == before, "it is compared with what serves, not with what was made last"
        assert (row["p_value"] <= PROMOTION_LEVEL) is (row["outcome"] == "declined")
    events = {row["first"] for row in build.lineage(written)["events"] if row["stream"] == "intent-model"}
    edges = {
        row["child_first"] for row in build.lineage(written)["edges"] if row["parent_stream"] == "example"
    }
    assert events == edges == {2, 3, 4}, "a declined version is an event with lineage"


def version(number: int, declined: str = "") -> ModelVersion:
    first = build.version(build.core())
    return replace(first, version=number, declined=declined)


def test_without_a_readable_pointer_the_newest_promoted_version_serves() -> None:
    table = ModelTable()
    for made in (version(1), version(2), version(3, "worse")):
        table.learn(b"model/%d" % made.version, made.dump())
    assert (table.now.serving, table.now.highest) == (2, 3)


def test_no_pointer_makes_a_declined_version_serve() -> None:
    table = ModelTable()
    for made in (version(1), version(2, "worse")):
        table.learn(b"model/%d" % made.version, made.dump())
    table.learn(POINTER, b'{"version":1}')
    with pytest.raises(MalformedError, match="points to a declined version"):
        table.learn(POINTER, b'{"version":2}')
    assert table.now.serving == 1
