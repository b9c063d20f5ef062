"""Answers that the policy withholds: the wearer, whom others may hear, gets a sentence instead."""

from __future__ import annotations

from msgspec.structs import replace

from streams.assistant import requests
from streams.events.batch import Batch
from streams.policy.attributes import CONTEXT
from streams.policy.crossing import Cited, joined
from streams.policy.policy import Policy
from streams.policy.step import Cause, Reject

INTENT = "withheld"
SENTENCE = "That is not said here. Ask again elsewhere, or when you are by yourself."
#: Begins the rule of a reject; the name of the policy's rule follows.
RULE = "withheld."
#: Name, reason and facts of the rule about an intent that the policy in force does not list; the model is one
#: that an earlier policy let in.
_UNLISTED: tuple[str, str, tuple[str, ...]] = ("unlisted", "The policy lists no such intent.", ("intent",))


def percent(confidence: float) -> int:
    """A confidence (0 to 1) in whole percent, rounded down; 0.29 is 29, although 100 * 0.29 is less."""
    return round(10_000 * confidence) // 100


def reject_of(answer: Batch, query: Batch, parents: tuple[Cited, ...], policy: Policy) -> Reject | None:
    """The reject of an answer that a rule withholds; None if it may be said, or if it has no label.

    Where there are rules, an intent that the policy does not list is withheld too: no rule could name it.
    The reject says what the rule looks at, but not which intent it is about.
    """
    if not policy.speech.withheld or query.context is None:
        return None
    zone, label = joined(policy, answer.kind, parents)
    if not label:
        return None
    intent = answer.columns["intent"][0]
    name, about, looked_at = _UNLISTED
    if intent in policy.intents:
        rule = policy.speech.withholds(
            {
                **{fact: getattr(query.context, fact) for fact in CONTEXT},
                "intent": intent,
                "confidence_percent": percent(answer.columns["confidence"][0]),
                "zone": zone,
                "categories": policy.vocabulary.says(label)["categories"],
            }
        )
        if rule is None:
            return None
        name, about, looked_at = rule.name, rule.about, rule.when.names
    reason = f"{about} Whether an answer is said depends on {', '.join(looked_at)}."
    return Reject.refused(answer, Cause("assistant", RULE + name, reason), zone=zone)


def instead(answer: Batch, query: Batch) -> Batch:
    """The sentence in place of an answer, on a stream of its own, so that no feedback refers to it.

    Which sentence is said depends on all that the answer depends on, so it has the same parents.
    """
    columns = {**answer.columns, "intent": [INTENT], "confidence": [1.0], "text": [SENTENCE]}
    return replace(answer, stream=requests.stream(query.stream), columns=columns)
