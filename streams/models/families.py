"""Families of models behind one protocol: each makes the same linear form from the same n-grams.

All of them score an intent by weights on n-grams and a bias, so a version of any family has the same size, is
stored and read in the same way, and answers equally fast. What differs is how the weights are found:

- `regression`: multinomial logistic regression (`streams.models.intent`), the one that training uses;
- `bayes`: multinomial naive Bayes with add-one smoothing (A. McCallum and K. Nigam, "A Comparison of Event
  Models for Naive Bayes Text Classification", AAAI-98 workshop);
- `centroid`: the nearest class mean (Rocchio; E.-H. Han and G. Karypis, "Centroid-Based Document
  Classification", PKDD 2000), without any optimisation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from streams.limits import MODEL_FEATURES
from streams.models.grams import grams
from streams.models.intent import IntentModel, fit

Fit = Callable[[Sequence[tuple[str, str]], Sequence[float]], IntentModel]


def bayes(examples: Sequence[tuple[str, str]], weights: Sequence[float]) -> IntentModel:
    """Fit naive Bayes; every intent has the same prior, as for the regression."""
    intents, sums, _ = _sums(examples, weights)
    smoothed = sums + 1.0
    likelihood = np.log(smoothed / smoothed.sum(axis=1, keepdims=True))
    return IntentModel(intents, likelihood.astype("<f4"), np.zeros(len(intents), "<f4"))


def centroid(examples: Sequence[tuple[str, str]], weights: Sequence[float]) -> IntentModel:
    """Take the mean of each intent; the squared distance to it, without what all share, is linear."""
    intents, sums, totals = _sums(examples, weights)
    means = sums / totals[:, None]
    return IntentModel(intents, (2 * means).astype("<f4"), (-np.square(means).sum(axis=1)).astype("<f4"))


#: By name; the first is the one that training uses.
FAMILIES: Mapping[str, Fit] = {"regression": fit, "bayes": bayes, "centroid": centroid}


def _sums(
    examples: Sequence[tuple[str, str]], weights: Sequence[float]
) -> tuple[tuple[str, ...], NDArray[np.float64], NDArray[np.float64]]:
    """Intents, the weighted n-grams of each (intents, MODEL_FEATURES), and the sum of weights of each."""
    intents = tuple(sorted({intent for _, intent in examples}))
    rows = np.array([intents.index(intent) for _, intent in examples])
    counted = np.asarray(weights, dtype=np.float64)
    asked = grams([utterance for utterance, _ in examples]).matrix()
    sums = np.zeros((len(intents), MODEL_FEATURES))
    for at in range(len(intents)):
        own = rows == at
        sums[at] = asked[own].T @ counted[own]
    return intents, sums, np.bincount(rows, weights=counted, minlength=len(intents)).astype(np.float64)
