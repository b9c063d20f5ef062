"""Hashed n-grams of utterances: what the intent model and the measure of drift see.

Hashing (Weinberger et al., "Feature hashing for large scale multitask learning", ICML 2009) keeps no
vocabulary, so a model version that everyone can read on `glasses.models` holds no word of an utterance.

They are those of scikit-learn's `HashingVectorizer(analyzer="char_wb", ngram_range=(2, 4),
alternate_sign=False)`, with which a test compares them. Made here, they spare a worker the 80 MB of memory
that scikit-learn takes, so only the process that fits models loads it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import mmh3
import numpy as np
from numpy.typing import NDArray

from streams.limits import MODEL_FEATURES

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

UTTERANCE_CHARACTERS_MAX = (
    1000  #: the rest of an utterance is ignored, which bounds the time of a prediction and of a fit
)
_LENGTHS = range(2, 5)
_SPACES = re.compile(r"\s\s+")


@dataclass(frozen=True, slots=True, eq=False)
class Grams:
    """Sparse rows of n-grams, one for each utterance, of length 1 (l2) unless they are empty.

    Row `i` has the values `values[starts[i]:starts[i + 1]]` in the columns `places` of the same part, which
    ascend. `starts` is (rows + 1,), the others (number of values,).
    """

    starts: NDArray[np.int64]
    places: NDArray[np.int64]
    values: NDArray[np.float32]

    def times(self, weights: NDArray[np.float32]) -> NDArray[np.float32]:
        """Product (rows, outputs) with weights (outputs, MODEL_FEATURES)."""
        product = np.zeros((len(self.starts) - 1, len(weights)), np.float32)
        for row, (first, end) in enumerate(zip(self.starts[:-1], self.starts[1:], strict=True)):
            # In this layout NumPy adds one after the other, as SciPy does, so sums are equal to the last bit.
            parts = np.ascontiguousarray(weights[:, self.places[first:end]].T)
            product[row] = (parts * self.values[first:end, None]).sum(axis=0)
        return product

    def mass(self) -> NDArray[np.float64]:
        """Sum (MODEL_FEATURES,) of all rows."""
        return np.bincount(self.places, self.values, MODEL_FEATURES).astype(np.float64)

    def matrix(self) -> csr_matrix[Any]:
        """The same as a sparse matrix of SciPy, for scikit-learn."""
        from scipy.sparse import csr_matrix  # noqa: PLC0415 - only a fit needs it

        shape = (len(self.starts) - 1, MODEL_FEATURES)
        return csr_matrix((self.values, self.places, self.starts), shape=shape)


def grams(utterances: Sequence[str]) -> Grams:
    """N-grams of 2 to 4 characters inside the words of each utterance.

    Only the first UTTERANCE_CHARACTERS_MAX characters of each utterance are used.
    """
    rows = [_row(utterance[:UTTERANCE_CHARACTERS_MAX]) for utterance in utterances]
    starts = np.zeros(len(rows) + 1, np.int64)
    np.cumsum([len(places) for places, _ in rows], out=starts[1:])
    empty = _row("")
    return Grams(
        starts,
        np.concatenate([places for places, _ in (empty, *rows)]),
        np.concatenate([values for _, values in (empty, *rows)]),
    )


def _row(utterance: str) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    hashes = np.fromiter(map(_hashed, _parts(utterance)), np.int64)
    places, counts = np.unique(np.abs(hashes) % MODEL_FEATURES, return_counts=True)
    length = np.sqrt(np.square(counts, dtype=np.float64).sum())
    return places, (counts / max(length, 1.0)).astype(np.float32)


def _hashed(part: str) -> int:
    return mmh3.hash(part.encode(), signed=True)


def _parts(utterance: str) -> Iterator[str]:
    """The n-grams of each word, which has a space on both sides; a word shorter than that is one itself."""
    for word in _SPACES.sub(" ", utterance.lower()).split():
        spaced = f" {word} "
        for length in _LENGTHS:
            yield spaced[:length]
            if length >= len(spaced):
                break
            for first in range(1, len(spaced) - length + 1):
                yield spaced[first : first + length]
