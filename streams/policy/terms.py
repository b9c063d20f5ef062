"""What a policy says beside its decisions, term by term, and where two policies differ in that.

Whether a term changes a decision is asked elsewhere (`streams.policy.diff`): a review date, a bound of
training or the mode of a zone may change none on paper, and matters all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

from msgspec import Struct

from streams.policy.condition import Condition
from streams.policy.policy import DAY_NS, Policy
from streams.policy.rules import Sink
from streams.policy.vocabulary import LISTS, Vocabulary

#: Texts of the fields of a table by name; tables by their names in the policy.
Tables = Mapping[str, Mapping[str, str]]
_SECOND_NS = 1_000_000_000
#: What stands for a whole table that only one of two policies has.
DECLARED = "declared"


class TermChange(Struct, frozen=True):
    """A term that differs, by its dotted name, and what each policy says; empty without it."""

    term: str
    old: str
    new: str


def of_terms(old: Policy, new: Policy) -> tuple[TermChange, ...]:
    """Where two policies say something else, beside what `streams.policy.diff` compares by itself.

    A table that only one of them has is one change.
    """
    before, after = _said(old), _said(new)
    changes = list[TermChange]()
    for table in dict.fromkeys((*before, *after)):
        if table not in before or table not in after:
            changes.append(TermChange(table, *(DECLARED if table in of else "" for of in (before, after))))
            continue
        mine, theirs = before[table], after[table]
        changes += [
            TermChange(f"{table}.{name}" if table else name, mine.get(name, ""), theirs.get(name, ""))
            for name in dict.fromkeys((*mine, *theirs))
            if mine.get(name) != theirs.get(name)
        ]
    return tuple(changes)


def _said(policy: Policy) -> dict[str, Mapping[str, str]]:
    return {table: fields for says in SAYS.values() for table, fields in says(policy).items()}


def _text(value: Any) -> str:
    if isinstance(value, Condition):
        return " ".join(value.text.split())
    if isinstance(value, tuple | frozenset):
        return ", ".join(sorted(value) if isinstance(value, frozenset) else value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, date):
        return value.isoformat()
    return "" if value is None else str(value)


def _fields(of: Struct, *left_out: str) -> dict[str, str]:
    return {name: _text(getattr(of, name)) for name in of.__struct_fields__ if name not in left_out}


def _own(policy: Policy) -> Tables:
    served = policy.vocabulary.words("purposes", policy.served_purposes)
    return {
        "": {
            "served_purposes": _text(served),
            "seed_zone": policy.seed_zone,
            "intents": _text(policy.intents),
        },
        "clock": {
            "ahead_s": str(policy.clock_ahead_ns // _SECOND_NS),
            "old_days": str(policy.clock_old_ns // DAY_NS),
        },
        "owner": _fields(policy.owner),
        "erasure": {"second_order": policy.second_order},
    }


def _words(policy: Policy) -> Tables:
    words = policy.vocabulary
    return {
        "vocabulary": {name: _text(getattr(words, name)) for name in LISTS},
        "vocabulary.retention_days": {name: str(days) for name, days in words.retention_days.items()},
        "vocabulary.local": dict(words.local),
    }


def _zones(policy: Policy) -> Tables:
    return {
        f"zones.{zone.name}": {
            "when": _text(zone.condition),
            **_fields(zone, "name", "condition"),
            **_labelled(policy, zone.name),
        }
        for zone in policy.zones
    }


def _labelled(policy: Policy, zone: str) -> Mapping[str, str]:
    """Words of the label of a zone: those that events of every kind have in it."""
    every = [policy.vocabulary.says(label) for (_, of), label in policy.labels.items() if of == zone]
    return {
        name: _text(tuple(word for word in every[0][name] if all(word in says[name] for says in every)))
        for name in LISTS
        if every
    }


def _kinds(policy: Policy) -> Tables:
    return {f"kinds.{kind}": _fields(own) for kind, own in policy.own.items()}


def _sinks(policy: Policy) -> Tables:
    # Who is given keys is compared by itself.
    return {
        f"sinks.{name}": {**_fields(sink, "name", "keys_for"), **_masks(policy.vocabulary, sink)}
        for name, sink in policy.sinks.items()
    }


def _masks(words: Vocabulary, sink: Sink) -> Mapping[str, str]:
    return {
        "receives": _text(words.words("categories", sink.receives)),
        "subjects": _text(words.words("subjects", sink.subjects)),
        "honours": _text(words.words("obligations", sink.honours)),
    }


#: What is said by the fields of a policy. Another field must stand here, or be compared by itself.
SAYS: Mapping[tuple[str, ...], Callable[[Policy], Tables]] = {
    (
        "owner",
        "served_purposes",
        "seed_zone",
        "intents",
        "clock_ahead_ns",
        "clock_old_ns",
        "second_order",
    ): _own,
    ("training",): lambda policy: {"training": _fields(policy.training)},
    ("training_assets",): lambda policy: {"training_assets": _fields(policy.training_assets)},
    ("vocabulary",): _words,
    ("zones", "labels"): _zones,
    ("own", "derived"): _kinds,
    ("sinks",): _sinks,
    ("requirements",): lambda policy: {
        f"requirements.{each.name}": _fields(each, "name") for each in policy.requirements
    },
    ("declassifiers",): lambda policy: {
        f"declassifiers.{name}": _fields(each, "name") for name, each in policy.declassifiers.items()
    },
    # Conditions of these rules are compared by themselves.
    ("speech",): lambda policy: {
        f"withheld.{rule.name}": _fields(rule, "name", "when") for rule in policy.speech.withheld
    },
}
