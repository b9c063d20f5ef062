"""Other families are those of scikit-learn, in the form that a version has."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.naive_bayes import MultinomialNB
from sklearn.neighbors import NearestCentroid

from device_sim.draw import draw, utterances
from streams.models.families import FAMILIES
from streams.models.grams import grams
from streams.models.intent import IntentModel, fit

DRAWN = draw(1, utterances())
LEARNED = [*DRAWN.seed, *random.Random(7).sample(list(DRAWN.queries), 200)]
ASKED = [text for text, _ in DRAWN.validation]


@pytest.mark.filterwarnings("ignore:self.within_class_std_dev_")
@pytest.mark.parametrize(
    ("family", "expected"),
    [("bayes", lambda: MultinomialNB(fit_prior=False)), ("centroid", NearestCentroid)],
)
def test_a_family_predicts_as_scikit_learn_does(family: str, expected: Callable[[], Any]) -> None:
    learned = grams([text for text, _ in LEARNED]).matrix().toarray()
    other = expected().fit(learned, [intent for _, intent in LEARNED])
    theirs = other.predict(grams(ASKED).matrix().toarray())
    ours = [intent for intent, _ in FAMILIES[family](LEARNED, [1.0] * len(LEARNED)).predict(ASKED)]
    assert np.mean([mine == their for mine, their in zip(ours, theirs, strict=True)]) > 0.99


def test_weights_count_as_often_as_they_say() -> None:
    """A pair that counts twice is one that was said twice."""
    weights = [2.0 if at % 3 == 0 else 1.0 for at in range(len(LEARNED))]
    twice = [pair for at, pair in enumerate(LEARNED) for _ in range(2 if at % 3 == 0 else 1)]
    for family in ("bayes", "centroid"):
        once = FAMILIES[family](LEARNED, weights)
        again = FAMILIES[family](twice, [1.0] * len(twice))
        assert np.allclose(once.weights, again.weights, atol=1e-5)
        assert np.allclose(once.bias, again.bias, atol=1e-5)


def test_any_of_them_is_a_version_like_another() -> None:
    for family in FAMILIES.values():
        model = family(LEARNED, [1.0] * len(LEARNED))
        assert IntentModel.load(model.dump()).digest == model.digest
        assert model.weights.nbytes == fit(DRAWN.seed).weights.nbytes


def test_the_first_is_the_one_that_training_uses() -> None:
    name, family = next(iter(FAMILIES.items()))
    assert name == "regression"
    assert family(LEARNED, [1.0] * len(LEARNED)).digest == fit(LEARNED).digest
