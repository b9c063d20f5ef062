"""The question `decided`: all decisions about an event."""

from __future__ import annotations

from streams.queries.about import decisions_of, event_row, parsed, rejections_of, unknown
from streams.queries.answers import Answer, Bounded, ToldDecision, ToldRejection
from streams.queries.store import Store


class Decided(Answer, frozen=True, kw_only=True):
    """All decisions about an event in order of time, and rejections of records with its number."""

    id: str
    epoch: int
    decisions: Bounded[ToldDecision]
    rejected: Bounded[ToldRejection]


def decided(store: Store, identity: str) -> Decided:
    """Return each decision about an event, with the attributes, policy and rule that it was based on.

    InputError if the store has nothing about the event.
    """
    event = parsed(identity)
    decisions, rejections = decisions_of(store, event), rejections_of(store, event)
    if not decisions and not rejections and event_row(store, event) is None:
        raise unknown(store, event)
    return Decided(
        id=str(event),
        epoch=store.epoch,
        decisions=Bounded.of(sorted(decisions, key=lambda row: (row.at_ns or row.appended_ns, row.sink))),
        rejected=Bounded.of(rejections),
    )
