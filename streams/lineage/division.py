"""Part the rows of a lineage table into those of selected wearers and all others.

A row that is theirs only in part is split: runs of events exactly (law 3), a list of what wearers said or of
examples by what it lists. Nothing of the others is lost or doubled.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streams.consent.erased import ErasedTime
from streams.lineage.naming import examples, is_selected, statements
from streams.lineage.ranges import Part, Ranges, outside
from streams.lineage.selection import Selection
from streams.lineage.tables import CONSENT_TAKEUP, EXAMPLE_ORDER, NO_EXAMPLE, STORED, TABLES
from streams.policy.rules import PERSONAL_CHECKS
from streams.quoting import quoted
from streams.topology import TRAINING_SOURCE

Numbers = NDArray[np.int64]
Mask = NDArray[np.bool_]
#: Tables with few rows, which name wearers or events in a text.
_LISTS = frozenset({"inputs", "training_runs", "training_checks"})
#: Columns with devices.
_DEVICES: Mapping[str, tuple[str, ...]] = {
    "edges": ("child_source", "parent_source"),
    **dict.fromkeys(
        ("events", "decisions", "rejected", "feedback", "zone_runs", "streams", "shadow"), ("source",)
    ),
}


class Divided(NamedTuple):
    """The rows of a table that remain without the selected ones, and those; split rows are in both.

    The order of the rows may have changed.
    """

    kept: pa.Table
    taken: pa.Table


def touched(selection: Selection, table: str) -> str:
    """SQL condition for the rows of a table that `divide` may have to take or split; it may be too wide."""
    if table in _LISTS:
        return "true"
    conditions = (
        f"{column} IN ({', '.join(map(quoted, sorted(names))) or 'NULL'})"
        for column, names in _names(selection, table).items()
    )
    return " OR ".join(conditions) or "false"


def divide(selection: Selection, table: str, rows: pa.Table) -> Divided:
    """Part rows of a table."""
    candidates = _candidates(selection, table, rows)
    if not candidates.any():
        return Divided(rows, rows.slice(0, 0))
    others, some = rows.filter(pa.array(~candidates)), rows.filter(pa.array(candidates))
    kept, taken = _DIVIDED[table](selection, some)
    return Divided(pa.concat_tables([others, kept]), taken)


def _names(selection: Selection, table: str) -> Mapping[str, Collection[str]]:
    """Names of devices and wearers by which rows are candidates, by column."""
    devices = dict.fromkeys(_DEVICES.get(table, ()), selection.sources)
    return {**devices, **({"wearer": selection.times} if "wearer" in _columns(table) else {})}


def _columns(table: str) -> Collection[str]:
    return {**TABLES, **STORED}[table].keys()


def _candidates(selection: Selection, table: str, rows: pa.Table) -> Mask:
    """The rows that `touched` names."""
    if table in _LISTS:
        return np.ones(len(rows), bool)
    masks = [_are(rows, name, names.__contains__) for name, names in _names(selection, table).items()]
    candidates: Mask = np.any([np.zeros(len(rows), bool), *masks], axis=0)
    return candidates


def _words(rows: pa.Table, name: str) -> tuple[list[Any], Numbers]:
    """Distinct values of a column, and the index of each row's value."""
    column = rows.column(name).combine_chunks()
    words = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    return words.dictionary.to_pylist(), words.indices.to_numpy().astype(np.int64)


def _are(rows: pa.Table, name: str, fits: Callable[[str], bool]) -> Mask:
    """Rows whose text fits."""
    values, codes = _words(rows, name)
    if not len(rows):
        return np.zeros(0, bool)
    fitting = np.fromiter((fits(value) for value in values), bool, len(values))
    mask: Mask = fitting[codes]
    return mask


def _keys(rows: pa.Table, names: Sequence[str]) -> tuple[list[tuple[Any, ...]], Numbers]:
    """Distinct combinations of some columns, and the index of each row's combination."""
    columns = [_words(rows, name) for name in names]
    codes = np.stack([codes for _, codes in columns], 1)
    distinct, of = np.unique(codes, axis=0, return_inverse=True)
    keys = [
        tuple(values[code] for (values, _), code in zip(columns, row, strict=True))
        for row in distinct.tolist()
    ]
    return keys, of.reshape(-1).astype(np.int64)


def _numbers(rows: pa.Table, name: str) -> Numbers:
    values: Numbers = rows.column(name).to_numpy()
    return values


