"""Take what is erased out of a poll, before it is checked and stored.

What was captured before an erasure can arrive after it: when a store is filled again from Kafka, when a
backup of it is put back, or late. Rows that name the wearer tell by themselves. The others go by the runs of
the wearer's events, of this poll and remembered from all before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import duckdb
import numpy as np
import orjson
import pyarrow as pa

from streams.consent.erased import ErasedParts, ErasedTime, with_erased
from streams.lineage.division import PERSONAL, divide
from streams.lineage.parting import keys_of
from streams.lineage.ranges import Ranges
from streams.lineage.selection import KNOWN, READ, Selection
from streams.lineage.stays import looks, stays_at
from streams.lineage.tables import CONSENT_TAKEUP, EXAMPLE_ORDER, TABLES
from streams.snapshots.epochs.hot import Hot
from streams.snapshots.erasing.erasures import PERHAPS_ALONE, Erasures
from streams.snapshots.intake import decode
from streams.snapshots.intake.lookup import Lookup
from streams.snapshots.rows.poll import Poll, numbers

_STREAM = ("source", "stream")


def withhold(poll: Poll, erasures: Erasures, hot: Hot, known: Lookup) -> bool:
    """Leave out rows of erased wearers, without a trace in `rejected`; returns whether any runs are new.

    What is learned of their runs is on disk before the rows of the poll are.
    """
    if erasures.mark is None:
        return False
    parts = erasures.parts(set(_wearers(poll)))
    whole = {wearer: each.words for wearer, each in parts.items() if each.words}
    fresh = _withhold(poll, erasures, hot, known, whole, words=True)
    # Afterwards, because what they decided about their data does not go with a place.
    by_place = {
        wearer: with_erased(each.times, *_there(poll, wearer, each))
        for wearer, each in parts.items()
        if each.places
    }
    return (_withhold(poll, erasures, hot, known, by_place, words=False) if by_place else False) or fresh


def _there(poll: Poll, wearer: str, erased: ErasedParts) -> list[ErasedTime]:
    """When a poll says that a wearer was at a place of which everything was erased.

    It can be a stay of which nothing had arrived when it was looked for.
    """
    with duckdb.connect(config={"threads": 1}) as connection:
        looked = looks(connection, _relations(connection, poll), wearer)
    return [stay for where in erased.places for stay in stays_at(looked, where)]


def _withhold(
    poll: Poll,
    erasures: Erasures,
    hot: Hot,
    known: Lookup,
    bounds: Mapping[str, Sequence[ErasedTime]],
    *,
    words: bool,
) -> bool:
    streams = sorted(set(_streams(poll)))
    wearers = set(_wearers(poll))
    remembered = erasures.known(streams, wearers, certain=True)
    if not bounds and not len(remembered):
        return False
    with duckdb.connect(config={"threads": 1}) as connection:
        rows = _relations(connection, poll)
        selection = Selection(connection, rows, bounds, remembered, whole=False, words=words)
        if _forgotten(poll, selection, remembered, erasures, hot):
            remembered = erasures.known(streams, wearers, certain=True)
            selection = Selection(connection, rows, bounds, remembered, whole=False, words=words)
        for table in [*PERSONAL & poll.tables.keys()]:
            rows = poll.tables[table].append_column("row", pa.array(np.arange(len(poll.tables[table]))))
            kept, taken = divide(selection, table, rows)
            if len(taken):
                kept = kept.sort_by("row")
                owners = poll.owners[table][numbers(kept, "row")]
                poll.replace(table, kept.drop_columns(["row"]), owners)
        learned, named = _learned(selection, bounds), _named(poll, selection)
    _begin_streams(poll, remembered, known)
    with hot.transaction():
        fresh = erasures.remember(learned, alone=PERHAPS_ALONE)
        if fresh:
            erasures.owe(bounds)
        erasures.owe_of(named)
    return fresh or bool(named)


def _relations(connection: duckdb.DuckDBPyConnection, poll: Poll) -> Mapping[str, str]:
    """Names by which a connection reads the tables of a poll."""
    tables = [table for table in READ if table in poll.tables and len(poll.tables[table])]
    for table in tables:
        connection.register(f"poll_{table}", poll.tables[table])
    return {table: f"poll_{table}" for table in tables}


def _streams(poll: Poll) -> Iterator[tuple[str, str]]:
    """Streams that the rows of a poll name."""
    for table, prefixes in {
        "edges": ("child_", "parent_"),
        "feedback": ("",),
        **dict.fromkeys(("streams", "events", "decisions", "rejected", "shadow"), ("",)),
    }.items():
        if table in poll.tables and len(poll.tables[table]):
            for prefix in prefixes:
                for source, stream in poll.distinct(table, *(f"{prefix}{name}" for name in _STREAM))[0]:
                    yield source, stream
    texts = [text for value in _values(poll, EXAMPLE_ORDER) for text in value.split(" ")]
    if "training_runs" in poll.tables:
        texts += poll.words("training_runs", "trigger").values
    for text in texts:
        source, _, rest = text.partition("/")
        stream, slash, _ = rest.partition("/")
        if slash:
            yield source, stream


def _wearers(poll: Poll) -> Iterator[str]:
    """Everybody whom the rows of a poll name as a wearer, or as who said something."""
    for table, rows in poll.tables.items():
        if "wearer" in TABLES[table] and len(rows):
            yield from poll.words(table, "wearer").values
    if "training_checks" in poll.tables:
        yield from poll.words("training_checks", "subject").values
    for value in _values(poll, CONSENT_TAKEUP):
        yield from (row[0] for row in orjson.loads(value) if isinstance(row, list) and row)


def _values(poll: Poll, kind: str) -> Iterator[str]:
    """Values of the recorded inputs of a kind."""
    if "inputs" in poll.tables and len(poll.tables["inputs"]):
        chosen = poll.is_in("inputs", "kind", kind)
        yield from poll.tables["inputs"].column("value").filter(pa.array(chosen)).to_pylist()


def _forgotten(poll: Poll, selection: Selection, remembered: pa.Table, erasures: Erasures, hot: Hot) -> bool:
    """Take numbers of events that stay out of the remembered runs; returns whether there were any.

    Between numbers of an erased wearer an event of somebody else can arrive late.
    """
    if "events" not in poll.tables or not len(remembered):
        return False
    kept = divide(selection, "events", poll.tables["events"]).kept
    columns = {name: kept.column(name).to_pylist() for name in (*_STREAM, "revision", "first", "count")}
    keys = list(zip(*(columns[name] for name in (*_STREAM, "revision")), strict=True))
    runs = Ranges(
        ((row["source"], row["stream"], row["revision"]), row["low"], row["high"])
        for row in remembered.to_pylist()
        if row["stream"]
    )
    within = [
        (*key, first, first + count - 1)
        for key, first, count in zip(keys, columns["first"], columns["count"], strict=True)
        if runs.inside(key, first, 1, count)
    ]
    if within:
        with hot.transaction():
            erasures.forget_within(within)
    return bool(within)


def _named(poll: Poll, selection: Selection) -> list[tuple[str, str, int, int, int]]:
    """Runs of events that edges have as parents, each with erased ones, of children that the poll lacks.

    These were derived from what is erased, and lie in files, where no edge led to them until now.
    """
    edges = poll.tables.get("edges")
    if edges is None or not len(edges):
        return []
    keys, of = keys_of(edges, ("parent_source", "parent_stream", "parent_revision"))
    low = numbers(edges, "parent_first")
    last = numbers(edges, "parent_step") * (numbers(edges, "child_count") - 1)
    high = low + last + numbers(edges, "parent_width") - 1
    rows = np.flatnonzero(selection.exact.overlap(keys, of, low, high)[0]).tolist()
    # Model versions stay; what they name of erased events is left out of the poll already.
    return [(*keys[of[row]], int(low[row]), int(high[row])) for row in rows]


def _learned(selection: Selection, bounds: Mapping[str, Sequence[ErasedTime]]) -> pa.Table:
    """Runs of the poll's erased events, and the devices that they are of."""
    runs = selection.runs
    pairs = set(zip(runs.column("wearer").to_pylist(), runs.column("source").to_pylist(), strict=True))
    devices = [
        {"wearer": wearer, "source": source, "stream": "", "revision": 0, "low": low, "high": high}
        for wearer, source in sorted(pairs)
        for low, high in bounds.get(wearer, ())
    ]
    return pa.concat_tables([runs.cast(KNOWN), pa.Table.from_pylist(devices, KNOWN)])


