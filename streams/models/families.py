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

from streams.models.grams import grams
from streams.models.intent import IntentModel, fit

Fit = Callable[[Sequence[tuple[str, str]], Sequence[float]], IntentModel]


def bayes(examples: Sequence[tuple[str, str]], weights: Sequence[float]) -> IntentModel:
    """Fit naive Bayes; every intent has the same prior, as for the regression."""
    from sklearn.naive_bayes import MultinomialNB  # noqa: PLC0415 - as in `fit`

    asked = grams([utterance for utterance, _ in examples]).matrix()
    made = MultinomialNB(fit_prior=False).fit(asked, [intent for _, intent in examples], weights)
    intents = tuple(str(intent) for intent in made.classes_)
    return IntentModel(intents, made.feature_log_prob_.astype("<f4"), np.zeros(len(intents), "<f4"))


def centroid(examples: Sequence[tuple[str, str]], weights: Sequence[float]) -> IntentModel:
    """Take the weighted mean of each intent; the squared distance to it, without what all share, is linear.

    scikit-learn's `NearestCentroid` takes no weights.
    """
    intents = tuple(sorted({intent for _, intent in examples}))
    rows = np.array([intents.index(intent) for _, intent in examples])
    counted = np.asarray(weights, dtype=np.float64)
    asked = grams([utterance for utterance, _ in examples]).matrix()
    means = np.array(
        [asked[rows == at].T @ counted[rows == at] / counted[rows == at].sum() for at in range(len(intents))]
    )
    return IntentModel(intents, (2 * means).astype("<f4"), (-np.square(means).sum(axis=1)).astype("<f4"))


#: By name; the first is the one that training uses.
FAMILIES: Mapping[str, Fit] = {"regression": fit, "bayes": bayes, "centroid": centroid}
