"""How a store stands in its open epoch: what came lately, by topic, and the generation of the loop.

For a view that asks again and again: it reads the newest rows only, and costs the same in a large store.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter

from msgspec import UNSET, Struct, UnsetType

from streams import limits
from streams.events.headers import rfc3339
from streams.queries.answers import Answer
from streams.queries.role import ClassedT
from streams.queries.rows import ClassedRow
from streams.queries.store import Store


class RecentRow(ClassedRow, frozen=True, kw_only=True):
    """What the last epochs added of a topic: batches, events, and the newest capture time among them."""

    topic: str
    batches: int
    events: int
    t_last_ns: int


class VersionRow(ClassedRow, frozen=True, kw_only=True):
    """The newest of the `versions` of a model in one class."""

    id: str
    versions: int
    accuracy: float
    examples: int
    wearers: int
    trained_ns: int


class Rate(Struct, frozen=True):
    """What the epochs of the last CURRENT_S seconds added of a topic; `watermark` in RFC 3339."""

    topic: str
    batches: int
    events: int
    watermark: str


class Generation(Struct, frozen=True):
    """A version of a model: what it was made of, how it was judged, and when."""

    id: str
    zone: str
    accuracy: float
    examples: int
    wearers: int
    trained: str


class Current(Answer, frozen=True, kw_only=True):
    """The epoch, its rates by topic, and the newest version of a model that the role is shown.

    `offsets` of `glasses.lineage` are those below which nothing is left out, by partition.
    """

    epoch: int
    published: str
    offsets: dict[int, int]
    rates: tuple[Rate, ...]
    generation: Generation | UnsetType = UNSET


def current(store: Store) -> Current:
    """Return how the store stands, as far as the role may see it."""
    newest = store.newest
    since = {"since_ns": newest.published_ns - limits.CURRENT_S * 1_000_000_000}
    recent = _shown(store, store.query("current_recent", since).of(RecentRow), "events", "batches")
    versions = _shown(store, store.query("current_versions").of(VersionRow), "models", "versions")
    return Current(
        epoch=store.epoch,
        published=rfc3339(newest.published_ns),
        offsets=dict(newest.offsets),
        rates=tuple(_rates(recent)),
        generation=_generation(versions[-1]) if versions else UNSET,
    )


def _shown(store: Store, rows: Sequence[ClassedT], table: str, counted: str) -> list[ClassedT]:
    """Rows that the role may see; each of the others stands for as many hidden ones as `counted` says."""
    shown = store.sift(rows, table, counted=False)
    if store.role_filter is not None:
        many = attrgetter(counted)
        store.role_filter.hide(table, sum(map(many, rows)) - sum(map(many, shown)))
    return shown


def _rates(rows: Sequence[RecentRow]) -> Iterable[Rate]:
    for topic in sorted({row.topic for row in rows}):
        alike = [row for row in rows if row.topic == topic]
        yield Rate(
            topic,
            sum(row.batches for row in alike),
            sum(row.events for row in alike),
            rfc3339(max(map(attrgetter("t_last_ns"), alike))),
        )


def _generation(row: VersionRow) -> Generation:
    return Generation(row.id, row.zone, row.accuracy, row.examples, row.wearers, rfc3339(row.trained_ns))
