"""docs/loop.md has today's figures of what the loop is worth, and of what other families of models would be.

They take minutes, so it is a slow test. `python -m tests.docs.test_loop` writes them into the page.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from functools import cache

import pytest

from device_sim.draw import Draw
from streams import logs
from streams.cli.evaluate import EVERY, _summary
from streams.evaluation.household import Household
from streams.evaluation.measure import UTTERANCES_MIN, curve_of, drawn, macro_f1
from streams.models.families import FAMILIES
from streams.policy.load import load
from tests.test_docs import ROOT

PAGE = ROOT / "docs" / "loop.md"
_GAIN = re.compile(r"(```text\n)((?:draw \d  macro F1 [^\n]*\n)+)")
_FAMILIES = re.compile(r"(```text\n)(draw  family [^\n]*\n(?: +\d  [^\n]*\n)+)")


@cache
def figures() -> Mapping[re.Pattern[str], str]:
    """What the page has to say, by where it stands."""
    with logs.silenced("streams.pipeline"):
        measured = [_measured(each) for each in drawn()]
    rows = ["draw  family      accuracy  macro F1\n", *(row for _, some in measured for row in some)]
    return {_GAIN: "".join(gain for gain, _ in measured), _FAMILIES: "".join(rows)}


def _measured(of: Draw) -> tuple[str, list[str]]:
    """What a household gains on a draw, and every family on the last lesson, on the same utterances."""
    household = Household(of, load("household"), EVERY)
    versions = asyncio.run(household.live())
    turns = curve_of(of, versions)
    _, lesson = household.learned(next(each for each in versions if each.version == turns.last.version))
    rows = []
    for family, fit in FAMILIES.items():
        model = fit(lesson.pairs, lesson.weights)
        accuracy = sum(model.right(of.validation)) / len(of.validation)
        f1 = macro_f1(model, of.test, UTTERANCES_MIN)
        rows.append(f"{of.number:4}  {family:10}  {accuracy:8.4f}  {f1:8.4f}\n")
    return f"draw {of.number}  {_summary(turns)}\n", rows


@pytest.mark.slow
@pytest.mark.parametrize("where", [_GAIN, _FAMILIES], ids=["gain", "families"])
def test_the_page_has_todays_figures(where: re.Pattern[str]) -> None:
    (block,) = where.findall(PAGE.read_text(encoding="utf-8"))
    assert block[1] == figures()[where]


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    for pattern, says in figures().items():
        if (match := pattern.search(text)) is None:
            raise SystemExit(f"{PAGE}: found no block like {pattern.pattern}")
        text = text[: match.start(2)] + says + text[match.end(2) :]
    PAGE.write_text(text, encoding="utf-8")
