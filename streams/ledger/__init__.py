"""The ledger: what the devices say they sent, against the topics and against what the published store holds.

It checks the pipeline and therefore shares no code with it: it reads the journal's lines, the records' headers and the
catalog by itself. Numbers are counted in runs (numpy), never one object per event.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from streams.ledger.runs import NONE, ByStream, Intervals, cover, named, size, union_size
from streams.ledger.sources import Journal, StoreReader, Topics, read_journal, read_topics

_NAMED_MAX = 5
_RUNS = 'SELECT source || \'/\' || stream, "first", step, "count", 1 FROM events'
_REJECTED = ("SELECT source || '/' || stream, \"first\", 1, \"count\", 1 FROM rejected "
             "WHERE stage = 'zones' AND rule <> 'repeat' AND \"count\" > 0")


def run_ledger(journal_dir: Path, broker: str | None, store_dir: Path, since_ns: int = 0) -> dict[str, Any]:
    """Compare journals, topics and store; return the counts, `findings` (sentences) and `clean` (there are none).

    Blocking, and it runs an event loop of its own: call it in a thread where one is running already. It is right about
    what has been drained: a batch that is still on its way is missing.

    Parameters
    ----------
    journal_dir
        Journals of all devices that ever wrote into this store, a directory or one file.
    broker
        `HOST:PORT`; None leaves the topics out (a replay).
    since_ns
        Nanoseconds since the epoch: only batches sent from then on count for `sent_to_visible_ms`.

    Raises
    ------
    InputError
        There is no journal, or one cannot be read.
    UnavailableError
        The broker is absent, or the store has no epoch.
    """
    journal = read_journal(journal_dir)
    topics = read_topics(broker) if broker is not None else None
    store = StoreReader(store_dir)
    try:
        findings: list[str] = []
        stored, rejected = store.spread(_RUNS), store.spread(_REJECTED)
        counts = _accounts(journal, stored, rejected, store, findings)
        counts |= _zones(journal, stored, rejected, store, findings)
        counts |= _derived(store, stored, findings)
        # Without a broker nothing was sent: the times in the journal are those of the scenario.
        counts["sent_to_visible_ms"] = _sent_to_visible_ms(journal, store, since_ns) if topics else {"p50": None, "p99": None}
    finally:
        store.close()
    if topics is not None:
        counts["topics"] = _topics(journal, topics, findings)
    return {**counts, "findings": findings, "clean": not findings}


def lines(result: Mapping[str, Any]) -> list[str]:
    """Say the result of `run_ledger` for people."""
    visible = result["sent_to_visible_ms"]
    models = ", ".join(f"{m['version']}: {m['accuracy']:.1%} of {m['examples']}" for m in result["models"])
    said = [
        f"sent      {result['events_sent']:,} events in {result['batches_sent']:,} batches",
        f"stored    {result['events_stored']:,} events, each once" if not result["events_twice"] else
        f"stored    {result['events_stored']:,} events, {result['events_twice']:,} of them twice",
        f"rejected  {result['events_rejected']:,} events in {result['batches_rejected']:,} batches",
        f"missing   {result['events_missing']:,}",
        f"zones     {result['zone_truth_checked']:,} checked against the scenario, {result['zone_truth_mismatches']:,} differ; "
        f"{len(result['zones'])} crossed, {len(result['kinds'])} kinds",
        f"derived   {result['derived']:,} events, {result['answers']:,} of them answers, {result['edges']:,} edges, "
        f"{result['orphan_parents']:,} parents that nobody knows",
        f"loop      {result['feedback']:,} feedback, {result['examples']:,} examples, {result['examples_spoken']:,} of them spoken, "
        f"{result['examples_refused']:,} refused",
        f"models    {models or 'none'}",
        f"epochs    {result['epochs']:,}; sent to visible p50 {visible['p50']} ms, p99 {visible['p99']} ms"]
    if "topics" in result:
        said.append(f"topics    {result['topics']['batches_checked']:,} batches on glasses.zoned, "
                    f"{result['topics']['out_of_order']:,} in another order than they came")
        said.append(f"link      {result['topics']['repeated']:,} batches came again, {result['topics']['late']:,} late")
    return [*said, *(f"FOUND     {finding}" for finding in result["findings"]), "clean" if result["clean"] else "not clean"]


def _accounts(journal: Journal, stored: ByStream, rejected: ByStream, store: StoreReader, findings: list[str]) -> dict[str, Any]:
    """Every event sent is stored or rejected, once; nothing is stored that was not sent."""
    missing, twice, unsent = dict[str, Intervals](), dict[str, Intervals](), dict[str, Intervals]()
    for key, sent in journal.sent.items():
        pieces, (was_sent, is_stored, is_rejected) = cover(sent, stored.get(key, NONE), rejected.get(key, NONE))
        missing[key] = pieces[(was_sent > 0) & (is_stored + is_rejected == 0)]
        twice[key] = pieces[is_stored + is_rejected > 1]
        unsent[key] = pieces[(was_sent == 0) & (is_stored > 0)]
    captured = {str(key) for (key,) in store.rows("SELECT source || '/' || stream FROM streams WHERE captured")}
    for key in captured - journal.sent.keys():
        unsent[key] = stored.get(key, NONE)
    for what, found in (("were sent and are neither stored nor rejected", missing), ("are in the store more than once", twice),
                        ("are stored and no journal knows them", unsent)):
        _find(findings, found, what)
    ours = {key: rejected.get(key, NONE) for key in journal.sent}
    return {"events_sent": union_size(journal.sent), "batches_sent": len(journal.batches),
            "batches_unacknowledged": sum(not batch.acked for batch in journal.batches.values()),
            "events_stored": union_size({key: stored.get(key, NONE) for key in journal.sent}), "events_rejected": union_size(ours),
            "batches_rejected": store.one("SELECT count(*) FROM rejected WHERE stage = 'zones' AND rule <> 'repeat'"),
            "events_missing": sum(size(pieces) for pieces in missing.values()),
            "events_twice": sum(size(pieces) for pieces in twice.values())}


def _zones(journal: Journal, stored: ByStream, rejected: ByStream, store: StoreReader, findings: list[str]) -> dict[str, Any]:
    """Every stored or rejected event whose zone the scenario knows is in that zone; `unconfigured` ones are rejected."""
    checked, wrong = 0, dict[str, Intervals]()
    for zone, streams in journal.truth.items():
        name = zone.replace("'", "''")
        stored_here = store.spread(f"{_RUNS} WHERE zone = '{name}'") if zone != "unconfigured" else {}
        rejected_here = store.spread(f"{_REJECTED} AND zone = '{name}'")
        for key, truth in streams.items():
            pieces, (true, sent, there, gone, right, refused) = cover(
                truth, journal.sent.get(key, NONE), stored.get(key, NONE), rejected.get(key, NONE), stored_here.get(key, NONE),
                rejected_here.get(key, NONE))
            known = (true > 0) & (sent > 0) & (there + gone > 0)
            checked += size(pieces[known])
            bad = pieces[known & (right + refused == 0)]
            wrong[key] = np.concatenate((wrong.get(key, NONE), bad))
    _find(findings, wrong, "are in another zone than the scenario says")
    return {"zone_truth_checked": checked, "zone_truth_mismatches": sum(size(pieces) for pieces in wrong.values())}


def _derived(store: StoreReader, stored: ByStream, findings: list[str]) -> dict[str, Any]:
    """What was made of the events, and whether every parent that an edge names exists."""
    kinds = dict(store.rows('SELECT kind, sum("count")::BIGINT FROM events GROUP BY kind'))
    captured = store.one('SELECT coalesce(sum("count"), 0)::BIGINT FROM events JOIN streams USING (source, stream) WHERE captured')
    models = store.spread("SELECT source || '/' || stream, version, 1, 1, 1 FROM models")
    orphans: dict[str, Intervals] = {}
    parents = store.spread("SELECT parent_source || '/' || parent_stream, parent_first, parent_step, child_count, parent_width FROM edges")
    for key, named_parents in parents.items():
        pieces, (wanted, there, model) = cover(named_parents, stored.get(key, NONE), models.get(key, NONE))
        orphans[key] = pieces[(wanted > 0) & (there + model == 0)]
    _find(findings, orphans, "are named as parents and are not in the store")
    versions = store.rows("SELECT version, examples, accuracy FROM models ORDER BY version")
    first = store.rows("SELECT epoch, published_ns FROM epochs WHERE rows > 0 ORDER BY epoch LIMIT 1")
    return {"derived": sum(kinds.values()) - captured, "answers": kinds.get("answer", 0), "feedback": kinds.get("feedback", 0),
            "examples": store.one("SELECT coalesce(sum(\"count\"), 0)::BIGINT FROM events WHERE kind = 'example' AND source <> 'training'"),
            # What was understood by a model version has that version among its parents.
            "examples_spoken": store.one("SELECT coalesce(sum(child_count), 0)::BIGINT FROM edges WHERE operator = 'example' "
                                         "AND parent_stream = 'intent-model'"),
            "kinds": sorted(kinds), "zones": sorted(str(zone) for (zone,) in store.rows("SELECT DISTINCT zone FROM events")),
            "examples_refused": store.one("SELECT coalesce(sum(\"count\"), 0)::BIGINT FROM (SELECT DISTINCT source, stream, \"first\", "
                                          "\"count\" "
                                          "FROM decisions WHERE sink = 'training-run' AND NOT passed)"),
            "models": [{"version": version, "examples": examples, "accuracy": accuracy} for version, examples, accuracy in versions],
            "edges": store.one("SELECT coalesce(sum(child_count * parent_width), 0)::BIGINT FROM edges"),
            "orphan_parents": sum(size(pieces) for pieces in orphans.values()),
            "epochs": store.one("SELECT count(*) FROM epochs"), "first_epoch": first[0][0] if first else None,
            "first_epoch_published_ns": first[0][1] if first else None}


def _sent_to_visible_ms(journal: Journal, store: StoreReader, since_ns: int) -> dict[str, float | None]:
    """Time from the send of a batch to the publication of the epoch that made its last event visible; acknowledged ones only."""
    visible = store.grouped('SELECT e.source || \'/\' || e.stream, e."first", e."first" + e."count" AS after, p.published_ns '
                            'FROM events e JOIN epochs p USING (epoch) ORDER BY e."first"')
    waited: list[int] = []
    for batch in journal.batches.values():
        if batch.key not in visible or not batch.acked or batch.sent_ns < since_ns:
            continue
        first, after, published_ns = visible[batch.key]
        index = int(np.searchsorted(first, batch.first + batch.count - 1, "right")) - 1
        if index >= 0 and after[index] >= batch.first + batch.count:
            waited.append(int(published_ns[index]) - batch.sent_ns)
    if not waited:
        return {"p50": None, "p99": None}
    return {name: round(float(value) / 1e6, 1) for name, value in zip(("p50", "p99"), np.percentile(waited, (50, 99)), strict=True)}


def _topics(journal: Journal, topics: Topics, findings: list[str]) -> dict[str, Any]:
    """Every event sent is on glasses.zoned or glasses.rejected, once, and in the order of glasses.captured."""
    missing, twice, unsent = dict[str, Intervals](), dict[str, Intervals](), dict[str, Intervals]()
    for key in journal.sent.keys() | topics.zoned.keys():
        pieces, (sent, zoned, gone) = cover(journal.sent.get(key, NONE), topics.zoned.get(key, NONE), topics.rejected.get(key, NONE))
        missing[key] = pieces[(sent > 0) & (zoned + gone == 0)]
        twice[key] = pieces[zoned + gone > 1]
        unsent[key] = pieces[(sent == 0) & (zoned > 0)]
    for what, found in (("were sent and are neither on glasses.zoned nor on glasses.rejected", missing),
                        ("are on glasses.zoned or glasses.rejected more than once", twice),
                        ("are on glasses.zoned and no journal knows them", unsent)):
        _find(findings, found, what)
    if topics.order_faults:
        findings.append(f"{topics.order_faults} records of glasses.zoned stand in another order than on glasses.captured")
    if topics.unreadable:
        findings.append(f"{topics.unreadable} records of glasses.zoned do not say which events they hold")
    return {"batches_checked": topics.order_checked, "out_of_order": topics.order_faults, "repeated": topics.repeated, "late": topics.late,
            "events_missing": sum(size(pieces) for pieces in missing.values()),
            "events_twice": sum(size(pieces) for pieces in twice.values())}


def _find(findings: list[str], found: ByStream, what: str) -> None:
    count = sum(size(pieces) for pieces in found.values())
    if count:
        names = named(found, _NAMED_MAX + 1)
        more = " …" if len(names) > _NAMED_MAX else ""
        findings.append(f"{count:,} events {what}: {', '.join(names[:_NAMED_MAX])}{more}")
