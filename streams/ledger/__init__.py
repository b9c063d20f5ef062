"""The ledger: compares the journals of what devices sent with the topics and with the published store.

It checks the pipeline and therefore shares no code with it: it has its own readers of journals, headers and
the catalog. Numbers are counted in runs (NumPy arrays), without one object per event.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from streams.ledger.accounts import JUDGED, RUNS, accounts
from streams.ledger.compare import topic_counts
from streams.ledger.findings import find
from streams.ledger.journal import Batches, Journals, read_journals
from streams.ledger.lost import lost
from streams.ledger.result import Derived, Ledger, Milliseconds, SealedCounts, ZoneTruth
from streams.ledger.runs import NONE, ByStream, Intervals, Ints, column, cover, size
from streams.ledger.sealed import Keyring, Sealed
from streams.ledger.sources import StoreReader, numbered
from streams.ledger.topics import read_topics
from streams.quoting import quoted
from streams.settings.kafka import Broker


def run_ledger(
    journal_dir: Path,
    broker: Broker | None,
    stores: Path | Sequence[Path],
    since_ns: int = 0,
    erased: Collection[str] = (),
    keyring: Keyring | None = None,
) -> Ledger:
    """Compare journals, topics and store.

    Return the counts, `findings` (sentences) and `clean` (whether there are none).

    This call blocks and runs its own event loop; call it in a thread if one is running already. Call it when
    the pipeline is idle, because a batch that is still on its way counts as missing.

    Parameters
    ----------
    journal_dir
        Journals of all devices that ever wrote to this store; a directory or one file.
    broker
        `HOST:PORT`; None skips the topics (for a replay).
    stores
        Directory of the store, or those of several stores that hold some partitions each.
    since_ns
        Only batches sent from this time on (ns since the epoch) count for `sent_to_visible_ms`.
    erased
        Devices whose data was erased: what they sent is in their journals and still on the topics, but is to
        be in the store no more, so nothing of theirs is compared.
    keyring
        Keys of what is sealed. Without them sealed events are compared by their numbers, and sealed records
        by the digests that they name; `sealed` says how many.

    Raises
    ------
    InputError
        There is no journal, one cannot be read, or a partition is in two stores.
    UnavailableError
        The broker is absent, or the store has no epoch; or the key store is away.
    DamagedError
        The key store does not know a key of what is sealed: nothing is taken for erased.
    """
    journal = read_journals(journal_dir, frozenset(erased))
    store = StoreReader(*([stores] if isinstance(stores, Path) else stores))
    try:
        sealed = Sealed.of(store, keyring)
        topics = read_topics(broker, journal.erased, sealed) if broker is not None else None
        findings: list[str] = []
        stored = store.spread(RUNS)
        stored_data = sealed.stored_data(journal, journal_dir, store)
        result: Ledger = {
            **accounts(journal, stored, stored_data, store, findings),
            **lost(store, findings),
            **_zones(journal, stored, store, findings),
            **_derived(store, stored, findings),
            # Without a broker nothing was really sent: times in the journal are those of the scenario.
            "sent_to_visible_ms": (
                _sent_to_visible_ms(journal, store, since_ns) if topics else {"p50": None, "p99": None}
            ),
            "sealed": sealed.counts(),
            "topics": None,
            "findings": findings,
            "clean": False,
        }
        if topics is not None:
            remade = bool(result["topics_remade"])
            result["topics"] = topic_counts(journal, topics, store, findings, remade=remade)
    finally:
        store.close()
    result["clean"] = not findings
    return result


def lines(result: Ledger) -> list[str]:
    """Format the result of `run_ledger` as text."""
    visible = result["sent_to_visible_ms"]
    models = ", ".join(f"{m['version']}: {m['accuracy']:.1%} of {m['examples']}" for m in result["models"])
    text = [
        f"sent      {result['events_sent']:,} events in {result['batches_sent']:,} batches",
        (
            f"stored    {result['events_stored']:,} events, each once"
            if not result["events_twice"]
            else f"stored    {result['events_stored']:,} events, {result['events_twice']:,} of them twice"
        ),
        f"rejected  {result['events_rejected']:,} events in {result['batches_rejected']:,} batches"
        + _by_rule(result["rejected_by_rule"])
        + (
            f"; what nobody could read claims {result['events_claimed']:,} events"
            if result["events_claimed"]
            else ""
        ),
        *(
            [f"expired   {result['events_expired']:,} events, whose retention is over"]
            if result["events_expired"]
            else []
        ),
        f"missing   {result['events_missing']:,}"
        + (
            f", {result['events_other_data']:,} of them because other data have their numbers"
            if result["events_other_data"]
            else ""
        ),
        *([f"lost      {result['records_lost']:,} records"] if result["records_lost"] else []),
        *(
            [
                f"erased    {result['rows_erased']:,} rows of the store by {result['erasures']:,} erasures"
                + (
                    ": what those wearers sent is missing here, so name their devices with --erased"
                    if result["events_missing"]
                    else ""
                )
            ]
            if result["erasures"]
            else []
        ),
        (
            f"zones     {result['zone_truth_checked']:,} checked against the scenario, "
            f"{result['zone_truth_mismatches']:,} differ; "
            if result["zone_truth_checked"]
            else "zones     not checked, since the scenario says none under this policy; "
        )
        + f"{len(result['zones'])} crossed, {len(result['kinds'])} kinds",
        (
            f"derived   {result['derived']:,} events, {result['answers']:,} of them answers, "
            f"{result['edges']:,} edges, {result['orphan_parents']:,} parents that nobody knows"
        ),
        (
            f"loop      {result['feedback']:,} feedback, {result['examples']:,} examples, "
            f"{result['examples_spoken']:,} of them spoken, {result['examples_refused']:,} refused"
        ),
        f"models    {models or 'none'}",
        f"epochs    {result['epochs']:,}; sent to visible p50 {visible['p50']} ms, p99 {visible['p99']} ms",
    ]
    topics = result["topics"]
    if topics is not None:
        text.append(
            "topics    "
            + ", ".join(f"{name} {count:,}" for name, count in topics["batches"].items())
            + f" batches; {topics['events_missing']:,} events missing, {topics['events_twice']:,} twice, "
            f"{topics['out_of_order']:,} batches in another order than they came"
        )
        if topics["begin_later"]:
            names = ", ".join(topics["begin_later"])
            text.append(f"retention {names}: what they held before is gone, and was not compared")
        text.append(f"link      {topics['repeated']:,} batches came again, {topics['late']:,} late")
    text += _sealed(result["sealed"])
    return [
        *text,
        *(f"FOUND     {finding}" for finding in result["findings"]),
        "clean" if result["clean"] else "not clean",
    ]


def _sealed(counts: SealedCounts) -> list[str]:
    """Say what of the sealed was compared, and what nobody could; nothing if nothing is sealed."""
    opened, closed, by_number = (
        counts[name] for name in ("records_opened", "records_closed", "events_by_number")
    )
    parts = [
        (opened, f"{opened:,} records were opened"),
        (counts["events_compared"], f"{counts['events_compared']:,} events compared by keyed digests"),
        (counts["records_destroyed"], f"{counts['records_destroyed']:,} records have no key any more"),
        (closed, f"{closed:,} records were not opened (--keys names their key store)"),
        (by_number, f"{by_number:,} events were compared by their numbers alone, not by what they hold"),
    ]
    return ["sealed    " + ", ".join(text for count, text in parts if count)] if any(dict(parts)) else []


def _by_rule(batches: Mapping[str, int]) -> str:
    """Format batches by rule; empty if all were refused by policy."""
    if batches.keys() <= {"policy"}:
        return ""
    return ": " + ", ".join(f"{count:,} by {rule}" for rule, count in batches.items())


def _zones(journal: Journals, stored: ByStream, store: StoreReader, findings: list[str]) -> ZoneTruth:
    """Check that every event whose true zone is known was stored or rejected in that zone.

    Events of zone `unconfigured` must be rejected. Events that were rejected before their zone was determined
    are not checked.
    """
    rejected = store.spread(JUDGED)
    checked, wrong = 0, dict[str, Intervals]()
    for zone, streams in journal.truth.items():
        name = quoted(zone)
        stored_here = store.spread(f"{RUNS} WHERE zone = {name}") if zone != "unconfigured" else {}
        rejected_here = store.spread(f"{JUDGED} AND zone = {name}")
        for key, truth in streams.items():
            pieces, (true, sent, kept, gone, right, refused) = cover(
                truth,
                journal.sent.get(key, NONE),
                stored.get(key, NONE),
                rejected.get(key, NONE),
                stored_here.get(key, NONE),
                rejected_here.get(key, NONE),
            )
            known = (true > 0) & (sent > 0) & (kept + gone > 0)
            checked += size(pieces[known])
            bad = pieces[known & (right + refused == 0)]
            wrong[key] = np.concatenate((wrong.get(key, NONE), bad))
    find(findings, wrong, "are in another zone than the scenario says")
    return {
        "zone_truth_checked": checked,
        "zone_truth_mismatches": sum(size(pieces) for pieces in wrong.values()),
    }


def _derived(store: StoreReader, stored: ByStream, findings: list[str]) -> Derived:
    """Count derived events, and check that every parent that an edge names exists."""
    kinds = dict(store.rows('SELECT kind, sum("count")::BIGINT FROM events GROUP BY kind'))
    captured = store.scalar(
        'SELECT coalesce(sum("count"), 0)::BIGINT FROM events JOIN streams USING (source, '
        "stream) WHERE captured"
    )
    models = store.spread("SELECT source || '/' || stream, version, 1, 1, 1 FROM models")
    orphans: dict[str, Intervals] = {}
    parents = store.spread(
        f"SELECT {numbered('parent_')}, parent_first, parent_step, child_count, parent_width FROM edges"  # noqa: S608
    )
    for key, named_parents in parents.items():
        pieces, (wanted, event, model, over) = cover(
            named_parents, stored.get(key, NONE), models.get(key, NONE), store.over_of(key)
        )
        orphans[key] = pieces[(wanted > 0) & (event + model + over == 0)]
    find(findings, orphans, "are named as parents and are not in the store")
    versions = store.rows("SELECT version, examples, accuracy FROM models ORDER BY version")
    first = store.rows("SELECT epoch, published_ns FROM epochs WHERE rows > 0 ORDER BY epoch LIMIT 1")
    return {
        "derived": sum(kinds.values()) - captured,
        "answers": kinds.get("answer", 0),
        "feedback": kinds.get("feedback", 0),
        "examples": store.scalar(
            "SELECT coalesce(sum(\"count\"), 0)::BIGINT FROM events WHERE kind = 'example' AND source <> "
            "'training'"
        ),
        # An example from spoken feedback has the model version that understood it among its parents.
        "examples_spoken": store.scalar(
            "SELECT coalesce(sum(child_count), 0)::BIGINT FROM edges WHERE operator = 'example' "
            "AND parent_stream = 'intent-model'"
        ),
        "kinds": sorted(kinds),
        "zones": sorted(str(zone) for (zone,) in store.rows("SELECT DISTINCT zone FROM events")),
        "examples_refused": store.scalar(
            'SELECT coalesce(sum("count"), 0)::BIGINT FROM (SELECT DISTINCT source, stream, "first", '
            '"count" '
            "FROM decisions WHERE sink = 'training-run' AND NOT passed)"
        ),
        "models": [
            {"version": version, "examples": examples, "accuracy": accuracy}
            for version, examples, accuracy in versions
        ],
        "edges": store.scalar("SELECT coalesce(sum(child_count * parent_width), 0)::BIGINT FROM edges"),
        "orphan_parents": sum(size(pieces) for pieces in orphans.values()),
        "epochs": store.scalar("SELECT count(*) FROM epochs"),
        "first_epoch": first[0][0] if first else None,
        "first_epoch_published_ns": first[0][1] if first else None,
    }


def _sent_to_visible_ms(journal: Journals, store: StoreReader, since_ns: int) -> Milliseconds:
    """Time from sending an acknowledged batch to publishing the epoch with its last event."""
    visible = store.grouped(
        'SELECT e.source || \'/\' || e.stream, e."first", e."first" + e."count" AS after, p.published_ns '
        'FROM events e JOIN epochs p USING (epoch) ORDER BY e."first"'
    )
    waited = [
        _waited_ns(journal.batches[key], first, after, published_ns, since_ns)
        for key, (first, after, published_ns) in visible.items()
        if key in journal.batches
    ]
    all_waited_ns = np.concatenate(waited) if waited else np.empty(0, np.int64)
    if not all_waited_ns.size:
        return {"p50": None, "p99": None}
    p50, p99 = (round(float(value) / 1e6, 1) for value in np.percentile(all_waited_ns, (50, 99)))
    return {"p50": p50, "p99": p99}


def _waited_ns(batches: Batches, first: Ints, after: Ints, published_ns: Ints, since_ns: int) -> Ints:
    """Waiting times in ns of the acknowledged batches of one stream that are completely in the store."""
    begin, count, sent_ns = column(batches.first), column(batches.count), column(batches.sent_ns)
    acked = np.frombuffer(batches.acked, np.int8).astype(bool)
    index = first.searchsorted(begin + count - 1, "right") - 1
    visible = acked & (sent_ns >= since_ns) & (index >= 0) & (after[index] >= begin + count)
    waited: Ints = published_ns[index[visible]] - sent_ns[visible]
    return waited
