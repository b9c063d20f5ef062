"""How a store stands in its open epoch: what came lately, by topic, and the generation of the loop.

For a view that asks again and again: it reads the newest rows only, and costs the same in a large store.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import UNSET, Struct, UnsetType

from streams import limits
from streams.events.headers import rfc3339
from streams.queries.answers import Answer, ModelVersion
from streams.queries.models import told_version
from streams.queries.rows import ClassedRow, ModelRow
from streams.queries.store import Store


class RecentRow(ClassedRow, frozen=True, kw_only=True):
    """What the last epochs added of a topic: batches, events, and the newest capture time among them."""

    topic: str
    batches: int
    events: int
    t_last_ns: int


class Rate(Struct, frozen=True):
    """What the epochs of the last CURRENT_S seconds added of a topic; `watermark` in RFC 3339."""

    topic: str
    batches: int
    events: int
    watermark: str


class CurrentEpoch(Answer, frozen=True, kw_only=True):
    """The epoch, its rates by topic, and the newest version of a model that the role is shown.

    `offsets` of `glasses.lineage` are those below which nothing is left out, by partition.
    """

    epoch: int
    published: str
    offsets: dict[int, int]
    rates: tuple[Rate, ...]
    generation: ModelVersion | UnsetType = UNSET


def current(store: Store) -> CurrentEpoch:
    """Return how the store stands, as far as the role may see it."""
    newest = store.newest
    since = {"since_ns": newest.published_ns - limits.CURRENT_S * 1_000_000_000}
    rows = store.query("current_recent", since).of(RecentRow)
    recent = store.sift(rows, "events", counted=False)
    if store.role_filter is not None:
        # A row stands for many, and as many are hidden.
        store.role_filter.hide("events", _batches(rows) - _batches(recent))
    versions = store.sift(store.query("models").of(ModelRow), "models")
    return CurrentEpoch(
        epoch=store.epoch,
        published=rfc3339(newest.published_ns),
        offsets=dict(newest.offsets),
        rates=tuple(_rates(recent)),
        generation=told_version(ModelVersion, versions[-1]) if versions else UNSET,
    )


def _batches(rows: Iterable[RecentRow]) -> int:
    return sum(row.batches for row in rows)


def _rates(rows: Sequence[RecentRow]) -> Iterable[Rate]:
    for topic in sorted({row.topic for row in rows}):
        alike = [row for row in rows if row.topic == topic]
        yield Rate(
            topic,
            _batches(alike),
            sum(row.events for row in alike),
            rfc3339(max(row.t_last_ns for row in alike)),
        )
