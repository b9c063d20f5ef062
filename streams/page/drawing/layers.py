"""Where boxes, arrows and their words stand, in pixels of the drawing, from its top left corner.

Columns stand beside each other with gaps between them. In a gap, words stand in a strip behind the boxes
that arrows leave or before those that they reach, each on a straight piece of its own arrow; between the
strips arrows bend. Arrows that go back leave to the right, run below everything in a lane of their own, and
come in from the left, so no arrow ever crosses a box.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from msgspec import Struct

from streams.page.drawing.columns import Columns, arranged

MARGIN = 14.0
BOX_GAP, PASSAGE_GAP, WORDS_GAP = 18.0, 9.0, 17.0
#: Least width in which an arrow bends, and how far its straight pieces are from a box.
BEND, STUB = 38.0, 12.0
TRACK, LANE = 9.0, 20.0
_PORT_GAP, _PORT_MARGIN = 9.0, 8.0


class Size(Struct, frozen=True):
    """Width and height of a box."""

    width: float
    height: float


class Line(Struct, frozen=True):
    """An arrow to be laid out: the numbers of its boxes, the width of its words (0: none), whether back."""

    begin: int
    end: int
    words: float
    back: bool


class Box(Struct, frozen=True):
    """Where a box stands."""

    x: float
    y: float
    width: float
    height: float


class Route(Struct, frozen=True):
    """The path of an arrow as SVG's path data, its point, and where its words begin and stand."""

    path: str
    tip: tuple[float, float]
    words: tuple[float, float]


class Layout(Struct, frozen=True):
    """A drawing's size, its boxes and routes in the order that they were given, and its columns.

    `order` has the numbers of the boxes by column, from the top; `columns` the left edge, the width and the
    number asked for of each column.
    """

    width: float
    height: float
    boxes: list[Box]
    routes: list[Route]
    order: list[int]
    columns: list[tuple[float, float, int]]


def laid_out(
    sizes: Sequence[Size], least: Sequence[int | None], lines: Sequence[Line], top: float = 0.0
) -> Layout:
    """Lay out boxes and arrows; `top` pixels stay free above the boxes, for headings."""
    columns = arranged(least, [(line.begin, line.end) for line in lines], [line.back for line in lines])
    # Arrows that would close a cycle go back as well.
    lines = [
        Line(line.begin, line.end, line.words, not chain)
        for line, chain in zip(lines, columns.chains, strict=True)
    ]
    return _Placing(sizes, lines, columns, top).layout()


