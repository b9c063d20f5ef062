"""An operator tried on numbers: what a worker would make of them, and the faults that it would reject."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streams.errors import InputError, MalformedError
from streams.events.codec import column
from streams.processing.extended import extended_operators
from streams.processing.operators import Operators
from streams.processing.shipped import SHIPPED_OPERATORS
from streams.processing.trial import tried
from tests.extensions.temple import OPERATORS as OWN
from tests.extensions.temple import WINDOW_SAMPLES

OPERATORS = extended_operators(["tests.extensions.temple"])


def test_it_makes_the_events_of_full_windows() -> None:
    skin_c = [33.0] * WINDOW_SAMPLES + [36.0] * WINDOW_SAMPLES + [39.0]
    events = tried(OPERATORS, "warmth", {"skin_c": skin_c})
    assert [(event["warmth"], event["mean_c"]) for event in events] == [("cool", 33.0), ("warm", 36.0)]


def test_a_column_that_the_kind_lacks_is_an_error() -> None:
    misspelt = replace(OWN[0], samples=lambda batches: column(batches, "skin_f"))
    with pytest.raises(KeyError, match="skin_f"):
        tried(Operators.of(OPERATORS.kinds, misspelt), "warmth", {"skin_c": [33.0] * WINDOW_SAMPLES})
    with pytest.raises(MalformedError, match="expected skin_c"):
        tried(OPERATORS, "warmth", {"skin_f": [33.0] * WINDOW_SAMPLES})


def test_columns_that_the_derived_kind_lacks_are_an_error() -> None:
    other = replace(OWN[0], makes=lambda closed: [{"warmth": "lukewarm", "mean_c": 1.0} for _ in closed])
    with pytest.raises(MalformedError, match="warmth"):
        tried(Operators.of(OPERATORS.kinds, other), "warmth", {"skin_c": [33.0] * WINDOW_SAMPLES})


def test_shipped_operators_can_be_tried_too() -> None:
    still = {name: [0.0] * 100 for name in SHIPPED_OPERATORS.kinds["imu"].columns}
    (event,) = tried(SHIPPED_OPERATORS, "activity", still)
    assert event["activity"] == "still"


def test_an_operator_that_is_none_is_said() -> None:
    with pytest.raises(InputError, match="operator warm: found none of this name, expected one of activity"):
        tried(OPERATORS, "warm", {})
