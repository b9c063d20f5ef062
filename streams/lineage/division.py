"""Part the rows of a lineage table into those of selected wearers and all others.

A row that is theirs only in part is split: runs of events exactly (law 3), a list of what wearers said or of
examples by what it lists. Nothing of the others is lost or doubled.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
import pyarrow as pa

from streams.consent.erased import ErasedTime
from streams.lineage.naming import examples, is_selected, statements
from streams.lineage.parting import (
    EDGE,
    RUN,
    Divided,
    Mask,
    Numbers,
    are,
    joined,
    keys_of,
    numbers_of,
    parted,
    rewritten,
    split,
    split_parents,
    split_zone_runs,
    words_of,
)
from streams.lineage.selection import Selection
from streams.lineage.tables import CONSENT_TAKEUP, EXAMPLE_ORDER, NO_EXAMPLE, STORED, TABLES
from streams.policy.rules import PERSONAL_CHECKS
from streams.quoting import quoted
from streams.topology import TRAINING_SOURCE

#: Tables with few rows, which name wearers or events in a text.
_LISTS = frozenset({"inputs", "training_runs", "training_checks"})
#: Columns with devices.
_DEVICES: Mapping[str, tuple[str, ...]] = {
    "edges": ("child_source", "parent_source"),
    **dict.fromkeys(
        ("events", "decisions", "rejected", "feedback", "zone_runs", "streams", "shadow", "expired"),
        ("source",),
    ),
}


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
    masks = [are(rows, name, names.__contains__) for name, names in _names(selection, table).items()]
    candidates: Mask = np.any([np.zeros(len(rows), bool), *masks], axis=0)
    return candidates


def _events(selection: Selection, rows: pa.Table) -> Divided:
    keys, of = keys_of(rows, ("source", "stream", "revision"))
    first = numbers_of(rows, "first")
    return parted(rows, selection.events.overlap(keys, of, first, first)[0])


def _edges(selection: Selection, rows: pa.Table) -> Divided:
    """Edges of selected children; of model versions, which stay, the edges to selected parents."""
    trained = are(rows, "child_source", TRAINING_SOURCE.__eq__)
    made, models = rows.filter(pa.array(~trained)), rows.filter(pa.array(trained))
    of_child = ("child_source", "child_stream", "child_revision")
    divided = split(made, EDGE, of_child, selection.exact)
    return joined(divided, split_parents(models, selection.exact)) if len(models) else divided


def _in_time(rows: pa.Table, name: str, t_ns: Numbers, times: Mapping[str, Sequence[ErasedTime]]) -> Mask:
    """Rows that are selected by what a column names, at their time."""
    values, codes = words_of(rows, name)
    mask: Mask = np.zeros(len(rows), bool)
    for code, value in enumerate(values):
        for since_ns, until_ns in times.get(value, ()):
            mask |= (codes == code) & (since_ns <= t_ns) & (t_ns <= until_ns)
    return mask


def _bound(selection: Selection, rows: pa.Table) -> Mask:
    """Rows that name a selected wearer and were captured, or appended, in the wearer's time."""
    t_ns = numbers_of(rows, "t_ns")
    if "appended_ns" in rows.column_names:
        appended_ns = numbers_of(rows, "appended_ns")
        t_ns = np.where(appended_ns > 0, np.minimum(t_ns, appended_ns), t_ns)
    return _in_time(rows, "wearer", t_ns, selection.times)


def _of_devices(selection: Selection, rows: pa.Table) -> Mask:
    """Rows of devices that nobody else wore, in the time of their wearer."""
    return _in_time(rows, "source", numbers_of(rows, "t_ns"), selection.alone)


def _decisions(selection: Selection, rows: pa.Table) -> Divided:
    own, nobodys = _bound(selection, rows), are(rows, "wearer", "".__eq__)
    others = rows.filter(pa.array(~own & ~nobodys))
    named = ("source", "stream", "wearer")
    return joined(
        # A decision may go on behind the time, over events that stay.
        split(rows.filter(pa.array(own)), RUN, named, selection.later, keep=True),
        split(others, RUN, named, selection.named),
        _nobodys(selection, rows.filter(pa.array(nobodys))),
    )


def _nobodys(selection: Selection, rows: pa.Table) -> Divided:
    """Runs without a wearer: by their numbers, and by the device if nobody else wore it."""
    device = _of_devices(selection, rows)
    kept, taken = split(rows.filter(pa.array(~device)), RUN, ("source", "stream"), selection.numbers)
    return Divided(kept, pa.concat_tables([taken, rows.filter(pa.array(device))]))