class _Placing:
    """The steps of a layout, each of which fills some of the values."""

    def __init__(self, sizes: Sequence[Size], lines: Sequence[Line], columns: Columns, top: float) -> None:
        self.sizes, self.lines, self.columns = sizes, lines, columns
        self.middles = _middles(sizes, columns, top + MARGIN)
        self.out: dict[int, list[int]] = {}
        self.into: dict[int, list[int]] = {}
        for index, line in enumerate(lines):
            self.out.setdefault(line.begin, []).append(index)
            self.into.setdefault(line.end, []).append(index)
        self.backs = [index for index, line in enumerate(lines) if line.back]
        self.leaving = _ports(self.out, lambda index: self._far(index, 1), self.middles, sizes)
        self.reaching = _ports(self.into, lambda index: self._far(index, -2), self.middles, sizes)
        self.behind: dict[int, float] = {}
        self.before: dict[int, float] = {}
        gaps = len(columns.columns) + 1
        self.behind_width, self.before_width = [0.0] * gaps, [0.0] * gaps
        self.tracks: list[list[int]] = [[] for _ in range(gaps)]
        self._strips()
        self._lower(top + MARGIN)
        self._horizontally()

    def _far(self, index: int, place: int) -> float:
        """Height at which an arrow's neighbouring item stands; arrows that go back are lowest."""
        chain = self.columns.chains[index]
        return self.middles[chain[place]] if chain else float("inf")

    def _strips(self) -> None:
        """Heights at which arrows run straight below their words, apart from each other."""
        behind: list[list[int]] = [[] for _ in self.tracks]
        before: list[list[int]] = [[] for _ in self.tracks]
        for index, line in enumerate(self.lines):
            left = self.columns.column_of[line.begin] + 1
            right = self.columns.column_of[line.end]
            if line.back:
                for strips, gap in ((behind, left), (before, right), (self.tracks, left)):
                    strips[gap].append(index)
                if right != left:
                    self.tracks[right].append(index)
            elif line.words and self._stands_behind(line):
                behind[left].append(index)
                self.behind_width[left] = max(self.behind_width[left], line.words)
            elif line.words:
                before[right].append(index)
                self.before_width[right] = max(self.before_width[right], line.words)
        sides = ((behind, self.leaving, self.behind), (before, self.reaching, self.before))
        for strips, ports, straight in sides:
            for strip in strips:
                strip.sort(key=lambda index: (ports[index], self._slope(index)))
                heights = spread([ports[index] for index in strip], [WORDS_GAP] * len(strip))
                straight |= dict(zip(strip, heights, strict=True))

    def _lower(self, top: float) -> None:
        """Move everything down if words stand above `top`."""
        straight = (*self.behind.values(), *self.before.values())
        by = max((top + WORDS_GAP - at for at in straight), default=0.0)
        if by > 0:
            self.middles = [at + by for at in self.middles]
            for heights in (self.leaving, self.reaching, self.behind, self.before):
                heights |= {index: at + by for index, at in heights.items()}

    def _stands_behind(self, line: Line) -> bool:
        """Whether an arrow's words stand behind the box that it leaves: where fewer arrows meet."""
        return len(self.out[line.begin]) <= len(self.into[line.end])

    def _slope(self, index: int) -> float:
        line = self.lines[index]
        return self.middles[line.end] - self.middles[line.begin]

    def _horizontally(self) -> None:
        """Left edges and widths of the columns, and where the strips and tracks of each gap stand."""
        self.left: list[float] = []
        self.widths: list[float] = []
        self.tracks_at: list[float] = []
        x = MARGIN
        last = len(self.columns.columns)
        for gap in range(last + 1):
            tracks = len(self.tracks[gap]) * TRACK
            behind = self.behind_width[gap] + STUB if self.behind_width[gap] else 0.0
            before = self.before_width[gap] + STUB if self.before_width[gap] else 0.0
            self.tracks_at.append(x + behind + (STUB if gap and behind + tracks else 0.0))
            if gap == last:
                self.width = x + tracks + (STUB if tracks else 0.0) + MARGIN
                break
            inner = behind + before + tracks + (BEND if gap else 0.0) + (STUB if tracks else 0.0)
            x += inner
            boxes = [item for item in self.columns.columns[gap] if item < len(self.sizes)]
            self.left.append(x)
            self.widths.append(max(self.sizes[box].width for box in boxes))
            x += self.widths[gap]

    def layout(self) -> Layout:
        boxes = [
            Box(
                self.left[column],
                self.middles[number] - size.height / 2,
                self.widths[column],
                size.height,
            )
            for number, size in enumerate(self.sizes)
            for column in [self.columns.column_of[number]]
        ]
        bottom = max((box.y + box.height for box in boxes), default=0.0)
        bottom = max([bottom, *self.middles, *self.behind.values(), *self.before.values()])
        lanes = self._lanes()
        routes = [
            self._forward(index) if chain else self._back(index, bottom + LANE * (lanes[index] + 1))
            for index, chain in enumerate(self.columns.chains)
        ]
        height = bottom + LANE * (max(lanes.values(), default=-1) + 1) + MARGIN
        order = [item for column in self.columns.columns for item in column if item < len(self.sizes)]
        columns = list(zip(self.left, self.widths, self.columns.kept, strict=True))
        return Layout(self.width, height, boxes, routes, order, columns)

    def _forward(self, index: int) -> Route:
        """Path from box to box: straight below its words and at every passage, bent in between."""
        line, chain = self.lines[index], self.columns.chains[index]
        column_of = self.columns.column_of
        x = self.left[column_of[line.begin]] + self.widths[column_of[line.begin]]
        y = self.leaving[index]
        tip = (self.left[column_of[line.end]], self.reaching[index])
        path, words = [f"M{x:.1f} {y:.1f}"], (x + STUB / 2, y)
        if (straight := self.behind.get(index)) is not None:
            words = (x + STUB, straight)
            path.append(_bent(x, y, x + STUB, straight) + f"H{x + STUB + line.words:.1f}")
            x, y = x + STUB + line.words, straight
        for item in chain[1:-1]:
            column = column_of[item]
            path.append(_bent(x, y, self.left[column], self.middles[item]))
            x, y = self.left[column] + self.widths[column], self.middles[item]
            path.append(f"H{x:.1f}")
        if (straight := self.before.get(index)) is not None:
            begin = tip[0] - STUB - line.words
            words = (begin, straight)
            path.append(_bent(x, y, begin, straight) + f"H{tip[0] - STUB:.1f}")
            x, y = tip[0] - STUB, straight
        path.append(_bent(x, y, *tip))
        return Route("".join(path), tip, words)

    def _lanes(self) -> dict[int, int]:
        """Lane of each arrow that goes back; arrows share one where they do not overlap."""
        ends: list[int] = []
        lanes: dict[int, int] = {}
        column_of = self.columns.column_of
        spans = {
            index: sorted((column_of[self.lines[index].end], column_of[self.lines[index].begin] + 1))
            for index in self.backs
        }
        for index in sorted(self.backs, key=spans.__getitem__):
            low, high = spans[index]
            lane = next((number for number, end in enumerate(ends) if end < low), len(ends))
            ends[lane : lane + 1] = [high]
            lanes[index] = lane
        return lanes

    def _back(self, index: int, lane: float) -> Route:
        """Path from the right side of a box down into a lane, to the left, and up into another box."""
        line, column_of = self.lines[index], self.columns.column_of
        begin, end = column_of[line.begin], column_of[line.end]
        x = self.left[begin] + self.widths[begin]
        tip = (self.left[end], self.reaching[index])
        down = self.tracks_at[begin + 1] + TRACK * self.tracks[begin + 1].index(index)
        up = self.tracks_at[end] + TRACK * self.tracks[end].index(index)
        leaving, reaching = self.behind[index], self.before[index]
        jog, last_jog = x + STUB / 2, tip[0] - STUB / 2
        out = [(x, self.leaving[index]), (jog, self.leaving[index]), (jog, leaving), (down, leaving)]
        home = [(up, reaching), (last_jog, reaching), (last_jog, tip[1]), tip]
        path = _cornered([*out, (down, lane), (up, lane), *home])
        return Route(path, tip, (max((down + up - line.words) / 2, up + 6), lane))


