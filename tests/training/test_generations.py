"""What the generations understand: questions and feedback apart, by the annotations of utterances that none was made of."""

from __future__ import annotations

import random
from functools import cache

import numpy as np
import pytest

from device_sim.recordings import rows
from device_sim.recordings.make.utterances import FEEDBACK, TASKS
from streams.feedback.forms import CONFIDENCE_MIN, PRAISE
from streams.limits import RETRAIN_EVERY_EXAMPLES
from streams.models.intent import UTTERANCE_CHARACTERS_MAX, IntentModel, features, fit
from streams.training import seed

GENERATIONS = (1, 2, 5, 10)
CHANCES = range(3)
Pair = tuple[str, str]
EVALUATION = seed.evaluation().pairs
SPOKEN = [(row["utterance"], row["intent"]) for row in rows("nlu-spoken-feedback")]


@cache
def generation(number: int, chance: int) -> IntentModel:
    """Version `number` when every run of RETRAIN_EVERY_EXAMPLES admitted examples are queries with their annotations."""
    queries = [(row["utterance"], row["intent"]) for row in rows("nlu-queries")]
    random.Random(chance).shuffle(queries)
    return fit([*seed.seed().pairs, *queries[:RETRAIN_EVERY_EXAMPLES * (number - 1)]])


def of(intents: tuple[str, ...], pairs: tuple[Pair, ...] | list[Pair]) -> list[Pair]:
    return [pair for pair in pairs if pair[1] in intents]


@pytest.mark.parametrize("chance", CHANCES)
def test_questions_are_learned_and_feedback_is_not_forgotten(chance: int) -> None:
    versions = [generation(number, chance) for number in GENERATIONS]
    whole, questions, feedback = ([version.accuracy(pairs) for version in versions] for pairs in (
        EVALUATION, of(TASKS, EVALUATION), of(FEEDBACK, [*EVALUATION, *SPOKEN])))
    assert 0.45 < questions[0] < 0.65, "version 1 understands something and leaves something to learn"
    assert whole == sorted(whole)
    assert whole[1] > whole[0] + 0.03
    assert whole[-1] > whole[0] + 0.15
    assert min(feedback) >= 0.9


@pytest.mark.parametrize("number", GENERATIONS)
def test_hardly_a_denial_is_taken_for_praise_and_most_praise_confirms(number: int) -> None:
    model = generation(number, 0)
    unseen = of(FEEDBACK, [*EVALUATION, *SPOKEN])
    confirms = [intent == PRAISE and sure >= CONFIDENCE_MIN for intent, sure in model.predict([text for text, _ in unseen])]
    of_praise = [found for found, (_, intent) in zip(confirms, unseen, strict=True) if intent == PRAISE]
    assert sum(confirms) - sum(of_praise) == 0
    assert sum(of_praise) / len(of_praise) >= 0.8


def test_what_is_no_feedback_does_not_confirm() -> None:
    questions = [row["utterance"] for row in rows("nlu-queries")]
    for number in GENERATIONS:
        found = generation(number, 0).predict(questions)
        assert [sure for intent, sure in found if intent == PRAISE and sure >= CONFIDENCE_MIN] == []


def test_a_long_utterance_costs_no_more_than_its_beginning() -> None:
    beginning = ("wake me at seven " * UTTERANCE_CHARACTERS_MAX)[:UTTERANCE_CHARACTERS_MAX]
    found = features([beginning, beginning + "zanzibar " * 50_000])
    assert np.array_equal(found[0].toarray(), found[1].toarray())
