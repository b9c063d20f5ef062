"""The question `withdraw`: what would change if a wearer withdrew consent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from msgspec import Struct

from streams.errors import InputError
from streams.policy.recheck import StoredDecision, StoredPolicies, if_withdrawn
from streams.queries.answers import Answer, Bounded
from streams.queries.reach import LearnedModel, reach
from streams.queries.store import Store


class WouldStop(Struct, frozen=True):
    """Events that passed into a sink for a purpose: how many would stop, and how many would still pass."""

    sink: str
    purpose: str
    stopped: int
    passed: int


class Withdrawal(Answer, frozen=True, kw_only=True):
    """What would change if a wearer withdrew consent; decisions that depended on the consent are repeated.

    `stored` counts the wearer's events, and what was made from them, by kind: a withdrawal applies to their
    further use. `examples` would be left out of the next training run; `models` have learned from them, and
    `answers` were given by these models. `undecided` counts events whose decision cannot be repeated.
    """

    wearer: str
    epoch: int
    stored: Mapping[str, int]
    examples: int
    answers: int
    undecided: int
    sinks: Bounded[WouldStop]
    models: Bounded[LearnedModel]


def withdrawal(store: Store, wearer: str) -> Withdrawal:
    """Return what a withdrawal of a wearer's consent would stop, as far as the role may see it.

    InputError if `wearer` is no pseudonym, or if the role may see nothing of that wearer.
    """
    reached = reach(store, wearer)
    policies = StoredPolicies(store.policies)
    stopped: Counter[tuple[str, str]] = Counter()
    passed: Counter[tuple[str, str]] = Counter()
    undecided = 0
    for row in store.shown("withdrawal_decisions", {"wearer": wearer}).dicts():
        events = row.pop("events")
        decision = StoredDecision(**row)
        sink = (decision.sink, decision.purpose)
        try:
            still = if_withdrawn(policies.version(decision.policy_version), decision).passed
        except (InputError, ValueError):
            undecided += events
            continue
        (passed if still else stopped)[sink] += events
    sinks = [WouldStop(*sink, stopped[sink], passed[sink]) for sink in sorted({*stopped, *passed})]
    return Withdrawal(
        wearer=wearer,
        epoch=store.epoch,
        stored=dict(sorted((Counter(reached.captured) + Counter(reached.derived)).items())),
        examples=reached.examples,
        answers=reached.answers,
        undecided=undecided,
        sinks=Bounded.of(sinks),
        models=reached.models,
    )
