"""Intents are a closed list, the policy's or the seed's; no other intent is learned or answered."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

import streams.training
from streams.errors import InputError
from streams.events.intents import SEED_INTENTS
from streams.limits import INTENTS_MAX
from streams.policy.load import parse
from streams.policy.policy import Policy
from streams.policy.source import bundle, find, shipped_names
from streams.topology import EXAMPLES, REJECTED
from tests import build

TEXT = bundle(find("household"))
#: Begins the file of the policy itself, which is the last in its bundle.
OWN = "served_purposes ="


def listing(*intents: object) -> str:
    at = TEXT.rindex(OWN)
    return f"{TEXT[:at]}intents = {list(intents)!r}\n{TEXT[at:]}".replace("True", "true")


def own(*more: str) -> Policy:
    return parse(listing(*SEED_INTENTS, *more), "test")


@pytest.mark.parametrize("name", ["seed", "validation"])
def test_the_names_are_those_of_the_shipped_utterances(name: str) -> None:
    path = Path(streams.training.__file__).parent / f"{name}.csv"
    with path.open(encoding="utf-8") as file:
        assert sorted({row["intent"] for row in csv.DictReader(file)}) == list(SEED_INTENTS)


def test_a_policy_lists_its_own_or_has_those_of_the_seed() -> None:
    assert {parse(bundle(find(name)), name).intents for name in shipped_names()} == {SEED_INTENTS}
    assert own("payment_send").intents == tuple(sorted([*SEED_INTENTS, "payment_send"]))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (listing(*SEED_INTENTS, "alarm_set"), r"line \d+: 'alarm_set' stands twice"),
        (listing(*SEED_INTENTS, "Alarm"), "'Alarm' is no intent"),
        (listing(*SEED_INTENTS, "a" * 65), "is no intent"),
        (listing(*SEED_INTENTS, "a\n"), "is no intent"),
        (listing(*SEED_INTENTS, 7), "'7' is no intent"),
        (listing(*SEED_INTENTS, ["a"]), "is no intent"),
        (
            listing(*SEED_INTENTS[1:]),
            f"lacks {SEED_INTENTS[0]}, which the utterances of the first model mean",
        ),
        (listing(), "lacks"),
        (
            listing(*SEED_INTENTS, *(f"a{i}" for i in range(INTENTS_MAX))),
            f"has {INTENTS_MAX + len(SEED_INTENTS)} names, expected at most {INTENTS_MAX}",
        ),
        (TEXT.replace(OWN, f'intents = "alarm_set"\n{OWN}'), "intents.* is str, expected list"),
    ],
)
def test_a_wrong_list_is_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        parse(text, "test")


def answered(policy: Policy | None, chosen: list[str]) -> tuple[int, list[dict[str, bytes]]]:
    """(examples, headers of what was rejected) of one query and one thumb for each intent."""
    batches = [build.query(i, "pay the bill", build.T0_NS + i) for i in range(len(chosen))]
    batches += [
        build.feedback(i, f"g1/answer/{i}", intent, build.T0_NS + 1000 + i) for i, intent in enumerate(chosen)
    ]
    records, _ = build.process(build.core(policy), [build.fetch(batches)])
    rejects = [dict(one.headers) for one in records if one.topic == REJECTED]
    return sum(one.topic == EXAMPLES for one in records), rejects


def test_invented_intents_make_no_example() -> None:
    count, rejects = answered(None, ["alarm_set", *(f"intent_{i}" for i in range(40))])
    assert count == 1
    assert [one["sightline-rule"] for one in rejects] == [b"intent"] * 40
    assert not any(b"intent_" in value for one in rejects for value in one.values())


def test_what_a_policy_lists_makes_one() -> None:
    assert answered(own("intent_7"), ["intent_7", "intent_8"])[0] == 1
