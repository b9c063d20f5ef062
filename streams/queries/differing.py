"""What another policy decides otherwise than the policies that decided about the events of a store."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field

from streams import limits
from streams.errors import InputError
from streams.policy.diff import (
    BoundChange,
    Groups,
    KeysChange,
    SpeechChange,
    of_anonymity,
    of_keys,
    of_speech,
)
from streams.policy.policy import Policy
from streams.policy.terms import TermChange, of_terms
from streams.queries.answers import Answer
from streams.queries.store import Store


class EventsRow(Struct, frozen=True):
    """A run of events of one stream."""

    source: str
    stream: str
    first: int
    step: int
    count: int


class Way(Struct, frozen=True):
    """One way in which decisions differ.

    `count` is in events, on paper in combinations; `kinds` are those of the events, or how many if many.
    """

    sink: str
    zone: str
    new_zone: str = field(name="new zone")
    verdict: str
    new_verdict: str = field(name="new verdict")
    new_rule: str = field(name="new rule")
    count: int
    kinds: int | tuple[str, ...]
    events: tuple[EventsRow, ...]


class Unjudged(Struct, frozen=True):
    """How many of what could not be judged, in a sentence."""

    count: int
    reason: str


class Differing(Answer, frozen=True, kw_only=True):
    """What two policies, each by name and version, decide otherwise.

    `speech` is compared by the texts of the rules, `anonymised` by the bounds, `keys` by who is given some,
    and `terms` is what else they say, whatever else is compared.
    """

    old: str
    new: str
    speech: tuple[SpeechChange, ...]
    anonymised: tuple[BoundChange, ...]
    keys: tuple[KeysChange, ...]
    terms: tuple[TermChange, ...]


class OverStore(Differing, frozen=True, kw_only=True):
    """Of the decisions that a store holds and the role is shown, with the policies that made them."""

    epoch: int
    decided_by: tuple[str, ...] = field(name="decided by")
    decided: int = field(name="decisions about events")
    not_judged: tuple[Unjudged, ...] = field(name="not judged")
    flows: tuple[Way, ...]
    role: str
    hidden: Mapping[str, str]


def told(policy: Policy) -> str:
    """Name and version of a policy, as answers have them."""
    return f"{policy.name} {policy.version}"


def differing(store: Store, before: Policy, after: Policy, *, rows_max: int = limits.NUMBER_MAX) -> OverStore:
    """Return which decisions of a store differ under the policy `after`.

    A store keeps the policies that decided, so `before` is only named in the answer; `decided_by` says
    whether it is the one that decided.

    InputError if the role is shown more than `rows_max` rows of decisions and edges, because the answer takes
    about 15 microseconds for each.
    """
    [(rows,)] = store.shown("differing_rows").rows
    if rows > rows_max:
        raise InputError(
            f"{store.named}: found {rows:,} rows of decisions and edges, expected at most {rows_max:,}; put "
            "the texts of both policies into files and ask `sightline policy diff OLD NEW --over STORE`, "
            "which takes as long as it needs"
        )
    # NumPy is for who asks this.
    from streams.queries.otherwise import Otherwise  # noqa: PLC0415

    judged = Otherwise(store, after)
    decided = store.shown("differing_decided").rows
    return OverStore(
        old=told(before),
        new=told(after),
        speech=of_speech(before, after),
        anonymised=of_anonymity(before, after),
        keys=of_keys(before, after),
        terms=of_terms(before, after),
        epoch=store.epoch,
        decided_by=tuple(f"{name} {version}" for name, version in decided),
        decided=judged.events,
        not_judged=tuple(Unjudged(count, reason) for count, reason in judged.unjudged),
        flows=ways(judged.groups),
        role="" if store.role_filter is None else str(store.role_filter.role),
        hidden=store.hidden,
    )


def ways(groups: Groups) -> tuple[Way, ...]:
    """Groups of changes as rows, the largest first."""
    ordered = sorted(
        groups.items(), key=lambda item: (-item[1].count, item[0].sink, item[0].zone, item[0].next_zone)
    )
    return tuple(
        Way(
            change.sink,
            change.zone,
            change.next_zone,
            change.verdict,
            change.next_verdict,
            change.next_rule,
            group.count,
            len(group.kinds) if len(group.kinds) > 3 else tuple(sorted(group.kinds)),
            tuple(
                EventsRow(source, stream, run.first, run.step, run.count)
                for source, stream, run in group.runs
            ),
        )
        for change, group in ordered
    )