def spread(wanted: Sequence[float], apart: Sequence[float], weights: Sequence[float] = ()) -> list[float]:
    """Return places near those wanted, in their order, at least `apart[i]` behind the place before.

    Their squared distances from what is wanted, weighted, are the least that is possible: neighbours that
    are too near each other are merged into blocks, which stand at the mean of what they want.
    """
    weights = weights or [1.0] * len(wanted)
    offset, total = [], 0.0
    for index, gap in enumerate(apart):
        total += gap if index else 0.0
        offset.append(total)
    blocks: list[tuple[float, float, int]] = []
    for at, weight, shift in zip(wanted, weights, offset, strict=True):
        block = ((at - shift) * weight, weight, 1)
        while blocks and blocks[-1][0] / blocks[-1][1] > block[0] / block[1]:
            before = blocks.pop()
            block = (before[0] + block[0], before[1] + block[1], before[2] + block[2])
        blocks.append(block)
    means = [share / weight for share, weight, count in blocks for _ in range(count)]
    return [mean + shift for mean, shift in zip(means, offset, strict=True)]


def _middles(sizes: Sequence[Size], columns: Columns, top: float) -> list[float]:
    """Height of the middle of each item: near its neighbours, in its column's order, apart from others."""
    heights = [size.height for size in sizes] + [0.0] * (len(columns.column_of) - len(sizes))
    near: list[list[list[int]]] = [[[] for _ in heights] for _ in range(2)]
    for chain in columns.chains:
        for left, right in pairwise(chain):
            near[0][right].append(left)
            near[1][left].append(right)
    apart = [
        [0.0]
        + [
            (heights[upper] + heights[lower]) / 2
            + (BOX_GAP if upper < len(sizes) and lower < len(sizes) else PASSAGE_GAP)
            for upper, lower in pairwise(column)
        ]
        for column in columns.columns
    ]
    middles = [0.0] * len(heights)
    for column, gaps in zip(columns.columns, apart, strict=True):
        at = 0.0
        for item, gap in zip(column, gaps, strict=True):
            at += gap
            middles[item] = at
    for turn in range(6):
        numbers = range(len(columns.columns))
        for number in numbers if turn % 2 == 0 else reversed(numbers):
            column, neighbours = columns.columns[number], near[turn % 2]
            wanted = [
                sum(middles[other] for other in neighbours[item]) / len(neighbours[item])
                if neighbours[item]
                else middles[item]
                for item in column
            ]
            # A passage pulls harder than a box, so that a long arrow is straight.
            weights = [1.0 if item < len(sizes) else 4.0 for item in column]
            for item, at in zip(column, spread(wanted, apart[number], weights), strict=True):
                middles[item] = at
    highest = min((at - height / 2 for at, height in zip(middles, heights, strict=True)), default=0.0)
    return [at - highest + top for at in middles]


