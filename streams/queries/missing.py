"""The question `missing`: numbers that never arrived, data rejected as collisions, and lost records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from streams.events.headers import rfc3339
from streams.queries.about import Named, streams_seen
from streams.queries.answers import Answer, Bounded
from streams.queries.relation import Interval
from streams.queries.role import SHOWN_TO, band
from streams.queries.rows import ClaimedRun
from streams.queries.store import Store
from streams.queries.walk import size, subtract, union


class LogRow(Struct, frozen=True):
    """The log of `glasses.lineage`: ids of cluster and topic, and the epoch since which it is read."""

    cluster: str
    topic: str
    since_epoch: int


class LostRun(Struct, frozen=True):
    """Records that were never read, with offsets `first` to `last` (None if their number is unknown).

    `since` is the append time of the record before them, empty if there was none.
    """

    topic: str
    partition: int
    first: int
    last: int | None
    since: str


class MissingRun(Struct, frozen=True):
    """Missing numbers of a stream; `malformed` counts those that arrived in unreadable batches."""

    source: str
    stream: str
    first: int
    count: int
    malformed: int


class CollisionRun(Struct, frozen=True):
    """Data that is missing because its numbers belong to other data."""

    source: str
    stream: str
    first: int
    count: int


class CapturedStream(Struct, frozen=True):
    """Totals of a captured stream: its highest number, and how many numbers are stored, rejected and over.

    Numbers that are over (`expired`) were stored or rejected, and their retention ended. Unreadable batches
    do not count as rejected here, because their numbers count as missing. `kind` is empty if all of the
    stream was refused: only what is stored tells it.
    """

    source: str
    stream: str
    kind: str
    highest: int
    stored: int
    rejected: int
    expired: int


class StreamInPart(Struct, frozen=True):
    """A captured stream that the role may see only a part of, so that no number of it is disclosed."""

    source: str
    stream: str
    kind: str


class Missing(Answer, frozen=True, kw_only=True):
    """Numbers and data that are missing, as of `offsets` of `glasses.lineage` (by partition).

    Counts are in events; `lost_records` is in records (or text: a band, or `unknown`).
    """

    epoch: int
    published: str
    offsets: Mapping[str, int]
    log: LogRow | UnsetType = UNSET
    missing_events: int
    lost_records: int | str | UnsetType = UNSET
    lost: Bounded[LostRun] | UnsetType = UNSET
    malformed_events: int
    missing: Bounded[MissingRun]
    collisions: Bounded[CollisionRun]
    streams: Bounded[CapturedStream]
    not_shown_whole: Bounded[StreamInPart]


def missing(store: Store) -> Missing:
    """Return which numbers and data of captured streams are missing.

    A number between 0 and the highest known one is `missing` if it is neither stored nor rejected, nor was so
    until its retention ended. That holds for a stream of which all was refused too; a batch that nobody could
    read, or whose numbers belong to other data, does not make a stream known. Data is
    missing if its numbers belong to other data: `collisions`, as far as the pipeline detected them; only the
    ledger knows all. `malformed` counts the missing numbers that arrived in an unreadable batch, as far as
    the role may see that; the question `why` says what was wrong with each. `rejected` of a stream counts the
    other rejected numbers up to its highest.

    The answer is complete up to `offsets` of the `log` of `glasses.lineage` that the store follows. Data that
    is still on its way counts as missing until an epoch has it.

    `lost` are records that retention deleted before they were read. Which numbers they held is only known
    from the holes that later records leave.

    A role gets numbers only of streams that it may see completely. For streams that it may see in part, the
    answer only says so, because hidden numbers would look like missing ones.
    """
    seen = streams_seen(store)
    claims, wanting = _claims(store), store.query("missing")
    collisions = store.query("collisions").of(ClaimedRun)
    every = store.query("captured").of(partial(CapturedStream, rejected=0))
    # Of a stream whose retention is over nothing is left by which a role could be shown it.
    whole_store = store.role_filter is None
    streams = [row for row in every if whole_store or (row.source, row.stream) in seen]
    if store.role_filter is not None:
        store.role_filter.hide("streams", len(every) - len(streams))
        # A stream may have collisions and nothing stored, so collisions are checked by their own class.
        collisions = [row for row in collisions if store.role_filter.shows(row.row_class, "rejected")]
    runs = [
        MissingRun(source, stream, first, count, _overlap(first, count, claims.get((source, stream), ())))
        for source, stream, first, count in wanting.rows
        if store.role_filter is None or seen.get((source, stream))
    ]
    absent: dict[Named, list[MissingRun]] = {}
    for run in runs:
        absent.setdefault((run.source, run.stream), []).append(run)
    whole = [row for row in streams if whole_store or seen[row.source, row.stream]]
    in_part = [row for row in streams if not (whole_store or seen[row.source, row.stream])]
    newest = store.newest
    lost_records, lost = _lost(store)
    return Missing(
        epoch=store.epoch,
        published=rfc3339(newest.published_ns),
        offsets={str(partition): offset for partition, offset in newest.offsets.items()},
        log=LogRow(newest.cluster, newest.topic, newest.since_epoch)
        if newest.cluster or newest.topic
        else UNSET,
        missing_events=sum(run.count for run in runs) + sum(run.count for run in collisions),
        lost_records=lost_records,
        lost=lost,
        malformed_events=sum(run.malformed for run in runs),
        missing=Bounded.of(runs),
        collisions=Bounded.of(
            [CollisionRun(row.source, row.stream, row.first, row.count) for row in collisions]
        ),
        streams=Bounded.of([_refused(row, absent.get((row.source, row.stream), ())) for row in whole]),
        not_shown_whole=Bounded.of([StreamInPart(row.source, row.stream, row.kind) for row in in_part]),
    )


def _overlap(first: int, count: int, claims: Sequence[Interval]) -> int:
    """How many of the `count` numbers from `first` on lie in `claims`."""
    whole = [(first, first + count - 1)]
    return count - size(subtract(whole, claims))


def _refused(row: CapturedStream, absent: Iterable[MissingRun]) -> CapturedStream:
    """Set `rejected` of a stream: the numbers that are neither stored nor missing, nor over."""
    end = row.highest + 1
    missing_events = sum(min(run.count, max(end - run.first, 0)) for run in absent)
    return replace(row, rejected=end - row.stored - row.expired - missing_events)


def _claims(store: Store) -> dict[Named, list[Interval]]:
    """Numbers that unreadable batches claimed, by stream, as far as the role may see them."""
    claims: dict[Named, list[Interval]] = {}
    for row in store.sift(store.query("claimed").of(ClaimedRun), "rejected", counted=False):
        claims.setdefault((row.source, row.stream), []).append((row.first, row.first + row.count - 1))
    return {stream: union(runs) for stream, runs in claims.items()}


def _lost(store: Store) -> tuple[int | str | UnsetType, Bounded[LostRun] | UnsetType]:
    """How many records are lost, and which; UNSET if there are none.

    These are losses that operators accepted (`sightline worker --accept-loss`). A run without `last` is of a
    recreated topic, and its size is unknown. A role that may not see recorded inputs gets a band instead of
    the number.
    """
    runs = [
        LostRun(topic, partition, first, last, rfc3339(t_ns) if t_ns else "")
        for topic, partition, first, last, t_ns in store.query("lost").rows
    ]
    if not runs:
        return UNSET, UNSET
    records = sum(run.last - run.first + 1 for run in runs if run.last is not None)
    if store.role_filter is not None and store.role_filter.role.name not in SHOWN_TO["inputs"]:
        return band(records) if records else "unknown", UNSET
    return records, Bounded.of(runs)
