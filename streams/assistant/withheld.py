"""Answers that the policy withholds: the wearer, whom others may hear, gets a sentence instead."""

from __future__ import annotations

from msgspec.structs import replace

from streams.assistant import requests
from streams.events.batch import Batch
from streams.policy.crossing import Cited, joined
from streams.policy.policy import Policy
from streams.policy.rules import CONTEXT, Withheld
from streams.policy.step import Cause, Reject

INTENT = "withheld"
SENTENCE = "That is not said here. Ask again elsewhere, or when you are by yourself."
#: Begins the rule of a reject; the name of the policy's rule follows.
RULE = "withheld."


def rule_of(answer: Batch, query: Batch, parents: tuple[Cited, ...], policy: Policy) -> Withheld | None:
    """The rule by which an answer to a query is withheld; None if it may be said, or if it has no label."""
    if not policy.speech.withheld or query.context is None:
        return None
    zone, label = joined(policy, answer.kind, parents)
    if not label:
        return None
    return policy.speech.withholds(
        {
            **{name: getattr(query.context, name) for name in CONTEXT},
            "intent": answer.columns["intent"][0],
            "confidence_percent": int(100 * answer.columns["confidence"][0]),
            "zone": zone,
            "categories": policy.vocabulary.says(label)["categories"],
        }
    )


def reject(answer: Batch, rule: Withheld, zone: str) -> Reject:
    """Record that an answer was not given: by which rule, why, and where it would have been."""
    reason = f"{rule.about} It is said where this does not hold: {rule.when.text}"
    return Reject.refused(answer, Cause("assistant", RULE + rule.name, reason), zone=zone)


def instead(answer: Batch, query: Batch) -> Batch:
    """The sentence in place of an answer, on a stream of its own, so that no feedback refers to it.

    Which sentence is said depends on all that the answer depends on, so it has the same parents.
    """
    columns = {**answer.columns, "intent": [INTENT], "confidence": [1.0], "text": [SENTENCE]}
    return replace(answer, stream=requests.stream(query.stream), columns=columns)
