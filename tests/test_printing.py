"""A terminal interprets nothing of a text, whatever it contains, and JSON keeps its meaning."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.printing import printable, printable_json

TEXTS = st.text() | st.text(st.characters(categories=["Cc", "Cf", "Cs", "Zl", "Zp", "Ll"]))
OBEYED = [*map(chr, [*range(0x20), *range(0x7F, 0xA0), *range(0x200B, 0x2010), *range(0x2028, 0x202F)])]
OBEYED += map(chr, [*range(0x2066, 0x206A), 0xFEFF, 0xAD, 0xE0041])


@given(TEXTS)
def test_nothing_that_a_terminal_obeys_or_hides_is_left(text: str) -> None:
    for shown in (printable(text), printable_json(json.dumps(text, ensure_ascii=False))):
        assert {unicodedata.category(one) for one in shown}.isdisjoint({"Cc", "Cf", "Cs", "Zl", "Zp"})


@given(TEXTS.filter(lambda text: "Cs" not in map(unicodedata.category, text)))
def test_json_means_the_same(text: str) -> None:
    assert json.loads(printable_json(json.dumps({text: [text]}, ensure_ascii=False))) == {text: [text]}


@given(st.text(st.characters(exclude_categories=["C", "Z"]) | st.just(" ")))
def test_what_people_read_stays(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize("one", OBEYED, ids=lambda one: f"{ord(one):x}")
def test_each_is_shown_as_its_escape(one: str) -> None:
    assert printable(f"a{one}b") == f"a{one.encode('unicode_escape').decode()}b".replace(
        *{"\n": (r"\n", r"\x0a"), "\r": (r"\r", r"\x0d"), "\t": (r"\t", r"\x09")}.get(one, ("", ""))
    )
