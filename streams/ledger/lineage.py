"""Compare the lineage of a live store with that of a replay with its recorded inputs.

Offsets, epochs and the division into runs are not compared. Edges and decisions are compared event by event,
everything else row by row. Like the ledger, the comparison checks the pipeline and shares no code with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from streams.ledger.over import Over
from streams.ledger.repeated import NO_CANDIDATES, ROWS, RUNS, Rows
from streams.ledger.result import Comparison
from streams.ledger.sealed import sealed_values
from streams.ledger.sources import StoreReader
from streams.ledger.spans import Difference, Marks, differences, spans_of

NAMED_MAX = 5
#: Columns of events that are keyed digests if the value is sealed.
_KEYED = frozenset({'"digest"', '"split_from"'})
_SHOWN_CHARACTERS_MAX = 40


#: Tables in the order of the report.
COMPARED = ("events", *RUNS, *(table for table in ROWS if table != "events"))


def compare(
    store_dir: Path,
    replay_dir: Path,
    *,
    candidates: bool = True,
    sealed: bool = True,
    unread: Sequence[str] = (),
) -> Comparison:
    """Compare the newest epochs of a live store and of a replay's store.

    Returns `tables` (for each, how much was `compared` and how much `differ`s: in events for events and
    decisions, in pairs of events for edges, else in rows), `differences` (sentences, at most 5 per table),
    `events_expired` and `equal`. Needs about 1 GB of memory for two million batches.

    Parameters
    ----------
    candidates
        False leaves out malformed records of `glasses.examples`, because the replay did not have their bytes.
    sealed
        False leaves out the digests of sealed values, because the replay did not have the keys for them.
    unread
        Ids of examples of the replay that no recorded input names: differences, but for those that are over.

    Raises
    ------
    UnavailableError
        One of the stores has no epoch.
    """
    readers = StoreReader(store_dir), StoreReader(replay_dir)
    try:
        over = Over(*readers)
        by_table = {
            table: _rows(readers, over, table, candidates=candidates, sealed=sealed)
            if table in ROWS
            else _runs(readers, over, table)
            for table in COMPARED
        }
        lacking = over.lacking(unread)
    finally:
        for reader in readers:
            reader.close()
    sentences = [sentence for _, _, of_table in by_table.values() for sentence in of_table]
    return {
        "tables": {
            table: {"compared": compared, "differ": differ}
            for table, (compared, differ, _) in by_table.items()
        },
        "differences": [*sentences, *_unread(lacking)],
        "events_expired": over.events,
        "equal": not lacking and not any(differ for _, differ, _ in by_table.values()),
    }


def _unread(ids: Sequence[str]) -> Iterator[str]:
    if ids:
        yield (
            f"inputs: {len(ids):,} examples were made and no recorded input says that training read them: "
            f"{', '.join(ids[:NAMED_MAX])}"
        )


def lines(result: Comparison) -> list[str]:
    """Format the result of `compare` as text."""
    counts = ", ".join(
        f"{table.replace('_', ' ')} {counted['differ']:,} differ of {counted['compared']:,}"
        for table, counted in result["tables"].items()
    )
    expired = result["events_expired"]
    return [
        f"lineage   {counts}; {'equal' if result['equal'] else 'not equal'}",
        *(
            [f"expired   {expired:,} events are over in the live store and were not compared"]
            if expired
            else ()
        ),
        *(f"FOUND     {difference}" for difference in result["differences"]),
    ]


def _mark(columns: Iterable[str]) -> str:
    """SQL for a hash of 64 bits that identifies a row."""
    return f"hash({', '.join(columns)})"


def _quoted(columns: Iterable[str]) -> list[str]:
    return [f'"{column}"' for column in columns]


# -- row by row ----------------------------------------------------------------


def _rows(
    readers: tuple[StoreReader, StoreReader], over: Over, table: str, *, candidates: bool, sealed: bool
) -> tuple[int, int, list[str]]:
    """(how much was compared, how much differs, sentences) of a table that is compared row by row."""
    # A store of 0.1.0 lacks some columns.
    known = readers[0].names(table) & readers[1].names(table)
    spec = replace(ROWS[table], columns=tuple(name for name in ROWS[table].columns if name in known))
    where = NO_CANDIDATES if table == "rejected" and not candidates else spec.where
    every, rows = _quoted((*spec.key, *spec.columns)), over.without(table)
    if table == "events" and not sealed:
        closed = f"({sealed_values(*readers)})"
        every = [f"CASE WHEN {closed} THEN '' ELSE {name} END" if name in _KEYED else name for name in every]
    sides = [
        reader.columns(
            f"SELECT {_mark(_quoted(spec.key))} AS key, {_mark(every)} AS row, "  # noqa: S608
            f"({spec.events})::BIGINT AS events FROM {rows} WHERE {where}"
        )
        for reader in readers
    ]
    odd = _uneven(sides[0]["row"], sides[1]["row"])
    compared, differing = int(sides[0]["events"].sum()), dict[int, list[int]]()
    for side, columns in enumerate(sides):
        here = np.isin(columns["row"], odd)
        for key, events in zip(columns["key"][here].tolist(), columns["events"][here].tolist(), strict=True):
            differing.setdefault(key, [0, 0])[side] += events
    if not differing:
        return compared, 0, []
    chosen = sorted(differing)[:NAMED_MAX]
    statement = (
        f"SELECT {', '.join(every)} FROM {rows} WHERE {where} AND {_mark(_quoted(spec.key))} "  # noqa: S608
        f"IN ({', '.join(map(str, chosen))})"
    )
    sentences = _sentences(table, spec, *(reader.rows(statement) for reader in readers))
    return compared, sum(max(events) for events in differing.values()), sentences[:NAMED_MAX]


def _uneven(a: Marks, b: Marks) -> Marks:
    """Hashes that one side has more often than the other."""
    marks, index = np.unique(np.concatenate((a, b)), return_inverse=True)
    times = [np.bincount(part, minlength=marks.size) for part in (index[: a.size], index[a.size :])]
    uneven: Marks = marks[times[0] != times[1]]
    return uneven


def _sentences(
    table: str, spec: Rows, live: Sequence[tuple[Any, ...]], replayed: Sequence[tuple[Any, ...]]
) -> list[str]:
    only = Counter(live) - Counter(replayed), Counter(replayed) - Counter(live)
    sides = [_by_key(some.elements(), len(spec.key)) for some in only]
    sentences = []
    for key in sorted(sides[0].keys() | sides[1].keys(), key=str):
        name = f"{table}: {'/'.join(str(part) for part in key)}"
        original, replica = sides[0].get(key, []), sides[1].get(key, [])
        for a, b in zip(original, replica, strict=False):
            pairs = zip(spec.columns, a[len(spec.key) :], b[len(spec.key) :], strict=True)
            sentences.append(
                f"{name} differs in "
                + ", ".join(
                    f"{column} ({_shown(x)} in the store, {_shown(y)} in the replay)"
                    for column, x, y in pairs
                    if x != y
                )
            )
        sentences += [f"{name} is in the store and not in the replay"] * (len(original) > len(replica))
        sentences += [f"{name} is in the replay and not in the store"] * (len(replica) > len(original))
    return sentences


def _by_key(rows: Iterable[tuple[Any, ...]], width: int) -> dict[tuple[Any, ...], list[tuple[Any, ...]]]:
    by_key: dict[tuple[Any, ...], list[tuple[Any, ...]]] = {}
    for row in sorted(rows, key=str):
        by_key.setdefault(row[:width], []).append(row)
    return by_key


def _shown(value: object) -> str:
    text = str(value)
    return text if len(text) <= _SHOWN_CHARACTERS_MAX else f"{text[:_SHOWN_CHARACTERS_MAX]}…"


# -- event by event --------------------------------------------------------------


def _runs(readers: tuple[StoreReader, StoreReader], over: Over, table: str) -> tuple[int, int, list[str]]:
    """(how much was compared, how much differs, sentences) of a table that is compared event by event."""
    spec, key = RUNS[table], _mark(_known(readers, table))
    numbers = ", ".join(
        f"({column})::BIGINT AS {name}"
        for column, name in zip(
            spec.numbers, ("first", "step", "count", "parent", "parent_step", "width"), strict=False
        )
    )
    sides = [
        spans_of(reader.columns(f"SELECT {key} AS key, {numbers} FROM {over.without(table)}"))  # noqa: S608
        for reader in readers
    ]
    compared = int((sides[0].count * sides[0].width).sum())
    differ, named = differences(sides[0], sides[1], NAMED_MAX)
    sentences = [_sentence(readers, table, difference) for difference in named]
    if table == "decisions":
        moved, more = _times(readers, over)
        differ, sentences = differ + moved, sentences + more
    return compared, differ, sentences[:NAMED_MAX]


def _known(readers: tuple[StoreReader, StoreReader], table: str) -> tuple[str, ...]:
    """Key columns that both stores have; older stores have no revisions."""
    names = readers[0].names(table) & readers[1].names(table)
    return tuple(name for name in RUNS[table].key if name in names)


def _corrected(about: Mapping[str, Any], side: str) -> str:
    """Suffix with the revision in the id of a corrected event, empty for revision 0."""
    revision = about.get(f"{side}_revision", 0)
    return f".{revision}" if revision else ""


def _sentence(readers: tuple[StoreReader, StoreReader], table: str, difference: Difference) -> str:
    key = _known(readers, table)
    statement = f"SELECT {', '.join(key)} FROM {table} WHERE {_mark(key)} = {difference.key} LIMIT 1"  # noqa: S608
    about = dict(zip(key, next(row for reader in readers for row in reader.rows(statement)), strict=True))
    times = f"{abs(difference.surplus)} more in the {'store' if difference.surplus > 0 else 'replay'}"
    if table == "edges":
        loosened = f"{', declassified by ' * bool(about['declassifier'])}{about['declassifier']}"
        parents = (
            str(difference.low)
            if difference.high - difference.low == 1
            else f"{difference.low}-{difference.high - 1}"
        )
        child, parent = _corrected(about, "child"), _corrected(about, "parent")
        return (
            f"edges: {about['child_source']}/{about['child_stream']}/{difference.child}{child} from "
            f"{about['parent_source']}/{about['parent_stream']}/{parents}{parent} by {about['operator']} "
            f"{about['operator_version']}, {about['directness']}{loosened}: {times}"
        )
    more = ", ".join(
        f"{name} {_shown(value)}"
        for name, value in about.items()
        if name not in ("source", "stream", "sink", "verdict")
    )
    return (
        f"decisions: {about['verdict']} of {about['source']}/{about['stream']}/{difference.child} to "
        f"{about['sink']} ({more}): {times}"
    )


def _times(readers: tuple[StoreReader, StoreReader], over: Over) -> tuple[int, list[str]]:
    """Decisions that begin at the same event in both stores but have different times; (number, sentences).

    An event with revisions has a decision for each, and which of them begins a run depends on the fetches, so
    its decisions are left out.
    """
    key = _mark((*RUNS["decisions"].key, '"first"'))
    times = sorted({"t_ns", "appended_ns"} & readers[0].names("decisions") & readers[1].names("decisions"))
    sides = []
    for reader in readers:
        # Older stores have no revisions.
        revised = "revision > 0" if "revision" in reader.names("events") else "false"
        columns = reader.columns(
            f"SELECT {key} AS key, min({_mark(times)}) AS times FROM {over.begun()} AS d WHERE NOT EXISTS ("  # noqa: S608
            f"FROM events AS e WHERE {revised} AND e.source = d.source AND e.stream = d.stream "
            'AND e."first" = d."first") GROUP BY 1 ORDER BY 1'
        )
        sides.append((columns["key"], columns["times"]))
    _, at, at_replayed = np.intersect1d(sides[0][0], sides[1][0], assume_unique=True, return_indices=True)
    other = np.flatnonzero(sides[0][1][at] != sides[1][1][at_replayed])
    sentences = []
    for mark in sides[0][0][at][other][:NAMED_MAX].tolist():
        source, stream, first, sink = readers[0].rows(
            f'SELECT source, stream, "first", sink FROM decisions WHERE {key} = {mark}'  # noqa: S608
        )[0]
        sentences.append(f"decisions: that of {source}/{stream}/{first} to {sink} differs in its time")
    return other.size, sentences