def _parted(rows: pa.Table, taken: Mask) -> Divided:
    """Part rows that are not split."""
    return Divided(rows.filter(pa.array(~taken)), rows.filter(pa.array(taken)))


class _Runs(NamedTuple):
    """How the runs of a table are named, and how a part of one is cut out of its rows."""

    first: str
    step: str
    length: str
    cut: Callable[[pa.Table, Numbers, Numbers], pa.Table]


def _set(rows: pa.Table, name: str, values: Numbers) -> pa.Table:
    # Indexes have some columns in 32 bits.
    kind = rows.schema.field(name).type
    return rows.set_column(rows.column_names.index(name), name, pa.array(values, pa.int64()).cast(kind))


def _cut_run(rows: pa.Table, begin: Numbers, end: Numbers) -> pa.Table:
    rows = _set(rows, "first", _numbers(rows, "first") + _numbers(rows, "step") * begin)
    return _set(rows, "count", end - begin + 1)


def _cut_edges(rows: pa.Table, begin: Numbers, end: Numbers) -> pa.Table:
    for side in ("child", "parent"):
        name = f"{side}_first"
        rows = _set(rows, name, _numbers(rows, name) + _numbers(rows, f"{side}_step") * begin)
    return _set(rows, "child_count", end - begin + 1)


_RUN = _Runs("first", "step", "count", _cut_run)
_EDGE = _Runs("child_first", "child_step", "child_count", _cut_edges)


def _split(
    rows: pa.Table, runs: _Runs, names: Sequence[str], ranges: Ranges, *, keep: bool = False
) -> Divided:
    """Part runs by the numbers in `ranges` of their key: these are taken, or with `keep` all others are."""
    keys, of = _keys(rows, names)
    first, step, count = (_numbers(rows, name) for name in (runs.first, runs.step, runs.length))
    touched_rows, whole = ranges.overlap(keys, of, first, first + step * np.maximum(count - 1, 0))
    split = np.flatnonzero(touched_rows & ~whole)
    left, cut = list[tuple[int, Part]](), list[tuple[int, Part]]()
    for row in split.tolist():
        inside = ranges.inside(keys[of[row]], int(first[row]), int(step[row]), int(count[row]))
        cut += [(row, part) for part in inside]
        left += [(row, part) for part in outside(inside, int(count[row]))]
    kept, taken = (
        pa.concat_tables([rows.filter(pa.array(mask)), _pieces(rows, runs, some)])
        for mask, some in ((~touched_rows, left), (whole, cut))
    )
    return Divided(taken, kept) if keep else Divided(kept, taken)


def _pieces(rows: pa.Table, runs: _Runs, pieces: Sequence[tuple[int, Part]]) -> pa.Table:
    if not pieces:
        return rows.slice(0, 0)
    at = rows.take(pa.array([row for row, _ in pieces], pa.int64()))
    begin, end = (np.array([part[side] for _, part in pieces], np.int64) for side in (0, 1))
    return runs.cut(at, begin, end)


def _joined(*parts: Divided) -> Divided:
    return Divided(*(pa.concat_tables(some) for some in zip(*parts, strict=True)))


def _events(selection: Selection, rows: pa.Table) -> Divided:
    keys, of = _keys(rows, ("source", "stream", "revision"))
    first = _numbers(rows, "first")
    return _parted(rows, selection.events.overlap(keys, of, first, first)[0])


def _edges(selection: Selection, rows: pa.Table) -> Divided:
    """Edges of selected children; of model versions, which stay, the edges to selected parents."""
    trained = _are(rows, "child_source", TRAINING_SOURCE.__eq__)
    made, models = rows.filter(pa.array(~trained)), rows.filter(pa.array(trained))
    of_child = ("child_source", "child_stream", "child_revision")
    divided = _split(made, _EDGE, of_child, selection.exact)
    return _joined(divided, _parents(selection, models)) if len(models) else divided


