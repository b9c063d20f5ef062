"""Differences between two sets of runs, event by event, without expanding what both have in common.

In a run, child `first + i * step` has the parents `parent + i * parent_step ... + width - 1`, for i < count.
The division into runs does not matter. Runs on one line (same steps, width and formula) are compared by how
often each position on the line is covered. Only what differs there, and runs of a single child, are compared
parent by parent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from streams.ledger.runs import Ints, groups

Marks = NDArray[np.uint64]
#: Number of runs that are compared together, and of children that are expanded at once. They bound the
#: memory: each takes about 200 bytes.
RUNS_MAX = 1_000_000
EXPANDED_MAX = 2_000_000


@dataclass(frozen=True, slots=True)
class Spans:
    """Runs as columns. Only runs with equal `key` (a hash of streams, operator, ...) are compared."""

    key: Marks
    first: Ints
    step: Ints
    count: Ints
    parent: Ints
    parent_step: Ints
    width: Ints

    def __getitem__(self, chosen: NDArray[np.bool_] | Ints) -> Spans:
        """The chosen rows."""
        return Spans(*(getattr(self, name.name)[chosen] for name in fields(self)))

    def children(self) -> int:
        """Number of children of all runs."""
        return int(self.count.sum())

    def clipped(self, low: int, high: int) -> Spans:
        """Part of the runs with children from `low` to `high` (exclusive)."""
        skipped = np.maximum(0, -((self.first - low) // self.step))
        end = np.minimum(self.count, -((self.first - high) // self.step))
        kept = end > skipped
        skipped, end, rest = skipped[kept], end[kept], self[kept]
        return Spans(
            rest.key,
            rest.first + skipped * rest.step,
            rest.step,
            end - skipped,
            rest.parent + skipped * rest.parent_step,
            rest.parent_step,
            rest.width,
        )


@dataclass(frozen=True, slots=True)
class Difference:
    """Parents `low ... high` (exclusive) of one child that the two sides do not have equally often.

    `surplus` is how many times more side a has them than side b; it may be negative.
    """

    key: int
    child: int
    low: int
    high: int
    surplus: int


def differences(a: Spans, b: Spans, most: int) -> tuple[int, list[Difference]]:
    """Number of pairs (child, parent) that one side has more often, and at most `most` examples."""
    total, named = 0, list[Difference]()
    for left, right in _residues(a, b):
        child_a, child_b = _expanded(left), _expanded(right)
        group, first = groups(
            (np.concatenate((child_a.key, child_b.key)), np.concatenate((child_a.first, child_b.first)))
        )
        low = np.concatenate((child_a.parent, child_b.parent))
        high = low + np.concatenate((child_a.width, child_b.width))
        uneven, begin, end, times = _uneven(group, low, high, len(child_a.key))
        total += int(((end - begin) * np.abs(times[0] - times[1])).sum())
        keys, children = (
            np.concatenate((child_a.key, child_b.key)),
            np.concatenate((child_a.first, child_b.first)),
        )
        for at in range(min(most - len(named), uneven.size)):
            row = first[uneven[at]]
            surplus = int(times[0][at] - times[1][at])
            named.append(
                Difference(int(keys[row]), int(children[row]), int(begin[at]), int(end[at]), surplus)
            )
    return total, named


def _residues(a: Spans, b: Spans) -> Iterator[tuple[Spans, Spans]]:
    """Runs that must be compared child by child, in parts of bounded size without common children."""
    parts = np.uint64(1 + (a.key.size + b.key.size) // RUNS_MAX)
    part_a, part_b = a.key % parts, b.key % parts
    for part in range(int(parts)):
        left, right = a[part_a == part], b[part_b == part]
        lines_a, lines_b = _on_lines(left[left.count > 1], right[right.count > 1])
        yield from _portions(
            _joined(lines_a, left[left.count == 1]), _joined(lines_b, right[right.count == 1])
        )


def _on_lines(a: Spans, b: Spans) -> tuple[Spans, Spans]:
    """What each side covers more often than the other on any line, as runs again."""
    columns = [np.concatenate(pair) for pair in zip(_line_of(a), _line_of(b), strict=True)]
    group, first = groups(columns)
    low = np.concatenate((a.first // a.step, b.first // b.step))
    line, begin, end, times = _uneven(group, low, low + np.concatenate((a.count, b.count)), len(a.key))
    key, step, rest, parent_step, width, origin = (column[first][line] for column in columns)
    pieces = Spans(
        key, rest + begin * step, step, end - begin, origin + begin * parent_step, parent_step, width
    )
    return (
        pieces[np.repeat(np.arange(line.size), times[0])],
        pieces[np.repeat(np.arange(line.size), times[1])],
    )


def _line_of(spans: Spans) -> tuple[NDArray[np.generic], ...]:
    """Columns that are equal for all runs on one line; a run's position on its line is `first // step`."""
    place = spans.first // spans.step
    # The origin may overflow 64 bits. This is harmless, because it only has to distinguish lines.
    return (
        spans.key,
        spans.step,
        spans.first - place * spans.step,
        spans.parent_step,
        spans.width,
        spans.parent - place * spans.parent_step,
    )


