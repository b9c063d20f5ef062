"""The question `changes`: what changed in the store between two moments."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from streams.errors import InputError
from streams.events.headers import rfc3339
from streams.queries.about import told
from streams.queries.answers import Answer, Bounded
from streams.queries.extent import Span, own
from streams.queries.moments import Moment
from streams.queries.rows import Rows
from streams.queries.store import Store


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


class StoreSpan(Struct, frozen=True):
    """The epochs of one of several stores that lie between two moments: after one, up to another."""

    store: str
    after: int
    upto: int


class Changes(Answer, frozen=True, kw_only=True):
    """What was added to the store after epoch `after`, up to epoch `upto`; a store only grows.

    If several stores are open, `after` and `upto` are 0 and `stores` has the epochs of each; the times are
    those of the store that published first.
    """

    epoch: int
    after: int
    after_published: str
    upto: int
    upto_published: str
    stores: tuple[StoreSpan, ...] | UnsetType = UNSET
    events: Bounded[MoreEvents]
    decisions: Bounded[MoreDecisions]
    refusals: Bounded[MoreRefusals]
    models: Bounded[NewModel]
    policies: Bounded[NewPolicy]
    streams: Bounded[NewStream]


def changes(store: Store, after: Sequence[Moment], upto: Sequence[Moment]) -> Changes:
    """Return what was added between two moments, as far as the role may see it.

    A moment is an epoch of each store. InputError if no epoch of the second one is later than that of the
    first, or one is earlier.
    """
    span = Span([moment.epoch for moment in after], [moment.epoch for moment in upto])
    if span.after == span.upto or any(
        first > last for first, last in zip(span.after, span.upto, strict=True)
    ):
        raise InputError(
            f"changes: found {_epochs(span.after)} and then {_epochs(span.upto)}, expected a later one; "
            "name the earlier moment first"
        )

    def came(part: str) -> Rows:
        return store.shown(f"changes_{part}", span=span)

    is_single = len(store.parts) == 1
    return Changes(
        epoch=store.epoch,
        after=span.after[0] if is_single else 0,
        after_published=rfc3339(min(moment.published_ns for moment in after)),
        upto=span.upto[0] if is_single else 0,
        upto_published=rfc3339(min(moment.published_ns for moment in upto)),
        stores=UNSET
        if is_single
        else tuple(
            StoreSpan(str(part.directory), first, last)
            for part, first, last in zip(store.parts, span.after, span.upto, strict=True)
        ),
        events=Bounded.of(told(MoreEvents, came("events"))),
        decisions=Bounded.of(told(MoreDecisions, came("decisions"))),
        refusals=Bounded.of(told(MoreRefusals, came("rejected"))),
        models=Bounded.of(told(NewModel, came("models"))),
        policies=Bounded.of(
            [replace(row, epoch=own(row.epoch)) for row in told(NewPolicy, came("policies"))]
        ),
        streams=Bounded.of([replace(row, epoch=own(row.epoch)) for row in told(NewStream, came("streams"))]),
    )


def _epochs(epochs: Sequence[int]) -> str:
    return " and ".join(f"epoch {epoch}" for epoch in epochs)
