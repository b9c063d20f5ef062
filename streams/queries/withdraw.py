"""The question `withdraw`: what would change if a wearer withdrew consent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from msgspec import UNSET, Struct, UnsetType

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
    `purpose` is the only purpose for which consent would be withdrawn; UNSET: all.
    """

    wearer: str
    purpose: str | UnsetType = UNSET
    epoch: int
    stored: Mapping[str, int]
    examples: int
    answers: int
    undecided: int
    sinks: Bounded[WouldStop]
    models: Bounded[LearnedModel]


def withdrawal(store: Store, wearer: str, purpose: str = "") -> Withdrawal:
    """Return what a withdrawal of a wearer's consent would stop, as far as the role may see it.

    With `purpose` consent would be withdrawn for that purpose alone, such as `ai:ModelTraining`.

    InputError if `wearer` is no pseudonym, if the role may see nothing of that wearer, or if nothing passed
    for `purpose` with her consent.
    """
    reached = reach(store, wearer)
    policies = StoredPolicies(store.policies)
    stopped: Counter[tuple[str, str]] = Counter()
    passed: Counter[tuple[str, str]] = Counter()
    undecided = 0
    rows = list(store.shown("withdrawal_decisions", {"wearer": wearer}).dicts())
    purposes = sorted({row["purpose"] for row in rows})
    if purpose and purpose not in purposes:
        raise InputError(
            f"withdraw {wearer}: found the purpose {purpose!r}, for which nothing passed with her consent, "
            f"expected one of {', '.join(purposes) or 'none'}"
        )
    for row in rows:
        if purpose and row["purpose"] != purpose:
            continue
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
        purpose=purpose or UNSET,
        epoch=store.epoch,
        stored=dict(sorted((Counter(reached.captured) + Counter(reached.derived)).items())),
        examples=reached.examples,
        answers=reached.answers,
        undecided=undecided,
        sinks=Bounded.of(sinks),
        models=reached.models,
    )
