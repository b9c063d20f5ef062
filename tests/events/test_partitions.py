"""Sets of partitions as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import InputError
from streams.events.partitions import parse, spelled


@pytest.mark.parametrize(
    ("text", "partitions"),
    [("0", (0,)), ("0-1", (0, 1)), ("2-3,0", (0, 2, 3)), ("0, 2", (0, 2)), ("5-5", (5,))],
)
def test_numbers_and_ranges_are_read(text: str, partitions: tuple[int, ...]) -> None:
    assert parse(text) == partitions


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "expected numbers and ranges"),
        ("a", "expected numbers and ranges"),
        ("-1", "expected numbers and ranges"),
        ("0-", "expected numbers and ranges"),
        ("1,,2", "expected numbers and ranges"),
        ("٣", "expected numbers and ranges"),
        ("3-2", "the range 3-2, which is empty"),
        ("0-2,1", "names one twice"),
        ("0-999999999", "expected less than"),
        ("99999999999999", "expected numbers and ranges"),
    ],
)
def test_what_names_no_partitions_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        parse(text)


@given(st.sets(st.integers(0, 60), min_size=1))
def test_what_is_spelled_is_read_again(partitions: set[int]) -> None:
    assert parse(spelled(partitions)) == tuple(sorted(partitions))
    assert spelled([0, 1, 3]) == "0-1,3"
