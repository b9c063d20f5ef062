"""The question `due`: what may not be used any more from which day on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import date, timedelta

from msgspec import Struct

from streams.policy.recheck import StoredPolicies
from streams.queries.answers import Answer, Bounded
from streams.queries.ropa import known
from streams.queries.rows import DueCell, DueModelRow
from streams.queries.store import Store

_EPOCH = date(1970, 1, 1)


class DueEvents(Struct, frozen=True):
    """Events of a zone whose retention ends on a day, by the broker's time and the label's class."""

    on: str
    zone: str
    retention_days: int
    events: int


class DueModel(Struct, frozen=True):
    """A model version that may serve no longer than to the end of a day."""

    on: str
    model: str


class DueKeys(Struct, frozen=True):
    """Keys of sealed values that are destroyed on a day."""

    on: str
    keys: int


class GoneEvents(Struct, frozen=True):
    """Events whose retention was over, and which left the store on a day, by the broker's time."""

    on: str
    events: int


class EndlessRows(Struct, frozen=True):
    """Rows of events, decisions and rejections of which nothing says how long they may be kept.

    The store lacks the text of their `policy`, or it says nothing of their label. `policy` is empty for what
    was refused before any policy judged it, because nobody could read it. `events` are the stored ones.
    """

    policy: str
    rows: int
    events: int


class Due(Answer, frozen=True, kw_only=True):
    """What may not be used any more after a day, in the order of the days.

    `keys` is empty unless a key store was asked. Decisions refuse what is due, and nobody is shown it; its
    rows leave the store when the broker's day is over. `overdue` counts the events whose rows are still in
    files, `gone` those that have left; both count what the role is not shown too. `endless` are rows that no
    retention ever takes out; only the privacy officer is told of them, since no role is shown them.
    """

    epoch: int
    events: Bounded[DueEvents]
    models: Bounded[DueModel]
    overdue: int
    gone: Bounded[GoneEvents]
    endless: Bounded[EndlessRows]
    keys: Bounded[DueKeys] = Bounded.of(())


def due(store: Store) -> Due:
    """Return on which days events and model versions reach the end of their retention."""
    cells = store.shown("due").of(DueCell)
    models = store.shown("due_models").of(DueModelRow)
    if store.role_filter is not None:
        for row in (*cells, *models):
            store.role_filter.note(row.policy_version, row.zone)
    events = Counter[tuple[int, str, int]]()
    for cell in cells:
        events[cell.day, cell.zone, cell.retention_days] += cell.events
    by_day = [
        DueEvents(day_on(day), zone, days, count) for (day, zone, days), count in sorted(events.items())
    ]
    versions = [DueModel(day_on(row.day), row.model) for row in sorted(models, key=lambda row: row.day)]
    [(overdue,)] = store.query("overdue").rows
    return Due(
        epoch=store.epoch,
        events=Bounded.of(by_day),
        models=Bounded.of(versions),
        overdue=overdue,
        gone=Bounded.of([GoneEvents(day_on(day), count) for day, count in store.query("gone").rows]),
        endless=Bounded.of(_endless(store)),
    )


def _endless(store: Store) -> list[EndlessRows]:
    """By policy what has no end; nothing for a role that may not see what no policy judges."""
    if store.role_filter is not None and store.role_filter.role.name != "privacy-officer":
        return []
    policies, endless = StoredPolicies(store.policies), dict[str, list[int]]()
    for version, zone, label, events, rows in store.query("endless").rows:
        policy = known(policies, version)
        if policy is None or policy.kept_days(zone, label) is None:
            told = endless.setdefault(version, [0, 0])
            told[0], told[1] = told[0] + rows, told[1] + events
    return [EndlessRows(version, *counts) for version, counts in endless.items()]


def due_keys(days: Iterable[tuple[int, int]]) -> Bounded[DueKeys]:
    """Keys by the day (of UTC since 1970) on which they are destroyed."""
    return Bounded.of([DueKeys(day_on(day), count) for day, count in days])


def day_on(day: int) -> str:
    """Date of a day, counted from 1970."""
    return (_EPOCH + timedelta(days=day)).isoformat()
