"""How far what a model reads has moved away from what it was measured on.

The measure is the population stability index over the mass of hashed n-grams, which is what the model sees.
Only sums over many utterances are kept, from which no word can be read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from streams.limits import DRIFT_QUERIES_MAX, DRIFT_QUERIES_MIN, MODEL_FEATURES
from streams.models.grams import Grams, grams

#: Features are taken together in so many pools. 64 English commands of the source then lie at most 0.07 from
#: the others, German ones at 0.9 and digits at 0.4.
POOLS = 128
#: Share of a pool in which nothing was seen.
_NOTHING = 1e-3


def pooled(asked: Grams) -> NDArray[np.float64]:
    """Mass (POOLS,) of n-grams."""
    sums: NDArray[np.float64] = asked.mass().reshape(POOLS, MODEL_FEATURES // POOLS).sum(axis=1)
    return sums


def stability_index(expected: NDArray[np.float64], actual: NDArray[np.float64]) -> float:
    """Population stability index of two masses by pool; 0 if their shares are equal."""
    before, now = _shares(expected), _shares(actual)
    return float(((now - before) * np.log(now / before)).sum())


def _shares(mass: NDArray[np.float64]) -> NDArray[np.float64]:
    smoothed = mass + _NOTHING * mass.sum() / POOLS
    shares: NDArray[np.float64] = smoothed / smoothed.sum()
    return shares


class Drift:
    """The drift of the last DRIFT_QUERIES_MAX queries from given utterances."""

    def __init__(self, utterances: Sequence[str]) -> None:
        self._expected = pooled(grams(utterances))
        self._last: deque[tuple[int, NDArray[np.float64]]] = deque()
        self._queries = 0

    def add(self, queries: int, mass: NDArray[np.float64]) -> float | None:
        """Add what the model read in one fetch; return the index, None while there are too few queries."""
        self._last.append((queries, mass))
        self._queries += queries
        while self._queries - self._last[0][0] >= DRIFT_QUERIES_MAX:
            self._queries -= self._last.popleft()[0]
        if self._queries < DRIFT_QUERIES_MIN:
            return None
        return stability_index(self._expected, np.sum([each for _, each in self._last], axis=0))