def _parents(selection: Selection, rows: pa.Table) -> Divided:
    keys, of = _keys(rows, ("parent_source", "parent_stream", "parent_revision"))
    first, step, width = (_numbers(rows, f"parent_{name}") for name in ("first", "step", "width"))
    count = _numbers(rows, "child_count")
    hit, whole = selection.exact.overlap(keys, of, first, first + step * (count - 1) + width - 1)
    left, cut = list[tuple[int, int, Part]](), list[tuple[int, int, Part]]()
    for row in np.flatnonzero(hit & ~whole).tolist():
        for nth in range(int(count[row])):
            begins = int(first[row] + step[row] * nth)
            inside = selection.exact.inside(keys[of[row]], begins, 1, int(width[row]))
            cut += [(row, nth, part) for part in inside]
            left += [(row, nth, part) for part in outside(inside, int(width[row]))]
    return Divided(
        *(
            pa.concat_tables([rows.filter(pa.array(mask)), _of_parents(rows, some)])
            for mask, some in ((~hit, left), (whole, cut))
        )
    )


def _of_parents(rows: pa.Table, pieces: Sequence[tuple[int, int, Part]]) -> pa.Table:
    """Edges of one child each to some of its parents."""
    at = rows.take(pa.array([row for row, _, _ in pieces], pa.int64()))
    nth, begin, end = (
        np.array(values, np.int64)
        for values in (
            [nth for _, nth, _ in pieces],
            [part[0] for *_, part in pieces],
            [part[1] for *_, part in pieces],
        )
    )
    at = _cut_edges(at, nth, nth)
    return _set(
        _set(at, "parent_first", _numbers(at, "parent_first") + begin), "parent_width", end - begin + 1
    )


def _in_time(rows: pa.Table, name: str, t_ns: Numbers, times: Mapping[str, Sequence[ErasedTime]]) -> Mask:
    """Rows that are selected by what a column names, at their time."""
    values, codes = _words(rows, name)
    mask: Mask = np.zeros(len(rows), bool)
    for code, value in enumerate(values):
        for since_ns, until_ns in times.get(value, ()):
            mask |= (codes == code) & (since_ns <= t_ns) & (t_ns <= until_ns)
    return mask


def _bound(selection: Selection, rows: pa.Table) -> Mask:
    """Rows that name a selected wearer and were captured, or appended, in the wearer's time."""
    t_ns = _numbers(rows, "t_ns")
    if "appended_ns" in rows.column_names:
        appended_ns = _numbers(rows, "appended_ns")
        t_ns = np.where(appended_ns > 0, np.minimum(t_ns, appended_ns), t_ns)
    return _in_time(rows, "wearer", t_ns, selection.times)


def _of_devices(selection: Selection, rows: pa.Table) -> Mask:
    """Rows of devices that nobody else wore, in the time of their wearer."""
    return _in_time(rows, "source", _numbers(rows, "t_ns"), selection.alone)


def _decisions(selection: Selection, rows: pa.Table) -> Divided:
    own, nobodys = _bound(selection, rows), _are(rows, "wearer", "".__eq__)
    others = rows.filter(pa.array(~own & ~nobodys))
    named = ("source", "stream", "wearer")
    return _joined(
        # A decision may go on behind the time, over events that stay.
        _split(rows.filter(pa.array(own)), _RUN, named, selection.later, keep=True),
        _split(others, _RUN, named, selection.named),
        _nobodys(selection, rows.filter(pa.array(nobodys))),
    )


def _nobodys(selection: Selection, rows: pa.Table) -> Divided:
    """Runs without a wearer: by their numbers, and by the device if nobody else wore it."""
    device = _of_devices(selection, rows)
    split = _split(rows.filter(pa.array(~device)), _RUN, ("source", "stream"), selection.numbers)
    taken = rows.filter(pa.array(device))
    return Divided(split.kept, pa.concat_tables([split.taken, taken]))


def _rejected(selection: Selection, rows: pa.Table) -> Divided:
    """Rejected batches as a whole; what names no wearer goes by its numbers and its device."""
    keys, of = _keys(rows, ("source", "stream"))
    first, count = _numbers(rows, "first"), _numbers(rows, "count")
    hit = selection.numbers.overlap(keys, of, first, first + np.maximum(count - 1, 0))[0] & (count > 0)
    nobodys = _are(rows, "wearer", "".__eq__)
    return _parted(rows, _bound(selection, rows) | (nobodys & (hit | _of_devices(selection, rows))))


def _feedback(selection: Selection, rows: pa.Table) -> Divided:
    """Opinions of the wearer, and those about answers that are selected."""
    hit = np.zeros(len(rows), bool)
    for stream, number in (("stream", "first"), ("answer_stream", "answer")):
        keys, of = _keys(rows, ("source", stream))
        hit |= selection.numbers.overlap(keys, of, *(_numbers(rows, number),) * 2)[0]
    return _parted(rows, hit | _bound(selection, rows))