def _rejected(selection: Selection, rows: pa.Table) -> Divided:
    """Rejected batches as a whole; what names no wearer goes by its numbers and its device."""
    keys, of = keys_of(rows, ("source", "stream"))
    first, count = numbers_of(rows, "first"), numbers_of(rows, "count")
    hit = selection.numbers.overlap(keys, of, first, first + np.maximum(count - 1, 0))[0] & (count > 0)
    nobodys = are(rows, "wearer", "".__eq__)
    return parted(rows, _bound(selection, rows) | (nobodys & (hit | _of_devices(selection, rows))))


def _feedback(selection: Selection, rows: pa.Table) -> Divided:
    """Opinions of the wearer, and those about answers that are selected."""
    hit = np.zeros(len(rows), bool)
    for stream, number in (("stream", "first"), ("answer_stream", "answer")):
        keys, of = keys_of(rows, ("source", stream))
        hit |= selection.numbers.overlap(keys, of, *(numbers_of(rows, number),) * 2)[0]
    return parted(rows, hit | _bound(selection, rows))


def _zone_runs(selection: Selection, rows: pa.Table) -> Divided:
    """Runs that name a selected wearer stay where the wearer has events that stay.

    Others are not changed: a run tells the class of its numbers, not that they exist.
    """
    keys, of = keys_of(rows, ("source", "stream"))
    cut = np.fromiter((key in selection.cut for key in keys), bool, len(keys))[of]
    own = cut & are(rows, "wearer", selection.times.__contains__)
    names = ("source", "stream", "revision", "wearer")
    kept, taken = split_zone_runs(rows.filter(pa.array(own)), names, selection.later_exact, keep=True)
    return Divided(pa.concat_tables([rows.filter(pa.array(~own)), kept]), taken)


def _streams(selection: Selection, rows: pa.Table) -> Divided:
    names = zip(rows.column("source").to_pylist(), rows.column("stream").to_pylist(), strict=True)
    taken = (stream in selection.streams or stream[0] in selection.silent for stream in names)
    return parted(rows, np.fromiter(taken, bool, len(rows)))


def _expired(selection: Selection, rows: pa.Table) -> Divided:
    """What is over names nobody, so it goes by the device alone."""
    return parted(rows, _in_time(rows, "source", numbers_of(rows, "appended_ns"), selection.alone))


def _inputs(selection: Selection, rows: pa.Table) -> Divided:
    halves = [
        _half(selection, kind, value)
        for kind, value in zip(rows.column("kind").to_pylist(), rows.column("value").to_pylist(), strict=True)
    ]
    return rewritten(rows, "value", halves)


def _half(selection: Selection, kind: str, value: str) -> tuple[str, str]:
    if kind == CONSENT_TAKEUP:
        return statements(selection.said_in, value)
    return examples(selection, value) if kind == EXAMPLE_ORDER else (value, "")


def _triggers(selection: Selection, rows: pa.Table) -> Divided:
    """Training runs stay, and do not name the selected example that began them."""
    texts = rows.column("trigger").to_pylist()
    halves = [(NO_EXAMPLE, text) if is_selected(selection, text) else (text, "") for text in texts]
    return rewritten(rows, "trigger", halves)


def _checks(selection: Selection, rows: pa.Table) -> Divided:
    """Checks stay, and do not name the wearer, or the device that nobody else wore."""
    personal = are(rows, "name", PERSONAL_CHECKS.__contains__)
    names = {**selection.alone, **selection.times}
    subjects, t_ns = rows.column("subject").to_pylist(), numbers_of(rows, "t_ns")
    halves = [
        (NO_EXAMPLE, subject)
        if is_one and any(time.has(at_ns, at_ns) for time in names.get(subject, ()))
        else (subject, "")
        for subject, at_ns, is_one in zip(subjects, t_ns.tolist(), personal.tolist(), strict=True)
    ]
    return rewritten(rows, "subject", halves)


_DIVIDED: Mapping[str, Callable[[Selection, pa.Table], Divided]] = {
    "events": _events,
    "edges": _edges,
    "decisions": _decisions,
    "rejected": _rejected,
    "shadow": _nobodys,
    "feedback": _feedback,
    "zone_runs": _zone_runs,
    "streams": _streams,
    "expired": _expired,
    "inputs": _inputs,
    "training_runs": _triggers,
    "training_checks": _checks,
}
#: Tables with rows of wearers; the rows of all others are of nobody, or of all together.
PERSONAL: Collection[str] = _DIVIDED.keys()
