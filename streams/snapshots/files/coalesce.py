"""Join runs that continue one another; folding epochs brings such rows together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa

from streams.limits import RUN_CHILDREN_MAX
from streams.snapshots.files.columnar import bounds, combinations, ordered
from streams.snapshots.files.segments import schema_of
from streams.snapshots.rows.poll import Mask, Numbers, numbers

#: Key of a row that must not be joined with any other.
ALONE = -1
#: Columns that are the same for all events of a zone run.
OWN = ("policy_version", "zone", "label", "wearer", "consent")


def edges(rows: pa.Table, key: Numbers) -> pa.Table:
    """Join rows of `edges` into as few runs as possible; a joined run has the later epoch.

    Rows are joined only if they have the same `key` and one continues the other as in
    `streams.events.runs.extends`. A run gets at most RUN_CHILDREN_MAX children by joining.
    """
    if not len(rows):
        return rows
    order = np.lexsort((numbers(rows, "parent_first"), numbers(rows, "child_first"), key))
    rows, key = rows.take(pa.array(order)), key[order]
    child, step, count, parent, advance, width = (
        numbers(rows, name)
        for name in (
            "child_first",
            "child_step",
            "child_count",
            "parent_first",
            "parent_step",
            "parent_width",
        )
    )
    many = count > 1
    further = child[1:] - (child + step * (count - 1))[:-1]
    onward = parent[1:] - (parent + advance * (count - 1))[:-1]
    fits = (key[1:] == key[:-1]) & (key[1:] != ALONE) & (width[1:] == width[:-1])
    fits &= (further > 0) & (onward >= 0)
    for side in (slice(None, -1), slice(1, None)):
        fits &= ~many[side] | ((further == step[side]) & (onward == advance[side]))
    goes_on = _taken(fits, many, further, onward)
    begins = np.flatnonzero(np.concatenate(([True], ~_bounded(goes_on, count))))
    # All rows of a run are equally far apart, so the distance of the first two is the step of the run.
    longer = np.diff(np.append(begins, len(rows))) > 1
    for name, own, between in (("child_step", step, further), ("parent_step", advance, onward)):
        steps = own[begins]
        steps[longer] = between[begins[longer]]
        rows = _with(rows, name, steps, begins)
    rows = _with(rows, "child_count", np.add.reduceat(count, begins), begins)
    rows = _with(rows, "epoch", np.maximum.reduceat(numbers(rows, "epoch"), begins), begins)
    return rows.take(pa.array(begins))


def _with(rows: pa.Table, name: str, values: Numbers, at: Numbers) -> pa.Table:
    """Replace a column's values in the rows `at`."""
    column = numbers(rows, name).copy()
    column[at] = values
    return rows.set_column(rows.column_names.index(name), name, pa.array(column))


def _taken(fits: Mask, many: Mask, further: Numbers, onward: Numbers) -> Mask:
    """Choose the links between neighbours that are made, from left to right.

    A row with one child may fit both neighbours with different steps, which cannot both hold. Then the link
    to its right is not made, unless the link to its left was not made for that reason.
    """
    clash = np.zeros(len(fits), bool)
    clash[1:] = fits[1:] & fits[:-1] & ~many[1:-1]
    clash[1:] &= (further[1:] != further[:-1]) | (onward[1:] != onward[:-1])
    place = np.arange(len(fits))
    nth = place - np.maximum.accumulate(np.where(clash, 0, place))
    taken: Mask = fits & (nth % 2 == 0)
    return taken


def _bounded(goes_on: Mask, count: Numbers) -> Mask:
    """The links without those that would make a run too long."""
    total = np.cumsum(count)
    begins = np.concatenate(([True], ~goes_on))
    before = np.maximum.accumulate(np.where(begins, total - count, 0))
    block = (total - before - 1) // RUN_CHILDREN_MAX
    short: Mask = goes_on & (block[1:] == block[:-1])
    return short


def zones_of(
    events: pa.Table, highest: Mapping[tuple[str, str], int], bucket: Numbers | None = None
) -> pa.Table:
    """As few zone runs as possible for the events of an epoch, sorted.

    For events of several epochs, `bucket` is the same for events if no retained epoch lies between theirs; a
    run never covers events of two buckets.

    A run may cover numbers without an event, as derived streams have them, if they are above all numbers of
    the stream in earlier epochs (`highest`), because no event of another class can be there. Among older
    numbers it ends at such a gap, so that of two runs over the same numbers the later one is right.
    """
    low, high = bounds(events, "events")
    streams, stream = combinations(events, ("source", "stream", "revision"))
    own = combinations(events, OWN)[1]
    order = np.lexsort((low, stream))
    low, high, stream, own = low[order], high[order], stream[order], own[order]
    when = np.zeros(len(order), np.int64) if bucket is None else bucket[order]
    behind = high < np.array([highest.get(name[:2], -1) for name in streams], np.int64)[stream]
    goes_on = (stream[1:] == stream[:-1]) & (own[1:] == own[:-1]) & (low[1:] > high[:-1])
    goes_on &= when[1:] == when[:-1]
    goes_on &= ~behind[:-1] | (low[1:] == high[:-1] + 1)
    begins = np.flatnonzero(np.concatenate(([True], ~goes_on)))
    runs = events.select(["source", "stream", "revision", *OWN]).take(pa.array(order[begins]))
    last = np.maximum.reduceat(numbers(events, "epoch")[order], begins)
    runs = runs.append_column("epoch", pa.array(last)).append_column("low", pa.array(low[begins]))
    runs = runs.append_column("high", pa.array(np.maximum.reduceat(high, begins)))
    return ordered(runs.select(schema_of("zone_runs").names), "zone_runs")