def _zone_runs(selection: Selection, rows: pa.Table) -> Divided:
    """Runs that name a selected wearer stay where the wearer has events that stay.

    Others are not changed: a run tells the class of its numbers, not that they exist.
    """
    keys, of = _keys(rows, ("source", "stream"))
    cut = np.fromiter((key in selection.cut for key in keys), bool, len(keys))[of]
    own = cut & _are(rows, "wearer", selection.times.__contains__)
    low = _numbers(rows, "low")
    runs = rows.append_column("first", pa.array(low)).append_column("step", pa.array(np.ones_like(low)))
    runs = runs.append_column("count", pa.array(_numbers(rows, "high") - low + 1))
    names = ("source", "stream", "revision", "wearer")
    divided = _split(runs.filter(pa.array(own)), _RUN, names, selection.later_exact, keep=True)
    kept, taken = (_as_zone_runs(some).select(rows.column_names) for some in divided)
    return Divided(pa.concat_tables([rows.filter(pa.array(~own)), kept]), taken)


def _as_zone_runs(runs: pa.Table) -> pa.Table:
    first = _numbers(runs, "first")
    return _set(_set(runs, "low", first), "high", first + _numbers(runs, "count") - 1)


def _streams(selection: Selection, rows: pa.Table) -> Divided:
    names = zip(rows.column("source").to_pylist(), rows.column("stream").to_pylist(), strict=True)
    taken = (stream in selection.streams or stream[0] in selection.silent for stream in names)
    return _parted(rows, np.fromiter(taken, bool, len(rows)))


def _inputs(selection: Selection, rows: pa.Table) -> Divided:
    halves = [
        _half(selection, kind, value)
        for kind, value in zip(rows.column("kind").to_pylist(), rows.column("value").to_pylist(), strict=True)
    ]
    return _rewritten(rows, "value", halves)


def _half(selection: Selection, kind: str, value: str) -> tuple[str, str]:
    if kind == CONSENT_TAKEUP:
        return statements(selection.said_in, value)
    return examples(selection, value) if kind == EXAMPLE_ORDER else (value, "")


def _rewritten(rows: pa.Table, name: str, halves: Sequence[tuple[str, str]]) -> Divided:
    """Rows with another text in a column; those whose text is left empty are not taken."""
    at, kind = rows.column_names.index(name), rows.schema.field(name).type
    kept, taken = (
        rows.set_column(at, name, texts.dictionary_encode() if pa.types.is_dictionary(kind) else texts)
        for side in (0, 1)
        for texts in (pa.array([half[side] for half in halves], pa.string()),)
    )
    return Divided(kept, taken.filter(pa.array([bool(half[1]) for half in halves])))


def _triggers(selection: Selection, rows: pa.Table) -> Divided:
    """Training runs stay, and do not name the selected example that began them."""
    texts = rows.column("trigger").to_pylist()
    halves = [(NO_EXAMPLE, text) if is_selected(selection, text) else (text, "") for text in texts]
    return _rewritten(rows, "trigger", halves)


def _checks(selection: Selection, rows: pa.Table) -> Divided:
    """Checks stay, and do not name the wearer, or the device that nobody else wore."""
    personal = _are(rows, "name", PERSONAL_CHECKS.__contains__)
    names = {**selection.alone, **selection.times}
    subjects, t_ns = rows.column("subject").to_pylist(), _numbers(rows, "t_ns")
    halves = [
        (NO_EXAMPLE, subject)
        if is_one and any(time.has(at_ns, at_ns) for time in names.get(subject, ()))
        else (subject, "")
        for subject, at_ns, is_one in zip(subjects, t_ns.tolist(), personal.tolist(), strict=True)
    ]
    return _rewritten(rows, "subject", halves)


_DIVIDED: Mapping[str, Callable[[Selection, pa.Table], Divided]] = {
    "events": _events,
    "edges": _edges,
    "decisions": _decisions,
    "rejected": _rejected,
    "shadow": _nobodys,
    "feedback": _feedback,
    "zone_runs": _zone_runs,
    "streams": _streams,
    "inputs": _inputs,
    "training_runs": _triggers,
    "training_checks": _checks,
}
#: Tables with rows of wearers; the rows of all others are of nobody, or of all together.
PERSONAL: Collection[str] = _DIVIDED.keys()
