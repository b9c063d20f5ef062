"""Compare the topics with journals and store: everything must be there once, in the order of capture."""

from __future__ import annotations

import numpy as np

from streams import topology
from streams.ledger.findings import find
from streams.ledger.forged import Judged, judged
from streams.ledger.journal import Journals
from streams.ledger.records import Records
from streams.ledger.result import TopicCounts
from streams.ledger.runs import NONE, Intervals, column, cover, halves
from streams.ledger.sources import StoreReader, numbered
from streams.ledger.topics import Topics
from streams.quoting import quoted

_REFUSALS = (
    'SELECT count(*), coalesce(sum("count"), 0)::BIGINT FROM rejected '
    "WHERE outcome <> 'repeated' AND stage <> 'snapshots' AND source NOT IN"
)


def topic_counts(
    journal: Journals, topics: Topics, store: StoreReader, findings: list[str], *, remade: bool = False
) -> TopicCounts:
    """Count batches on every topic; find records that are missing, twice, out of order, or forged.

    Records that retention deleted from a topic do not count as missing. `remade`: a topic was recreated, so
    the offsets in the store are of several logs and the order cannot be checked.
    """
    if topics.other_data:
        findings.append(
            f"{topics.other_data:,} batches of glasses.captured bear numbers that other data had before them:"
            f" {topics.other_named}"
        )
    captured = "JOIN streams USING (source, stream) WHERE captured"
    judged_zoned = judged(topology.ZONED, topics.zoned, captured, store, findings)
    missing, twice = _forwarded(journal, topics, judged_zoned, store, findings)
    forged, disorder = _forged(topics.zoned, judged_zoned), topics.order_faults
    if topics.order_faults:
        findings.append(
            f"{topics.order_faults} records of glasses.zoned stand in another order than on glasses.captured"
        )
    for topic, records in topics.derived.items():
        where = f"WHERE topic = '{topic}'"
        ours = judged(topic, records, where, store, findings)
        lost, again = _derived(topic, journal, topics, ours, store, findings)
        missing, twice, forged = missing + lost, twice + again, forged + _forged(records, ours)
        faults = 0 if remade else order_of_derived(topic, records, ours, store)
        disorder += faults
        if faults:
            findings.append(
                f"{faults} records of {topic} stand before one of their stream that was completed earlier"
            )
    if topology.REJECTED not in topics.begin_later:
        _rejected(journal, topics, store, findings)
    _lineage(topics, store, findings)
    batches = {
        "captured": topics.captured_count,
        "zoned": topics.zoned.records,
        **{topic.removeprefix("glasses."): records.records for topic, records in topics.derived.items()},
        "rejected": sum(records.records for records in topics.refusals()),
        "lineage": topics.lineage_records,
    }
    return {
        "batches": batches,
        "begin_later": topics.begin_later,
        "out_of_order": disorder,
        "repeated": topics.repeated,
        "late": topics.late,
        "other_data": topics.other_data,
        "forged": forged,
        "events_missing": missing,
        "events_twice": twice,
    }


def _forged(records: Records, verdicts: Judged) -> int:
    return records.unreadable + verdicts.strange.size + verdicts.other.size


