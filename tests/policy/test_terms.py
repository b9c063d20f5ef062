"""Whatever a policy says, another that says otherwise differs from it: each field of each table alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from datetime import date, timedelta
from typing import Any

import pytest
from click.testing import CliRunner
from msgspec import Struct, structs

from streams.cli.main import main
from streams.policy.condition import Condition
from streams.policy.diff import of_anonymity, of_keys, of_speech
from streams.policy.load import load, parse
from streams.policy.policy import Policy
from streams.policy.terms import DECLARED, SAYS, TermChange, of_terms
from streams.policy.vocabulary import LISTS, Vocabulary

MORE = """
[[withheld]]
name = "quietly"
about = "Nothing of health is said aloud."
when = "intent == 'weather_query'"

[anonymised]
k_min = 5
l_min = 2
t_percent_max = 30
suppressed_percent_max = 20
unique_percent_max = 0

[training]
examples_min = 30

[erasure]
second_order = "review"
"""
TEXT = load("household").text + MORE
POLICY = parse(TEXT, "household", kinds=None)
#: Name, text and digest of it are those of the whole; examples in it are tried when it is loaded and decide
#: nothing.
IDENTITY = {"name", "version", "text", "examples"}
#: Compared by `streams.policy.diff`, with or without what `SAYS` has of it.
BY_ITSELF = {"anonymised", "speech"}
#: Follow from others: labels of kinds in zones, and what a kind adds to the label of what is derived.
FOLLOW = {"labels", "derived"}
#: The least by which a file can change these.
UNITS_NS = {"clock_ahead_ns": 10**9, "clock_old_ns": 86_400 * 10**9}


def others(value: Any) -> Iterator[Any]:
    """Values of the same type, each of which differs from `value` in one thing."""
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield value ^ 1
    elif isinstance(value, str):
        yield f"{value} otherwise"
    elif isinstance(value, bytes):
        return
    elif isinstance(value, date):
        yield value + timedelta(1)
    elif isinstance(value, Condition):
        yield Condition(f"({value.text}) && true")
    elif isinstance(value, Struct):
        for name in value.__struct_fields__:
            for other in others(getattr(value, name)):
                yield structs.replace(value, **{name: other})
    elif isinstance(value, Vocabulary):
        for each in fields(value):
            for other in others(getattr(value, each.name)):
                yield replace(value, **{each.name: other})
    elif isinstance(value, Mapping):
        key = next(iter(value), "added")
        yield {name: each for name, each in value.items() if name != key} if value else {key: "word"}
        for other in others(value.get(key, "word")):
            # Its name is the key.
            if getattr(other, "name", key) == key:
                yield {**value, key: other}
    elif isinstance(value, frozenset):
        yield value | {"another"}
    elif isinstance(value, tuple):
        yield from _others_of(value)
    elif value is None:
        yield Condition("true")


def _others_of(value: tuple[Any, ...]) -> Iterator[Any]:
    if not value or isinstance(value[0], str):
        yield (*value, "another")
    else:
        yield value[1:]
        for other in others(value[0]):
            yield (other, *value[1:])


CHANGED = [
    (each.name, other)
    for each in fields(Policy)
    if each.init and each.name not in IDENTITY | FOLLOW
    for now in [getattr(POLICY, each.name)]
    for other in ([now + UNITS_NS[each.name]] if each.name in UNITS_NS else others(now))
]


def differing(old: Policy, new: Policy) -> int:
    return sum(len(of(old, new)) for of in (of_terms, of_speech, of_anonymity, of_keys))


def test_every_field_of_a_policy_is_compared() -> None:
    """A new one has to stand in `SAYS`, or in another part of the diff and in BY_ITSELF."""
    compared = {name for names in SAYS for name in names} | BY_ITSELF | IDENTITY
    assert compared == {each.name for each in fields(Policy) if each.init}
    assert {name for name, _ in CHANGED} == compared - IDENTITY - FOLLOW


@pytest.mark.parametrize(("name", "other"), CHANGED, ids=[name for name, _ in CHANGED])
def test_a_change_of_anything_in_it_is_told_in_both_directions(name: str, other: Any) -> None:
    changed = replace(POLICY, **{name: other})
    assert differing(POLICY, changed) > 0
    assert differing(changed, POLICY) == differing(POLICY, changed)
    assert differing(changed, changed) == 0


@pytest.mark.parametrize("name", [*LISTS, "retention"])
def test_a_word_of_the_label_of_a_zone_is_told(name: str) -> None:
    before, found, after = TEXT.partition('name = "bystander-present"')
    lines = after.splitlines()
    at = next(at for at, line in enumerate(lines) if line.startswith(f"{name} ="))
    first, _, rest = lines[at].partition('"')
    word = rest.partition('"')[0]
    lines[at] = f'{name} = "month"' if name == "retention" else f"{name} = []"
    if name in {"subjects", "regions", "purposes"}:
        lines[at] = f"{first}{rest.partition(', ')[2]}" if ", " in rest else lines[at]
    changed = parse("\n".join([before + found, *lines]), "household", kinds=None)
    told = {change.term: change for change in of_terms(POLICY, changed)}
    assert f"zones.bystander-present.{name}" in told
    change = told[f"zones.bystander-present.{name}"]
    assert word in change.old
    assert word not in change.new


def test_a_table_that_one_of_them_lacks_is_one_change_and_so_is_the_second_order() -> None:
    other = parse(TEXT.replace('second_order = "review"', 'second_order = "drop"'), "household", kinds=None)
    assert of_terms(POLICY, other) == (TermChange("erasure.second_order", "review", "drop"),)
    without = replace(POLICY, declassifiers={})
    assert of_terms(POLICY, without) == (TermChange("declassifiers.model-training", DECLARED, ""),)


def test_a_mode_that_changes_no_verdict_on_paper_is_told_and_ends_with_exit_code_1(tmp_path: Any) -> None:
    text = load("household").text.replace('mode = "enforcing"', 'mode = "logging"', 1)
    path = tmp_path / "logging.toml"
    path.write_text(text, encoding="utf-8")
    result = CliRunner().invoke(main, ["policy", "diff", "household", str(path), "--exit-code"])
    assert result.exit_code == 1, result.output
    assert "what else they say differs" in result.stdout
    assert "zones.rights.mode  enforcing  logging" in result.stdout
