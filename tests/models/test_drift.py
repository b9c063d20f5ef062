"""Drift is small for utterances of the same kind, and large for others; it keeps no word."""

from __future__ import annotations

import numpy as np
import pytest

from streams import limits
from streams.models.drift import Drift, pooled, stability_index
from streams.models.grams import grams
from streams.training.seed import licensed

ENGLISH = [text for text, _ in (*licensed().seed.pairs, *licensed().validation.pairs)]
GERMAN = [
    "wie wird das wetter morgen in berlin",
    "stell den wecker auf sieben uhr",
    "spiel etwas musik von mozart",
    "was steht heute in meinem kalender",
    "ruf bitte meine mutter an",
    "wo ist die nächste apotheke",
    "mach das licht in der küche aus",
    "schreib milch und brot auf die liste",
]


def drift(utterances: list[str], expected: list[str]) -> float | None:
    """What is said after each utterance came in a fetch of its own."""
    made, value = Drift(expected), None
    for text in utterances:
        value = made.add(1, pooled(grams([text])))
    return value


@pytest.mark.parametrize("seed_", range(5))
def test_the_same_kind_of_utterances_does_not_drift(seed_: int) -> None:
    order = np.random.default_rng(seed_).permutation(len(ENGLISH))
    mixed = [ENGLISH[at] for at in order]
    value = drift(mixed[:100], mixed[100:])
    assert value is not None
    assert value < 0.1


def test_another_language_and_a_query_that_repeats_drift() -> None:
    for others in (GERMAN * 10, [ENGLISH[0]] * 80, [f"{at * 7919 % 100_003:05d}" for at in range(80)]):
        value = drift(others, ENGLISH)
        assert value is not None
        assert value > 0.25


def test_too_few_queries_say_nothing() -> None:
    assert drift(GERMAN * 7, ENGLISH) is None
    assert len(GERMAN) * 7 < limits.DRIFT_QUERIES_MIN


def test_only_the_last_queries_count() -> None:
    english = (ENGLISH * 2)[: limits.DRIFT_QUERIES_MAX]
    assert drift(GERMAN * 40 + english, ENGLISH) == pytest.approx(drift(english, ENGLISH))


def test_many_queries_of_one_fetch_are_kept_whole() -> None:
    made = Drift(ENGLISH)
    many = pooled(grams(ENGLISH))
    assert made.add(len(ENGLISH), many) == pytest.approx(0, abs=1e-9)
    assert made.add(1, pooled(grams(["x"]))) == pytest.approx(0, abs=0.01)


def test_the_index_is_that_of_its_definition() -> None:
    before, now = np.array([50.0, 50.0]), np.array([80.0, 20.0])
    expected = (0.8 - 0.5) * np.log(0.8 / 0.5) + (0.2 - 0.5) * np.log(0.2 / 0.5)
    assert stability_index(before, now) == pytest.approx(expected, rel=0.01)
    assert stability_index(before, 7 * before) == pytest.approx(0)
