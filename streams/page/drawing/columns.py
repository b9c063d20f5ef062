"""In which column each box of a drawing stands, and in which order from the top.

A layered layout in three steps: arrows that would close a cycle are set aside; every box stands right of
those that point at it; an arrow over several columns passes each of them at a place of its own (a
*passage*), so that it does not cross boxes. Boxes and passages together are *items*, numbered: boxes first.
Sweeps over the columns then order items by the mean place of their neighbours, which leaves few crossings.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence
from itertools import pairwise

from msgspec import Struct

#: Beginning and end of an arrow, as numbers of boxes or items.
Ends = tuple[int, int]
#: Sweeps there and back; further ones were seen to change nothing at the sizes that are drawn.
_SWEEPS = 4


class Columns(Struct, frozen=True):
    """Items by column from the left, in their order from the top.

    `chains` has the items that each arrow passes, from its beginning to its end; it is empty for an arrow
    that goes back. `kept` are the numbers of the columns as they were asked for, of those that hold boxes.
    """

    columns: list[list[int]]
    column_of: list[int]
    chains: list[list[int]]
    kept: list[int]


def arranged(least: Sequence[int | None], ends: Sequence[Ends], back: Sequence[bool]) -> Columns:
    """Arrange boxes in columns.

    `least` has the leftmost column of each box, or None; `back` says which arrows close the loop.
    """
    forward = _without_cycles(len(least), ends, back)
    columns = _columns(least, [ends[index] for index in forward])
    kept = sorted(set(columns))
    place = {column: number for number, column in enumerate(kept)}
    column_of = [place[column] for column in columns]
    chains: list[list[int]] = [[] for _ in ends]
    for index in forward:
        begin, end = ends[index]
        passages = []
        for column in range(column_of[begin] + 1, column_of[end]):
            passages.append(len(column_of))
            column_of.append(column)
        chains[index] = [begin, *passages, end]
    return Columns(_ordered(column_of, chains, len(kept)), column_of, chains, kept)


def _without_cycles(count: int, ends: Sequence[Ends], back: Sequence[bool]) -> list[int]:
    """Numbers of the arrows that go forward: all but those that go back, or would close a cycle."""
    out: list[list[int]] = [[] for _ in range(count)]
    for index, (begin, _) in enumerate(ends):
        if not back[index]:
            out[begin].append(index)
    fresh, open_, done = 0, 1, 2
    state = [fresh] * count
    forward = []
    for root in range(count):
        if state[root] != fresh:
            continue
        state[root] = open_
        stack = [(root, iter(out[root]))]
        while stack:
            box, arrows = stack[-1]
            for index in arrows:
                end = ends[index][1]
                if state[end] == open_:
                    continue
                forward.append(index)
                if state[end] == fresh:
                    state[end] = open_
                    stack.append((end, iter(out[end])))
                    break
            else:
                state[box] = done
                stack.pop()
    return sorted(forward)


def _columns(least: Sequence[int | None], ends: Sequence[Ends]) -> list[int]:
    """Column of each box: right of all that point at it, and not left of what was asked for."""
    count = len(least)
    out: list[list[int]] = [[] for _ in range(count)]
    waiting = [0] * count
    for begin, end in ends:
        out[begin].append(end)
        waiting[end] += 1
    columns = [column or 0 for column in least]
    ready = [box for box in range(count) if not waiting[box]]
    for box in ready:  # grows while it is walked
        for end in out[box]:
            columns[end] = max(columns[end], columns[box] + 1)
            waiting[end] -= 1
            if not waiting[end]:
                ready.append(end)
    for box in reversed(ready):
        if least[box] is None and out[box]:
            columns[box] = max(columns[box], min(columns[end] for end in out[box]) - 1)
    return columns


def _ordered(column_of: Sequence[int], chains: Sequence[Sequence[int]], count: int) -> list[list[int]]:
    """Items by column, ordered so that few arrows cross."""
    columns: list[list[int]] = [[] for _ in range(count)]
    for item, column in enumerate(column_of):
        columns[column].append(item)
    before: list[list[int]] = [[] for _ in column_of]
    after: list[list[int]] = [[] for _ in column_of]
    for chain in chains:
        for left, right in pairwise(chain):
            after[left].append(right)
            before[right].append(left)
    best, fewest = columns, _crossings(columns, after)
    for sweep in range(_SWEEPS):
        if not fewest:
            break
        columns = _swept(columns, before if sweep % 2 == 0 else after, reverse=sweep % 2 == 1)
        crossings = _crossings(columns, after)
        if crossings < fewest:
            best, fewest = columns, crossings
    return best


def _swept(columns: list[list[int]], neighbours: list[list[int]], *, reverse: bool) -> list[list[int]]:
    """Order each column by the mean place of its items' neighbours in the column before it."""
    swept = list(columns)
    place: dict[int, float] = {}
    for number in reversed(range(len(swept))) if reverse else range(len(swept)):
        column = swept[number]
        wanted = {
            item: sum(place[near] for near in neighbours[item]) / len(neighbours[item])
            if neighbours[item]
            else float(index)
            for index, item in enumerate(column)
        }
        swept[number] = sorted(column, key=wanted.__getitem__)
        place |= {item: float(index) for index, item in enumerate(swept[number])}
    return swept


def _crossings(columns: list[list[int]], after: list[list[int]]) -> int:
    """How many pairs of arrows cross between neighbouring columns."""
    crossings = 0
    for left, right in pairwise(columns):
        place = {item: index for index, item in enumerate(right)}
        ends: list[int] = []
        for item in left:
            places = [place[end] for end in after[item]]
            crossings += sum(len(ends) - bisect_right(ends, end) for end in places)
            for end in places:
                insort(ends, end)
    return crossings