def zone_runs(rows: pa.Table, stream: Numbers, key: Numbers, bucket: Numbers, others: Mask) -> pa.Table:
    """Join rows of `zone_runs` that follow one another in the same class.

    A run may cover numbers that are in no row, but never a number of another run. Where runs of several
    classes have the same number, the one of the later epoch is right, and the others are cut.

    Parameters
    ----------
    rows
        Sorted by stream and `low`.
    stream, key
        Codes of each row's stream, and of its class, wearer and consent.
    bucket
        The same for rows if no retained epoch lies between theirs.
    others
        Rows that are not changed and not returned; they are given so that no run is extended over their
        numbers.
    """
    rows, stream, key, bucket, others = _cut(rows, stream, key, bucket, others)
    if not len(rows):
        return rows
    low, high = numbers(rows, "low"), numbers(rows, "high")
    fits = (stream[1:] == stream[:-1]) & (key[1:] == key[:-1]) & (bucket[1:] == bucket[:-1])
    fits &= ~others[1:] & ~others[:-1] & (low[1:] > high[:-1])
    fits &= (low[1:] == high[:-1] + 1) | ~_reached(stream, high)[1:]
    begins = np.flatnonzero(np.concatenate(([True], ~fits)))
    rows = _with(rows, "high", np.maximum.reduceat(high, begins), begins)
    rows = _with(rows, "epoch", np.maximum.reduceat(numbers(rows, "epoch"), begins), begins)
    return rows.take(pa.array(begins[~others[begins]]))


def _reached(stream: Numbers, high: Numbers) -> Mask:
    """Rows before which an earlier row of the stream ends later than the row directly before."""
    ranks = np.unique(high, return_inverse=True)[1].astype(np.int64)
    place = stream * np.int64(len(high) + 1) + ranks
    reach = np.maximum.accumulate(place)
    reached = np.zeros(len(high), bool)
    reached[1:] = reach[:-1] > place[:-1]
    return reached


def _cut(
    rows: pa.Table, stream: Numbers, key: Numbers, bucket: Numbers, others: Mask
) -> tuple[pa.Table, Numbers, Numbers, Numbers, Mask]:
    """Cut rows where a later row of another class covers the same numbers; this is rare."""
    low, high, epoch = (numbers(rows, name) for name in ("low", "high", "epoch"))
    cuts: dict[int, list[tuple[int, int]]] = {}
    for row, other in _overlapping(stream, low, high):
        if key[row] != key[other] and epoch[row] != epoch[other]:
            earlier, later = (row, other) if epoch[row] < epoch[other] else (other, row)
            if not others[earlier]:
                cuts.setdefault(earlier, []).append((int(low[later]), int(high[later])))
    if not cuts:
        return rows, stream, key, bucket, others
    parts = [
        (row, begin, end)
        for row, (begin, end) in enumerate(zip(low.tolist(), high.tolist(), strict=True))
        for begin, end in ([(begin, end)] if row not in cuts else _left(begin, end, cuts[row]))
    ]
    at, begin, end = (np.array(values, np.int64) for values in zip(*parts, strict=True))
    rows = rows.take(pa.array(at))
    rows = rows.set_column(rows.column_names.index("low"), "low", pa.array(begin))
    rows = rows.set_column(rows.column_names.index("high"), "high", pa.array(end))
    order = np.lexsort((begin, stream[at]))
    at = at[order]
    return rows.take(pa.array(order)), stream[at], key[at], bucket[at], others[at]


def _overlapping(stream: Numbers, low: Numbers, high: Numbers) -> Iterator[tuple[int, int]]:
    """Pairs of rows with a number in common; rows must be sorted by stream and low."""
    for row in np.flatnonzero((stream[1:] == stream[:-1]) & (low[1:] <= high[:-1])).tolist():
        # A long row may overlap several of the rows after it.
        other = row + 1
        while other < len(low) and stream[other] == stream[row] and low[other] <= high[row]:
            yield row, other
            other += 1


def _left(low: int, high: int, cuts: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    for begin, end in sorted(cuts):
        if begin > low:
            yield low, begin - 1
        low = max(low, end + 1)
    if low <= high:
        yield low, high
