"""N-grams of utterances are those of scikit-learn, to the last bit, and so are the products with weights."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import HashingVectorizer

from streams.limits import MODEL_FEATURES
from streams.models.grams import UTTERANCE_CHARACTERS_MAX, grams
from streams.training.seed import licensed

HASHING = HashingVectorizer(
    n_features=MODEL_FEATURES,
    analyzer="char_wb",
    ngram_range=(2, 4),
    alternate_sign=False,
    norm="l2",
    dtype=np.float32,
)
WEIGHTS = np.random.default_rng(24).normal(size=(7, MODEL_FEATURES)).astype(np.float32)
ODD = ["", " ", "a", "ab", "abc", "Straße İ", "a  b\t\tc\nd", "日本 語", "a\u00a0b", "x" * 900, "é" * 3]


def equal(utterances: list[str]) -> None:
    made, expected = grams(utterances), HASHING.transform(utterances)
    assert (made.matrix() != expected).nnz == 0
    assert np.array_equal(made.times(WEIGHTS), expected @ WEIGHTS.T)
    assert np.allclose(made.mass(), np.asarray(expected.sum(axis=0)).ravel())


def test_of_the_licensed_utterances_and_of_odd_ones() -> None:
    shipped = licensed()
    equal([*ODD, *(text for text, _ in (*shipped.seed.pairs, *shipped.validation.pairs)), *ODD])


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=60), max_size=5))
def test_of_any_utterances(utterances: list[str]) -> None:
    equal(["", *utterances])


def test_the_rest_of_a_long_utterance_is_ignored() -> None:
    long = "turn the light on " * 100
    (one, other) = grams([long]), grams([long[:UTTERANCE_CHARACTERS_MAX]])
    assert np.array_equal(one.values, other.values)


def test_a_worker_and_whoever_predicts_load_no_scikit_learn() -> None:
    code = """if True:
        import sys
        import streams.worker.bootstrap
        from streams.models.grams import grams
        grams(["turn the light on"]).mass()
        assert not {"sklearn", "scipy"} & sys.modules.keys()
    """
    subprocess.run([sys.executable, "-c", code], check=True)
