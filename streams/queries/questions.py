"""Questions about one event: ancestors, why, genuine, and its decisions."""

from __future__ import annotations

import re

from msgspec.structs import replace

from streams.errors import InputError
from streams.events.headers import rfc3339
from streams.events.identity import EventId, format_id
from streams.queries.about import (
    asked_about,
    decisions_of,
    described,
    direct_parents,
    event_row,
    ids_of,
    parsed,
    refused_because,
    rejections_of,
    shows_absence,
    start_of,
    step_rows,
    unknown,
    unwritten,
)
from streams.queries.answers import (
    Ancestors,
    Bounded,
    Genuine,
    ToldDecision,
    ToldRejection,
    Why,
    WhyRejected,
    WhyStored,
)
from streams.queries.extent import own
from streams.queries.models import models_met
from streams.queries.rows import EventRow
from streams.queries.store import Store
from streams.queries.walk import walk

_DIGEST = re.compile("[0-9a-fA-F]{32}")


def ancestors(store: Store, identity: str, *, through_models: bool = False) -> Ancestors:
    """Return everything that an event was made from, hop by hop, each event with its zone.

    The walk stops at a model, because the examples of all generations would follow; the model is summarised
    instead.

    Parameters
    ----------
    through_models
        Continue through models to their training examples.

    Raises
    ------
    InputError
        `identity` has another form, or the store does not hold the event.
    """
    event = asked_about(store, identity)
    steps = list(
        walk(
            store,
            "parents",
            start_of(event),
            event.number,
            lambda stream: stream[:2] in store.models and not through_models,
        )
    )
    # An event with parents exists; for one without (a captured event), look for its own row.
    if not steps and event_row(store, event) is None:
        raise unknown(store, event)
    rows = [row for step in steps for row in step_rows(step)]
    return Ancestors(
        id=str(event),
        epoch=store.epoch,
        hops=max((step.hop for step in steps), default=0),
        ancestors=Bounded.of(rows),
        models=models_met(store, steps),
    )


def why(store: Store, identity: str) -> Why:
    """Return why an event is where it is: zone, label, rule, policy, decisions and direct parents.

    For a rejected event, the answer says why it was rejected. For an answer event, it also names the model
    version and the situation. InputError if the store has nothing about the event.
    """
    event = parsed(identity)
    row = event_row(store, event)
    rejections = rejections_of(store, event)
    if row is not None:
        return _why_stored(store, event, row, rejections)
    if not rejections:
        raise unknown(store, event)
    return WhyRejected(
        id=str(event),
        epoch=store.epoch,
        source=event.source,
        stream=event.stream,
        number=event.number,
        revision=event.revision,
        rejected=tuple(rejections),
        says=refused_because(rejections[0]),
        decisions=Bounded.of(decisions_of(store, event)),
        parents=Bounded(()),
    )


def _why_stored(store: Store, event: EventId, row: EventRow, rejections: list[ToldRejection]) -> WhyStored:
    decisions = decisions_of(store, event)
    steps = list(direct_parents(store, event))
    answer = WhyStored(
        id=str(event),
        epoch=store.epoch,
        source=event.source,
        stream=event.stream,
        number=event.number,
        revision=event.revision,
        rejected=tuple(rejections),
        kind=row.kind,
        zone=row.zone,
        label=row.label,
        rule=row.rule,
        policy_version=row.policy_version,
        wearer=row.wearer,
        consent=row.consent,
        session=row.session,
        topic=row.topic,
        partition=row.partition,
        offset=row.offset,
        digest=row.digest,
        split_from=row.split_from,
        origin=row.origin,
        label_says=described(store, row.policy_version, row.label),
        t_first=rfc3339(row.t_first_ns),
        t_last=rfc3339(row.t_last_ns),
        published_in_epoch=own(row.epoch),
        decisions=Bounded.of(decisions),
        parents=Bounded.of([parent for step in steps for parent in step_rows(step)]),
    )
    if row.kind != "answer":
        return answer
    situations = (
        ids_of(step.stream, step.numbers)[0]
        for step in steps
        if store.kinds.get(step.stream[:2]) == "situation"
    )
    model = next(iter(models_met(store, steps)), None)
    return replace(answer, model=model, situation=next(situations, None))


def genuine(store: Store, identity: str, digest: str) -> Genuine:
    """Return whether an agent wrote a record (`genuine`), and a sentence (`says`) that explains the result.

    A record is genuine if the store has its id with the digest of its value. A copy of a genuine record is
    genuine too; to detect copies, a reader must remember the ids that it has processed.

    Parameters
    ----------
    identity
        `ce_id` of the record.
    digest
        XXH3-128 of its value, 32 hexadecimal digits.

    Raises
    ------
    InputError
        An argument is malformed; or the role may see neither the event nor all of its stream, so that the
        answer would reveal whether the event exists.
    """
    event = parsed(identity)
    if not _DIGEST.fullmatch(digest):
        raise InputError(
            "digest: found another form, expected 32 hexadecimal digits, the XXH3-128 of the record's value"
        )
    row = event_row(store, event)

    def spurious(says: str) -> Genuine:
        return Genuine(id=str(event), epoch=store.epoch, genuine=False, says=says)

    if row is None:
        if rejections := rejections_of(store, event):
            return spurious(f"{event} was rejected ({rejections[0].rule}), so no agent wrote a record of it")
        if not shows_absence(store, event):
            raise unknown(store, event)
        return spurious(unwritten(store, event))
    first = format_id(event.source, event.stream, row.first, event.revision)
    if first != str(event):
        return spurious(f"the record that an agent wrote with {event} in it bears the id {first}")
    if row.digest != digest.lower():
        return spurious("an agent wrote a record with this id and another value")
    return Genuine(
        id=str(event),
        epoch=store.epoch,
        genuine=True,
        says="an agent wrote a record with this id and this value",
        kind=row.kind,
        zone=row.zone,
        label=row.label,
        policy_version=row.policy_version,
        partition=row.partition,
    )


def decisions(store: Store, identity: str) -> list[ToldDecision]:
    """Decisions about an event, stored or refused. InputError if `identity` is malformed."""
    return decisions_of(store, parsed(identity))


def declassifiers_of(store: Store, identity: str) -> dict[str, int]:
    """Declassifiers that loosened the label between an event and its parents.

    The value is the number of edges in the store that used the declassifier, as far as the role may see them.
    """
    names = {step.declassifier for step in direct_parents(store, parsed(identity))} - {""}
    uses = dict(store.shown("declassified").rows) if names else {}
    return {name: uses.get(name, 0) for name in sorted(names)}
