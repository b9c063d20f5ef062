"""The question what is missing: numbers that never came, data whose numbers others have, lost records."""

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
    """A log of `glasses.lineage`, by the ids of its cluster and topic, and since which epoch it is read."""

    cluster: str
    topic: str
    since_epoch: int


class LostRun(Struct, frozen=True):
    """Records that nobody read, from offset `first` to `last`; None where nobody can say how many.

    `since` is when the one before them was appended, empty where there was none.
    """

    topic: str
    partition: int
    first: int
    last: int | None
    since: str


class MissingRun(Struct, frozen=True):
    """Missing numbers of a stream; `malformed` of them came in batches that nobody could read."""

    source: str
    stream: str
    first: int
    count: int
    malformed: int


class CollisionRun(Struct, frozen=True):
    """Data that are missing because other data have their numbers."""

    source: str
    stream: str
    first: int
    count: int


class CapturedStream(Struct, frozen=True):
    """How far a captured stream is known: its highest number, how many are stored, how many rejected.

    What nobody could read is not counted as rejected here, since its numbers are missing.
    """

    source: str
    stream: str
    kind: str
    highest: int
    stored: int
    rejected: int


class StreamInPart(Struct, frozen=True):
    """A captured stream of which the role is not shown all, so no number of it is told."""

    source: str
    stream: str
    kind: str


class Missing(Answer, frozen=True, kw_only=True):
    """Numbers and data that are missing, below `offsets` of `glasses.lineage` (by partition).

    Counts are in events, `lost_records` in records (a band as text, or `unknown`).
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
    """Return the numbers of captured streams that are missing, and the data that are.

    Numbers are `missing` between 0 and the highest known if they are neither stored nor rejected. Data are if
    other data have their numbers: `collisions`, as far as the pipeline knew them; the ledger knows all.
    `malformed` is how many of the missing ones came in a batch that nobody could read, as far as the role is
    shown that: `why` says of each what was wrong. `rejected` of a stream is how many up to its highest were
    rejected otherwise.

    The answer is complete for what lies below `offsets` of `glasses.lineage`, in the `log` of it that the
    store follows since an epoch: what is still on its way counts as missing until the epoch that holds it.

    `lost` are records that retention removed before they were read: of what they held, this knows the numbers
    that later ones left open.

    A role is answered for streams that it is shown whole. Of those that it is shown in part it is told that,
    and no number: a number that is hidden from it would look like one that is missing.
    """
    seen = streams_seen(store)
    claims, wanting = _claims(store), store.query("missing")
    collisions = store.query("collisions").of(ClaimedRun)
    every = store.query("captured").of(partial(CapturedStream, rejected=0))
    streams = [row for row in every if (row.source, row.stream) in seen]
    if store.role_filter is not None:
        store.role_filter.hide("streams", len(every) - len(streams))
        # Of a stream that other data took over from its first number on, nothing need be stored.
        collisions = [row for row in collisions if store.role_filter.shows(row.row_class, "rejected")]
    runs = [
        MissingRun(source, stream, first, count, _overlap(first, count, claims.get((source, stream), ())))
        for source, stream, first, count in wanting.rows
        if store.role_filter is None or seen.get((source, stream))
    ]
    absent: dict[Named, list[MissingRun]] = {}
    for run in runs:
        absent.setdefault((run.source, run.stream), []).append(run)
    whole = [row for row in streams if seen[row.source, row.stream]]
    in_part = [row for row in streams if not seen[row.source, row.stream]]
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
    """How many of the numbers from `first` on lie in `claims`."""
    whole = [(first, first + count - 1)]
    return count - size(subtract(whole, claims))


def _refused(row: CapturedStream, absent: Iterable[MissingRun]) -> CapturedStream:
    """A stream with how many of its numbers are neither stored nor missing."""
    end = row.highest + 1
    missing_events = sum(min(run.count, max(end - run.first, 0)) for run in absent)
    return replace(row, rejected=end - row.stored - missing_events)


def _claims(store: Store) -> dict[Named, list[Interval]]:
    """Numbers that unreadable batches claimed, by stream, of those that the role is shown."""
    claims: dict[Named, list[Interval]] = {}
    for row in store.sift(store.query("claimed").of(ClaimedRun), "rejected", counted=False):
        claims.setdefault((row.source, row.stream), []).append((row.first, row.first + row.count - 1))
    return {stream: union(runs) for stream, runs in claims.items()}


def _lost(store: Store) -> tuple[int | str | UnsetType, Bounded[LostRun] | UnsetType]:
    """How many records are lost, and which; UNSET where none are.

    They are the runs that operators have accepted (`sightline worker --accept-loss`). How many records a
    topic held that was made again nobody can say: such a run has no `last`. A role that is not shown the
    recorded inputs is told how many by order of magnitude.
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