def _ports(
    arrows_of: Mapping[int, list[int]],
    far: Callable[[int], float],
    middles: Sequence[float],
    sizes: Sequence[Size],
) -> dict[int, float]:
    """Height at which each arrow meets its box, in the order of the boxes at the other ends."""
    ports = {}
    for box, arrows in arrows_of.items():
        room = sizes[box].height - 2 * _PORT_MARGIN
        gap = min(_PORT_GAP, room / max(len(arrows) - 1, 1))
        for place, index in enumerate(sorted(arrows, key=far)):
            ports[index] = middles[box] + (place - (len(arrows) - 1) / 2) * gap
    return ports


def _bent(x: float, y: float, to_x: float, to_y: float) -> str:
    """A piece of path that begins and ends horizontally."""
    if abs(y - to_y) < 0.05:
        return f"H{to_x:.1f}"
    middle = (x + to_x) / 2
    return f"C{middle:.1f} {y:.1f} {middle:.1f} {to_y:.1f} {to_x:.1f} {to_y:.1f}"


def _cornered(points: Sequence[tuple[float, float]], radius: float = 6.0) -> str:
    """A path along points at right angles, with round corners."""
    points = [point for index, point in enumerate(points) if not index or point != points[index - 1]]
    path = [f"M{points[0][0]:.1f} {points[0][1]:.1f}"]
    for (x0, y0), (x, y), (x1, y1) in zip(points, points[1:], points[2:], strict=False):
        before, after = abs(x - x0) + abs(y - y0), abs(x1 - x) + abs(y1 - y)
        round_ = min(radius, before / 2, after / 2)
        if round_ < 0.5:
            path.append(f"L{x:.1f} {y:.1f}")
            continue
        from_x, from_y = x - round_ * (x - x0) / before, y - round_ * (y - y0) / before
        to_x, to_y = x + round_ * (x1 - x) / after, y + round_ * (y1 - y) / after
        path.append(f"L{from_x:.1f} {from_y:.1f}Q{x:.1f} {y:.1f} {to_x:.1f} {to_y:.1f}")
    path.append(f"L{points[-1][0]:.1f} {points[-1][1]:.1f}")
    return "".join(path)
