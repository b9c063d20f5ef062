"""Joining runs that continue one another, among rows that come to lie side by side when epochs are folded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa

from streams.limits import RUN_CHILDREN_MAX
from streams.snapshots.files.columnar import bounds, combinations, ordered
from streams.snapshots.files.segments import schema_of
from streams.snapshots.rows.poll import Mask, Numbers, numbers

#: A row with this key is not joined with any other.
ALONE = -1
#: What all events of a zone run have in common.
OWN = ("policy_version", "zone", "label", "wearer", "consent")


def edges(rows: pa.Table, key: Numbers) -> pa.Table:
    """Rows of `edges` in as few runs as there are; the later epoch of two stands for both.

    `key` is the same for rows that may become one; they do where `streams.events.runs.extends` says that one
    continues the other. One that has RUN_CHILDREN_MAX children is long enough.
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
    # The way from the first row of a run to the next is that of all of them.
    longer = np.diff(np.append(begins, len(rows))) > 1
    for name, own, between in (("child_step", step, further), ("parent_step", advance, onward)):
        steps = own[begins]
        steps[longer] = between[begins[longer]]
        rows = _with(rows, name, steps, begins)
    rows = _with(rows, "child_count", np.add.reduceat(count, begins), begins)
    rows = _with(rows, "epoch", np.maximum.reduceat(numbers(rows, "epoch"), begins), begins)
    return rows.take(pa.array(begins))


def _with(rows: pa.Table, name: str, values: Numbers, at: Numbers) -> pa.Table:
    """Rows in which a column has other values at some places."""
    column = numbers(rows, name).copy()
    column[at] = values
    return rows.set_column(rows.column_names.index(name), name, pa.array(column))


def _taken(fits: Mask, many: Mask, further: Numbers, onward: Numbers) -> Mask:
    """Which links between neighbours are made, decided from the left.

    A row of one child can be linked to both neighbours with different steps, which would clash. Then the link
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
    """Links that are made, without those at which a run would become too long."""
    total = np.cumsum(count)
    begins = np.concatenate(([True], ~goes_on))
    before = np.maximum.accumulate(np.where(begins, total - count, 0))
    block = (total - before - 1) // RUN_CHILDREN_MAX
    short: Mask = goes_on & (block[1:] == block[:-1])
    return short


def zones_of(
    events: pa.Table, highest: Mapping[tuple[str, str], int], bucket: Numbers | None = None
) -> pa.Table:
    """Zone runs of an epoch's events, sorted: as few as there are.

    Of events of several epochs, `bucket` is the same for those between whose epochs no retained one lies: no
    run is of two.

    A run goes on over numbers that no event has, as those of derived streams, while they are above all that
    earlier epochs hold of the stream (`highest`): nothing of another class can lie between. Among older
    numbers it ends where they do, so that of two runs over the same numbers the later is right.
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
    """Rows of `zone_runs`, those that follow one another in one class as one.

    A run may go on over numbers that no row has, but never over a number that another run speaks of. Where
    runs of several classes speak of a number, the one of the later epoch is right: the others are cut.

    Parameters
    ----------
    rows
        Sorted by stream and `low`.
    stream, key
        Which stream a row is of, and which class, wearer and consent.
    bucket
        The same for rows between whose epochs no retained one lies.
    others
        Rows that stay as they are and are not returned: the others must not be extended over their numbers.
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
    """Rows before which one of their stream reaches further than their neighbour does."""
    ranks = np.unique(high, return_inverse=True)[1].astype(np.int64)
    place = stream * np.int64(len(high) + 1) + ranks
    reach = np.maximum.accumulate(place)
    reached = np.zeros(len(high), bool)
    reached[1:] = reach[:-1] > place[:-1]
    return reached


def _cut(
    rows: pa.Table, stream: Numbers, key: Numbers, bucket: Numbers, others: Mask
) -> tuple[pa.Table, Numbers, Numbers, Numbers, Mask]:
    """Rows, cut where a later row of another class covers the same numbers; that is rare."""
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
    """Pairs of rows, sorted by stream and low, that have a number in common."""
    for row in np.flatnonzero((stream[1:] == stream[:-1]) & (low[1:] <= high[:-1])).tolist():
        # Rows that reach over several others meet each of them.
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
