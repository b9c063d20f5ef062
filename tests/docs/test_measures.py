"""docs/metrics.md has every declared metric, and its questions name no other."""

from __future__ import annotations

import re

import pytest

from docs import measures
from streams.metrics.declared import DECLARED, PREFIX

#: What the client makes of a histogram.
_SUFFIXES = re.compile(r"_(bucket|sum|count)$")


def test_the_page_is_that_of_the_declarations() -> None:
    assert measures.PAGE.read_text(encoding="utf-8") == measures.page(), "run `python -m docs.measures`"


def test_the_page_has_each_metric_once() -> None:
    rows = re.findall(rf"^\| `{PREFIX}(\w+)` \|", measures.PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(rows) == sorted(DECLARED)


@pytest.mark.parametrize("question", measures.EXPRESSIONS)
def test_questions_name_declared_metrics_and_labels(question: str) -> None:
    expression = measures.EXPRESSIONS[question]
    names = re.findall(rf"{PREFIX}(\w+)", expression)
    assert names
    for name in names:
        plain = _plain(name)
        assert plain in DECLARED, f"{question}: {name} is not declared"
        if plain != name:
            assert DECLARED[plain].kind == "histogram"
    labels = {label for name in names for label in DECLARED[_plain(name)].labels}
    used = re.findall(r'(\w+)!?="', expression)
    for group in re.findall(r"(?:by|on) \(([^)]*)\)", expression):
        used += group.split(", ")
    assert set(used) <= labels | {"le"}


def _plain(name: str) -> str:
    return name if name in DECLARED else _SUFFIXES.sub("", name)
