"""What the assistant may say, as a policy has it: answers that it withholds, and how sure it must be.

A sink's rules decide where an answer may go as data. These rules decide whether the wearer hears it, which
others may hear too: `[[withheld]]` of a policy, and the floor of confidence in its table `[assistant]`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from streams.policy.analysis import Tried, combinations_of
from streams.policy.attributes import CONTEXT
from streams.policy.condition import Condition
from streams.policy.policy import Policy
from streams.policy.rules import SPEECH_FACTS, Speech, Withheld
from streams.policy.single import numbers_of
from streams.policy.source import Source
from streams.policy.tables import condition_of

_WITHHELD = {"name": str, "about": str, "when": str}
#: Both go into the lineage with each answer that is withheld.
_CHARACTERS_MAX = {"name": 64, "about": 500}
_NUMBER = re.compile(r"\d+")
_ASSISTANT = {"confidence_percent_min": (0, 100)}


def speech_of(files: Sequence[Source], tables: Sequence[tuple[Source, Mapping[str, Any]]]) -> Speech:
    """What the `[[withheld]]` tables and `[assistant]` declare; InputError if one is wrong."""
    rules = []
    for source, fields in tables:
        source.table(fields, _WITHHELD, f"withheld {fields['name']}")
        for name, most in _CHARACTERS_MAX.items():
            if len(fields[name]) > most:
                raise source.wrong(
                    name, f"of a withheld rule has {len(fields[name])} characters, expected at most {most}"
                )
        when = condition_of(source, fields["when"], SPEECH_FACTS)
        rules.append(Withheld(fields["name"], fields["about"], when))
    return Speech(tuple(rules), **numbers_of(files, "assistant", _ASSISTANT))


def check_speech(policy: Policy, sources: Mapping[str, Source], domains: Mapping[str, Sequence[Any]]) -> None:
    """InputError for a rule that does not type-check, can never hold, or quotes a word that nothing is.

    Words are looked up only where the condition compares whole words, and whether it can hold is not judged
    where it looks at categories, because few of their combinations ever occur. InputError also if the check
    takes more than POLICY_CHECK_STEPS_MAX steps.
    """
    tried = Tried()
    values: dict[str, Sequence[Any]] = {
        **{name: domains[name] for name in CONTEXT},
        "intent": policy.intents,
        "zone": [zone.name for zone in policy.zones],
        "categories": (policy.vocabulary.categories, ()),
    }
    for rule in policy.speech.withheld:
        source, condition = sources[rule.name], rule.when
        every = [value for name in condition.names if name in values for value in values[name]]
        words = [*filter(lambda value: isinstance(value, str), every)]
        if "categories" in condition.names:
            words += policy.vocabulary.categories
        if condition.by_membership:
            source.check(condition.literals, words, "is nothing that these facts can be")
        told_apart = combinations_of(
            [condition], condition.names, {**values, "confidence_percent": _percents(condition)}
        )
        held = tried.outcomes(condition, told_apart, source)
        if not any(held) and "categories" not in condition.names:
            raise source.wrong(
                condition.text,
                f"can never hold, so {rule.name} withholds nothing; change it or take it out",
            )


def _percents(condition: Condition) -> Sequence[int]:
    """Percentages that a condition can tell apart: those that it names, and those beside them."""
    named = {int(number) for number in _NUMBER.findall(condition.text)}
    beside = {0, 100} | {number + step for number in named for step in (-1, 0, 1)}
    return sorted(number for number in beside if 0 <= number <= 100)
