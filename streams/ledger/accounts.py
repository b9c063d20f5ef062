"""Check that every event that a device sent is stored or rejected, once, with the bytes that were sent.

Bytes are compared by digest, independently of what the pipeline recorded about repeats and collisions.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from streams.ledger.findings import find
from streams.ledger.journal import Journals
from streams.ledger.result import Accounts
from streams.ledger.runs import (
    NO_DATA,
    NONE,
    ByStream,
    Data,
    Intervals,
    cover,
    joined,
    size,
    unaccounted,
    union_size,
    without,
)
from streams.ledger.sources import HALVES, StoreReader, numbered

#: Rules that are checked before repeats are detected. A batch that they reject may be a copy of a stored one,
#: which does not count as twice.
EARLY = ("pairing", "too-late", "incarnation", "names")
COLLISION = "collision"
#: Outcomes of batches whose numbers arrived before.
_AGAIN = "('repeated', 'collision')"
_SAID = ("malformed", "limits", "poisoned", "clock", "erased", *EARLY)

#: Rows whose batch was decoded. The numbers of an undecoded batch are only a claim.
_NAMED = "\"count\" > 0 AND outcome <> 'malformed' AND rule <> 'limits'"
_OF_ZONES = f"stage = 'zones' AND outcome NOT IN {_AGAIN}"
RUNS = f'SELECT {numbered()}, "first", step, "count", 1 FROM events'  # noqa: S608 - constants
_REFUSED = (
    'SELECT source || \'/\' || stream, "first", 1, "count", 1 FROM rejected '  # noqa: S608 - constants
    f"WHERE {_OF_ZONES} AND {_NAMED}"
)
_ONCE = f"{_REFUSED} AND rule NOT IN {EARLY}"
#: Rejections with a zone, which can be compared with the truth.
JUDGED = f"{_REFUSED} AND zone <> ''"
_REJECTED_DATA = (
    f'SELECT source || \'/\' || stream, "first", "count", {HALVES.format("digest")} FROM rejected '  # noqa: S608
    f"WHERE stage = 'zones' AND {_NAMED} AND "
)
#: An undecoded batch is identified by its digest.
_UNREAD = f"SELECT '', {HALVES.format('digest')} FROM rejected WHERE {_OF_ZONES} AND NOT ({_NAMED})"  # noqa: S608
_CLAIMED = (
    f"SELECT coalesce(sum(\"count\"), 0)::HUGEINT FROM rejected WHERE {_OF_ZONES} AND outcome = 'malformed'"  # noqa: S608
)
_RULES = f"""
    SELECT CASE WHEN rule IN {_SAID} THEN rule WHEN starts_with(rule, 'consent:') THEN 'consent'
        ELSE 'policy' END AS said, count(*) AS batches
    FROM rejected WHERE {_OF_ZONES} GROUP BY said ORDER BY batches DESC, said"""  # noqa: S608


def accounts(
    journal: Journals,
    stored: ByStream,
    stored_data: Mapping[str, Data],
    store: StoreReader,
    findings: list[str],
) -> Accounts:
    """Check that every sent event is stored or rejected, once and unchanged, and no other event is stored."""
    missing, taken = dict[str, Intervals](), dict[str, Intervals]()
    twice, unsent = dict[str, Intervals](), dict[str, Intervals]()
    rejected_data = store.data(f"{_REJECTED_DATA} outcome NOT IN {_AGAIN}")
    collided = store.data(f"{_REJECTED_DATA} outcome = 'collision'")
    once = store.spread(_ONCE)
    unread = np.column_stack(store.grouped(_UNREAD).get("", [NONE[:, 0]] * 2))
    sent_events = rejected_events = 0
    for key in filter(journal.counts, journal.sent.keys() | stored_data.keys() | collided.keys()):
        sent = journal.data(key) if key in journal.sent else NO_DATA
        known = stored_data.get(key, NO_DATA)
        refused = joined(rejected_data.get(key, NO_DATA), sent.only(unread))
        claimed = joined(sent, collided.get(key, NO_DATA))
        sent_events += size(unaccounted(claimed, NO_DATA))
        missing[key], taken[key] = (
            # What is over was stored or rejected, and nobody can say any more with which bytes.
            without(lost, store.over_of(key)) if len(store.over_of(key)) else lost
            for lost in _lost(claimed, joined(known, refused))
        )
        unsent[key] = unaccounted(known, sent)
        pieces, (is_stored, is_rejected) = cover(stored.get(key, NONE), once.get(key, NONE))
        if key in journal.sent:
            twice[key] = pieces[is_stored + is_rejected > 1]
            # A copy of a stored batch may be rejected; each sent event is counted once.
            rejected_events += size(unaccounted(refused, known))
    find(findings, missing, "were sent and are neither stored nor rejected")
    find(findings, taken, "were sent under numbers that other data have, so they are missing")
    find(findings, twice, "are in the store more than once")
    find(findings, unsent, "are stored and no journal knows them")
    rules = dict(store.rows(_RULES))
    return {
        "events_sent": sent_events,
        "batches_sent": journal.batch_count,
        "batches_unacknowledged": journal.unacknowledged_count,
        "events_stored": union_size({key: stored.get(key, NONE) for key in journal.sent}),
        "events_rejected": rejected_events,
        "events_claimed": store.scalar(_CLAIMED),
        "events_expired": union_size({key: store.over_of(key) for key in journal.sent}),
        "batches_rejected": sum(rules.values()),
        "rejected_by_rule": rules,
        "events_missing": sum(size(pieces) for pieces in (*missing.values(), *taken.values())),
        "events_other_data": sum(size(pieces) for pieces in taken.values()),
        "events_twice": sum(size(pieces) for pieces in twice.values()),
    }


def _lost(sent: Data, known: Data) -> tuple[Intervals, Intervals]:
    """(numbers without any data, numbers with other data) among the sent numbers that are unaccounted for."""
    lost = unaccounted(sent, known)
    pieces, (is_lost, is_known) = cover(lost, known.runs)
    each = np.repeat(pieces, is_lost, axis=0)
    replaced = np.repeat(is_known > 0, is_lost)
    return each[~replaced], each[replaced]