def _begin_streams(poll: Poll, remembered: pa.Table, known: Lookup) -> None:
    """Add the row of a stream whose first events were erased, with the first event that stays.

    An agent writes that row once, with the first event of the stream, and it went with that.
    """
    erased = set(zip(*(remembered.column(name).to_pylist() for name in _STREAM), strict=True))
    if not erased or "events" not in poll.tables or not len(poll.tables["events"]):
        return
    kinds, of = poll.distinct("events", *_STREAM, "kind")
    begun = {names[:2]: at for at, names in enumerate(kinds) if names[:2] in erased}
    rows = poll.tables.get("streams")
    lacking = begun.keys() - (set() if rows is None else set(poll.distinct("streams", *_STREAM)[0]))
    lacking -= known.kinds(lacking).keys() if lacking else set()
    if not lacking:
        return
    names = [kinds[begun[stream]] for stream in sorted(lacking)]
    made = decode.arrow_of(
        "streams",
        {
            **{name: [row[at] for row in names] for at, name in enumerate((*_STREAM, "kind"))},
            "captured": [poll.kinds[kind].captured for *_, kind in names],
        },
    )
    owners = poll.owners["events"][[np.argmax(of == begun[stream]) for stream in sorted(lacking)]]
    if rows is not None:
        made = pa.concat_tables([rows, made])
        owners = np.concatenate([poll.owners["streams"], owners])
    poll.replace("streams", made, owners)