def _forwarded(
    journal: Journals, topics: Topics, verdicts: Judged, store: StoreReader, findings: list[str]
) -> tuple[int, int]:
    """Check that every sent event is on glasses.zoned or glasses.rejected, once, and no other on the former.

    Returns (missing, twice).
    """
    missing, twice, unsent = dict[str, Intervals](), dict[str, Intervals](), dict[str, Intervals]()
    zoned, ours = topics.zoned.by_stream(), topics.zoned.by_stream(verdicts.ours)
    rejected, early = topics.rejected.by_stream(), topics.early.by_stream()
    unread = halves(topics.unread)
    for key in journal.sent.keys() | zoned.keys():
        nameless = journal.data(key).only(unread).runs if key in journal.sent else NONE
        pieces, (sent, all_zoned, kept, gone, refused, over) = cover(
            journal.sent.get(key, NONE),
            zoned.get(key, NONE),
            ours.get(key, NONE),
            rejected.get(key, NONE),
            np.concatenate((early.get(key, NONE), nameless)),
            store.over_of(key),
        )
        missing[key] = pieces[(sent > 0) & (kept + gone + refused + over == 0)]
        twice[key] = pieces[all_zoned + gone > 1]
        unsent[key] = pieces[(sent == 0) & (all_zoned > 0)]
    find(findings, unsent, "are on glasses.zoned and no journal knows them")
    if {topology.ZONED, topology.REJECTED} & {*topics.begin_later}:
        missing.clear()
    return (
        find(findings, missing, "were sent and are neither on glasses.zoned nor on glasses.rejected"),
        find(findings, twice, "are on glasses.zoned or glasses.rejected more than once"),
    )


def _derived(
    topic: str,
    journal: Journals,
    topics: Topics,
    verdicts: Judged,
    store: StoreReader,
    findings: list[str],
) -> tuple[int, int]:
    """Check that every derived event that the store assigns to `topic` is there, once.

    Returns (missing, twice).
    """
    records, missing = topics.derived[topic], dict[str, Intervals]()
    if topic in topics.begin_later:
        return 0, int(column(records.count)[verdicts.again].sum())
    on_topic = records.by_stream(verdicts.ours)
    stored = store.spread(
        f'SELECT {numbered()}, "first", step, "count", 1 FROM events WHERE topic = \'{topic}\''  # noqa: S608
    )
    for key in filter(journal.counts, stored):
        known = stored[key]
        pieces, (is_stored, is_there) = cover(known, on_topic.get(key, NONE))
        missing[key] = pieces[(is_stored > 0) & (is_there == 0)]
    return (
        find(findings, missing, f"are in the store and not on {topic}"),
        int(column(records.count)[verdicts.again].sum()),
    )


def order_of_derived(topic: str, records: Records, verdicts: Judged, store: StoreReader) -> int:
    """Count records of `topic` that are before a record of their stream that was completed earlier.

    A derived event is completed by a batch of glasses.captured, whose offset gives the order.
    """
    places = store.grouped(
        f'SELECT {numbered()}, "first", "offset" FROM events WHERE topic = \'{topic}\' '  # noqa: S608
        'ORDER BY "first"'
    )
    faults, firsts = 0, column(records.first)
    for key, rows in verdicts.ours.items():
        if rows.size:
            known, offsets = places[key]
            faults += int((np.diff(offsets[known.searchsorted(firsts[rows])]) < 0).sum())
    return faults


def _rejected(journal: Journals, topics: Topics, store: StoreReader, findings: list[str]) -> None:
    """Check that glasses.rejected and the store have the same number of rejections, and of events in them."""
    records = sum(refused.records for refused in topics.refusals())
    events = sum(sum(refused.count) for refused in topics.refusals())
    # A list in SQL is not empty, and no device has a name with a space.
    others = ", ".join(map(quoted, sorted({" ", *journal.erased})))
    stored = store.rows(f"{_REFUSALS} ({others})")[0]
    # How many of those that are over were rejections is not kept.
    agree = records >= stored[0] and events >= stored[1] if store.over else (records, events) == stored
    if not agree:
        findings.append(
            f"glasses.rejected holds {records:,} records with {events:,} events, "
            f"the store {stored[0]:,} with {stored[1]:,}"
        )


def _lineage(topics: Topics, store: StoreReader, findings: list[str]) -> None:
    """Check that the newest epoch includes glasses.lineage up to its end."""
    for partition, end in sorted(topics.lineage_ends.items()):
        if store.reached.get(partition, 0) < end:
            findings.append(
                f"the newest epoch ends at offset {store.reached.get(partition, 0):,} of glasses.lineage "
                f"partition {partition}, which goes on to {end:,}"
            )