def _uneven(group: Ints, low: Ints, high: Ints, of_a: int) -> tuple[Ints, Ints, Ints, tuple[Ints, Ints]]:
    """Intervals where the first `of_a` intervals and the others do not cover a group equally often.

    Returns (group, begin, end, (times of a, times of b)).
    """
    groups, bounds = np.concatenate((group, group)), np.concatenate((low, high))
    side = np.zeros(group.size, np.int64)
    side[:of_a] = 1
    change = np.concatenate((np.ones(group.size, np.int64), np.full(group.size, -1, np.int64)))
    order = np.lexsort((bounds, groups))
    groups, bounds, change, of = (
        groups[order],
        bounds[order],
        change[order],
        np.concatenate((side, side))[order],
    )
    depth_a, depth_b = np.cumsum(change * of), np.cumsum(change * (1 - of))
    # Compare depths between adjacent bounds of one group; at equal bounds only the last depth is final.
    open_here = np.flatnonzero(
        (groups[:-1] == groups[1:]) & (bounds[:-1] != bounds[1:]) & (depth_a[:-1] != depth_b[:-1])
    )
    return (
        groups[open_here],
        bounds[open_here],
        bounds[open_here + 1],
        (depth_a[open_here], depth_b[open_here]),
    )


def _expanded(spans: Spans) -> Spans:
    """Expand to one run per child."""
    row = np.repeat(np.arange(spans.count.size), spans.count)
    index = np.arange(row.size) - np.repeat(np.cumsum(spans.count) - spans.count, spans.count)
    parts, ones = spans[row], np.ones(row.size, np.int64)
    return Spans(
        parts.key,
        parts.first + index * parts.step,
        ones,
        ones,
        parts.parent + index * parts.parent_step,
        ones,
        parts.width,
    )


def _joined(a: Spans, b: Spans) -> Spans:
    return Spans(*(np.concatenate((getattr(a, name.name), getattr(b, name.name))) for name in fields(a)))


def _portions(a: Spans, b: Spans) -> Iterator[tuple[Spans, Spans]]:
    """Divide two sides into portions that are small enough to expand and have no common children.

    Empty portions are skipped.
    """
    if not a.key.size and not b.key.size:
        return
    if a.children() + b.children() <= EXPANDED_MAX:
        yield a, b
        return
    keys = np.unique(np.concatenate((a.key, b.key)))
    if keys.size > 1:
        middle = keys[keys.size // 2]
        yield from _portions(a[a.key < middle], b[b.key < middle])
        yield from _portions(a[a.key >= middle], b[b.key >= middle])
        return
    low = min(int(side.first.min()) for side in (a, b) if side.key.size)
    high = max(int((side.first + side.step * (side.count - 1)).max()) for side in (a, b) if side.key.size) + 1
    if high - low == 1:
        yield a, b
        return
    middle_child = (low + high) // 2
    yield from _portions(a.clipped(low, middle_child), b.clipped(low, middle_child))
    yield from _portions(a.clipped(middle_child, high), b.clipped(middle_child, high))


def spans_of(columns: Mapping[str, NDArray[np.generic]]) -> Spans:
    """Make runs from columns by name; without a column `parent` each event counts as one pair."""
    count = columns["key"].size
    alone = {"parent": 0, "parent_step": 0, "width": 1}
    return Spans(
        columns["key"].astype(np.uint64, copy=False),
        *(
            (
                columns[name.name].astype(np.int64, copy=False)
                if name.name in columns
                else np.broadcast_to(np.int64(alone[name.name]), count)
            )
            for name in fields(Spans)[1:]
        ),
    )
