"""The topics against the journals and the store: everything once, in the order in which it was captured."""

from __future__ import annotations

from typing import Any

import numpy as np

from streams.ledger.findings import find
from streams.ledger.journal import Journal
from streams.ledger.runs import NONE, ByStream, Intervals, cover
from streams.ledger.sources import StoreReader
from streams.ledger.topics import Records, Topics

_REFUSALS = (
    "SELECT count(*), coalesce(sum(\"count\"), 0)::BIGINT FROM rejected WHERE rule <> 'repeat' AND stage <> "
    "'snapshots'"
)


def topic_counts(journal: Journal, topics: Topics, store: StoreReader, findings: list[str]) -> dict[str, Any]:
    """Count batches on every topic, and find what is missing, twice or in another order on one."""
    missing, twice = _forwarded(journal, topics, findings)
    disorder = topics.order_faults
    if topics.order_faults:
        findings.append(
            f"{topics.order_faults} records of glasses.zoned stand in another order than on glasses.captured"
        )
    if topics.zoned.unreadable:
        findings.append(
            f"{topics.zoned.unreadable} records of glasses.zoned do not say which events they hold"
        )
    for topic, records in topics.derived.items():
        lost, again = _derived(topic, records, store, findings)
        missing, twice = missing + lost, twice + again
        faults = order_of_derived(topic, records, store)
        disorder += faults
        if faults:
            findings.append(
                f"{faults} records of {topic} stand before one of their stream that was completed earlier"
            )
    _rejected(topics, store, findings)
    _lineage(topics, store, findings)
    batches = {
        "captured": topics.captured_count,
        "zoned": topics.zoned.records,
        **{topic.removeprefix("glasses."): records.records for topic, records in topics.derived.items()},
        "rejected": topics.rejected.records + topics.refused.records,
        "lineage": topics.lineage_records,
    }
    return {
        "batches": batches,
        "out_of_order": disorder,
        "repeated": topics.repeated,
        "late": topics.late,
        "events_missing": missing,
        "events_twice": twice,
    }


def _forwarded(journal: Journal, topics: Topics, findings: list[str]) -> tuple[int, int]:
    """Every event sent is on glasses.zoned or glasses.rejected, once, and nothing else is on glasses.zoned.

    Returns (missing, twice).
    """
    missing, twice, unsent = dict[str, Intervals](), dict[str, Intervals](), dict[str, Intervals]()
    zoned, rejected = topics.zoned.by_stream(), topics.rejected.by_stream()
    for key in journal.sent.keys() | zoned.keys():
        pieces, (sent, there, gone) = cover(
            journal.sent.get(key, NONE), zoned.get(key, NONE), rejected.get(key, NONE)
        )
        missing[key] = pieces[(sent > 0) & (there + gone == 0)]
        twice[key] = pieces[there + gone > 1]
        unsent[key] = pieces[(sent == 0) & (there > 0)]
    find(findings, unsent, "are on glasses.zoned and no journal knows them")
    return (
        find(findings, missing, "were sent and are neither on glasses.zoned nor on glasses.rejected"),
        find(findings, twice, "are on glasses.zoned or glasses.rejected more than once"),
    )


def _derived(topic: str, records: Records, store: StoreReader, findings: list[str]) -> tuple[int, int]:
    """Every derived event that the store says went to `topic` is there, once, and nothing else is.

    Returns (missing, twice).
    """
    missing, twice, unstored = dict[str, Intervals](), dict[str, Intervals](), dict[str, Intervals]()
    there: ByStream = records.by_stream()
    stored = store.spread(
        f"SELECT source || '/' || stream, \"first\", step, \"count\", 1 FROM events WHERE topic = '{topic}'"  # noqa: S608
    )
    for key in stored.keys() | there.keys():
        pieces, (known, found) = cover(stored.get(key, NONE), there.get(key, NONE))
        missing[key] = pieces[(known > 0) & (found == 0)]
        twice[key] = pieces[found > 1]
        unstored[key] = pieces[(known == 0) & (found > 0)]
    find(findings, unstored, f"are on {topic} and not in the store")
    return (
        find(findings, missing, f"are in the store and not on {topic}"),
        find(findings, twice, f"are on {topic} more than once"),
    )


def order_of_derived(topic: str, records: Records, store: StoreReader) -> int:
    """Count records of `topic` that stand before one of their stream which was completed earlier.

    A batch of glasses.captured completes a record, and the order there says which is earlier.
    """
    places = store.grouped(
        f"SELECT source || '/' || stream, \"first\", \"offset\" FROM events WHERE topic = '{topic}' "  # noqa: S608
        'ORDER BY "first"'
    )
    faults = 0
    for key, firsts in records.firsts().items():
        if key in places:
            known, offsets = places[key]
            index = known.searchsorted(firsts)
            index = index[index < known.size]
            faults += int((np.diff(offsets[index]) < 0).sum())
    return faults


def _rejected(topics: Topics, store: StoreReader, findings: list[str]) -> None:
    """glasses.rejected and the store name the same number of refusals, and of events in them."""
    records = topics.rejected.records + topics.refused.records
    events = sum(topics.rejected.count) + sum(topics.refused.count)
    stored = store.rows(_REFUSALS)[0]
    if (records, events) != stored:
        findings.append(
            f"glasses.rejected holds {records:,} records with {events:,} events, "
            f"the store {stored[0]:,} with {stored[1]:,}"
        )


def _lineage(topics: Topics, store: StoreReader, findings: list[str]) -> None:
    """The newest epoch holds glasses.lineage to its end."""
    newest = store.rows("SELECT offsets FROM epochs ORDER BY epoch DESC LIMIT 1")
    offsets: dict[int, int] = dict(newest[0][0]) if newest else {}
    for partition, end in sorted(topics.lineage_ends.items()):
        if offsets.get(partition, 0) < end:
            findings.append(
                f"the newest epoch ends at offset {offsets.get(partition, 0):,} of glasses.lineage partition "
                f"{partition}, which goes on to {end:,}"
            )
