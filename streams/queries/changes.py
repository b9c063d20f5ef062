"""The question `changes`: what changed in the store between two moments."""

from __future__ import annotations

from msgspec import Struct

from streams.errors import InputError
from streams.events.headers import rfc3339
from streams.queries.about import told
from streams.queries.answers import Answer, Bounded
from streams.queries.moments import Moment
from streams.queries.store import Rows, Store


class MoreEvents(Struct, frozen=True):
    """New events of a kind in a zone, and the number of their wearers."""

    kind: str
    zone: str
    wearers: int
    events: int


class MoreDecisions(Struct, frozen=True):
    """New decisions at a sink, in events by outcome."""

    sink: str
    purpose: str
    verdict: str
    passed: bool
    events: int


class MoreRefusals(Struct, frozen=True):
    """New refusals by one rule."""

    stage: str
    outcome: str
    rule: str
    batches: int
    events: int


class NewModel(Struct, frozen=True):
    """A new model version."""

    id: str
    examples: int
    wearers: int
    accuracy: float
    zone: str
    trained: str


class NewPolicy(Struct, frozen=True):
    """A policy that decided for the first time, and the epoch in which it did."""

    version: str
    name: str
    epoch: int


class NewStream(Struct, frozen=True):
    """A new stream, and the epoch in which it appeared."""

    source: str
    stream: str
    kind: str
    epoch: int


class Changes(Answer, frozen=True, kw_only=True):
    """What was added to the store after epoch `after`, up to epoch `upto`; a store only grows."""

    epoch: int
    after: int
    after_published: str
    upto: int
    upto_published: str
    events: Bounded[MoreEvents]
    decisions: Bounded[MoreDecisions]
    refusals: Bounded[MoreRefusals]
    models: Bounded[NewModel]
    policies: Bounded[NewPolicy]
    streams: Bounded[NewStream]


def changes(store: Store, after: Moment, upto: Moment) -> Changes:
    """Return what was added between two epochs, as far as the role may see it.

    InputError if the second epoch is not later than the first.
    """
    if after.epoch >= upto.epoch:
        raise InputError(
            f"changes: found epoch {after.epoch} and then epoch {upto.epoch}, expected a later one; "
            "name the earlier moment first"
        )

    def came(part: str) -> Rows:
        return store.shown(f"changes_{part}", {"after": after.epoch, "upto": upto.epoch})

    return Changes(
        epoch=store.epoch,
        after=after.epoch,
        after_published=rfc3339(after.published_ns),
        upto=upto.epoch,
        upto_published=rfc3339(upto.published_ns),
        events=Bounded.of(told(MoreEvents, came("events"))),
        decisions=Bounded.of(told(MoreDecisions, came("decisions"))),
        refusals=Bounded.of(told(MoreRefusals, came("rejected"))),
        models=Bounded.of(told(NewModel, came("models"))),
        policies=Bounded.of(told(NewPolicy, came("policies"))),
        streams=Bounded.of(told(NewStream, came("streams"))),
    )
