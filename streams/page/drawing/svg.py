"""A picture of boxes and arrows as SVG.

The elements stand in the order in which they are read: column by column, from the top, each box before the
words of the arrows that leave it. The key Tab goes the same way.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from streams.page.drawing.elements import group, link, mark, path, rect, svg, text
from streams.page.drawing.graph import Arrow, Node, Picture
from streams.page.drawing.layers import MARGIN, Box, Layout, Line, Route, Size, laid_out
from streams.page.drawing.text import clipped, clipped_id, width_px
from streams.page.drawing.zones import Looks

TITLE_PX, LINE_PX, WORDS_PX = 12.5, 12.0, 11.5
_LINE_HEIGHT, _PADDING = 17.0, 11.0
_BOX_WIDTH_MIN, _BOX_WIDTH_MAX, _WORDS_WIDTH_MAX = 104.0, 236.0, 240.0
_HEADING = 26.0
#: How far the second sheet of a run, and the slanted ends of a model, stand out.
_SHEET, _SLANT = 4.0, 9.0
_SHAPE_WORDS = {"run": "run", "model": "model", "sink": "sink", "hidden": "not shown"}


def drawn(picture: Picture, looks: Looks) -> str:
    """Return a picture as SVG, with `looks` for its zones; ValueError if an arrow has no node at an end."""
    numbers = {node.key: number for number, node in enumerate(picture.nodes)}
    lines = []
    for arrow in picture.arrows:
        if missing := [key for key in (arrow.of, arrow.to) if key not in numbers]:
            raise ValueError(
                f"arrow {arrow.of!r} to {arrow.to!r}: found no node {missing[0]!r}, expected both"
            )
        words = width_px(_words(arrow), WORDS_PX) + 8 if _words(arrow) else 0.0
        lines.append(Line(numbers[arrow.of], numbers[arrow.to], words, arrow.back))
    sizes = [_size(node) for node in picture.nodes]
    top = _HEADING if picture.columns else 0.0
    layout = laid_out(sizes, [node.column for node in picture.nodes], lines, top)
    body = _headings(picture, layout) + _lines(picture, layout) + _boxes(picture, layout, looks)
    return svg(
        "graph",
        layout.width,
        layout.height,
        body,
        title=picture.title,
        description=picture.description,
    )


def _words(arrow: Arrow) -> str:
    """What stands on an arrow: its words after the verdict, clipped."""
    verdict = "loosened" if arrow.verdict == "declassified" else arrow.verdict
    parts = [part for part in (verdict, arrow.words) if part]
    return clipped(" · ".join(parts), _WORDS_WIDTH_MAX, WORDS_PX)


def _size(node: Node) -> Size:
    rows = 1 + len(node.lines) + bool(node.zone)
    widest = max(
        width_px(node.title, TITLE_PX, fixed=True),
        width_px(node.zone, LINE_PX) + 18 if node.zone else 0.0,
        *(width_px(line, LINE_PX) for line in node.lines),
        0.0,
    )
    width = min(max(widest + 2 * _PADDING, _BOX_WIDTH_MIN), _BOX_WIDTH_MAX)
    return Size(math.ceil(width), rows * _LINE_HEIGHT + 2 * _PADDING - 6)


def _headings(picture: Picture, layout: Layout) -> str:
    if not picture.columns:
        return ""
    headings = []
    for x, width, column in layout.columns:
        if column < len(picture.columns):
            words = clipped(picture.columns[column], width + 30, LINE_PX)
            headings.append(text(x + width / 2, MARGIN + 6, words, "heading", "middle"))
    return group("headings", "".join(headings))


def _lines(picture: Picture, layout: Layout) -> str:
    """All arrows, below all boxes and words; who hears the page hears their words instead."""
    lines = []
    for arrow, route in zip(picture.arrows, layout.routes, strict=True):
        css = f"arrow {arrow.verdict or 'plain'}" + (" back" if arrow.back else "")
        lines.append(path(route.path, css) + path(_point(arrow, route), f"point {css}"))
    return f'<g class="arrows" aria-hidden="true">{"".join(lines)}</g>'


def _point(arrow: Arrow, route: Route) -> str:
    """The point of an arrow; a bar across it where data was refused."""
    x, y = route.tip
    if arrow.verdict in {"deny", "unconfigured"}:
        return f"M{x - 3:.1f} {y - 6:.1f}V{y + 6:.1f}"
    return f"M{x - 7:.1f} {y - 4:.1f}L{x:.1f} {y:.1f}L{x - 7:.1f} {y + 4:.1f}"


def _boxes(picture: Picture, layout: Layout, looks: Looks) -> str:
    leaving: dict[str, list[int]] = {}
    for index, arrow in enumerate(picture.arrows):
        leaving.setdefault(arrow.of, []).append(index)
    titles = {node.key: node.title for node in picture.nodes}
    parts = []
    for number in layout.order:
        node = picture.nodes[number]
        parts.append(_box(node, layout.boxes[number], looks))
        indexes = sorted(leaving.get(node.key, ()), key=lambda index: layout.routes[index].words[1])
        parts += (
            _on_arrow(picture.arrows[index], layout.routes[index], titles)
            for index in indexes
            if _words(picture.arrows[index])
        )
    return "".join(parts)


def _on_arrow(arrow: Arrow, route: Route, titles: dict[str, str]) -> str:
    """The words of an arrow, on it, as a link to what they count."""
    x, y = route.words
    full = ", ".join(filter(None, (arrow.verdict, arrow.words)))
    tip = f"{full}: from {titles[arrow.of]} to {titles[arrow.to]}"
    css = f"words {arrow.verdict or 'plain'}"
    return link(arrow.href, css, text(x + 2, y - 4, _words(arrow)), tip=tip)


def _box(node: Node, box: Box, looks: Looks) -> str:
    look = looks.look(node.zone) if node.zone else None
    css = f"node {node.shape}" + (f" {look.css}" if look else "") + (" current" if node.current else "")
    parts = list(_outline(node, box))
    inner = box.width - 2 * _PADDING
    x, y = box.x + _PADDING, box.y + _PADDING + 8
    parts.append(text(x, y, clipped_id(node.title, inner, TITLE_PX), "title"))
    if look:
        y += _LINE_HEIGHT
        parts.append(mark(look, x, y - 10.5))
        parts.append(text(x + 18, y, clipped(node.zone, inner - 18, LINE_PX), "zone"))
    for line in node.lines:
        y += _LINE_HEIGHT
        parts.append(text(x, y, clipped(line, inner, LINE_PX)))
    tip = ", ".join(_spoken(node))
    return link(node.href, css, "".join(parts), tip=tip, current=node.current)


def _spoken(node: Node) -> Iterable[str]:
    """All that a box says, unclipped, with what its outline stands for."""
    yield node.title
    if node.shape in _SHAPE_WORDS and _SHAPE_WORDS[node.shape] not in node.title:
        yield _SHAPE_WORDS[node.shape]
    if node.zone:
        yield f"zone {node.zone}"
    yield from node.lines


def _outline(node: Node, box: Box) -> Iterable[str]:
    """The outline of a box, by what it stands for, and the stripe of its zone."""
    x, y, width, height = box.x, box.y, box.width, box.height
    if node.shape == "model":
        left, right, top, bottom = x + _SLANT, x + width - _SLANT, y + _SLANT, y + height - _SLANT
        yield path(
            f"M{left:.1f} {y:.1f}H{right:.1f}L{x + width:.1f} {top:.1f}V{bottom:.1f}"
            f"L{right:.1f} {y + height:.1f}H{left:.1f}L{x:.1f} {bottom:.1f}V{top:.1f}Z",
            "outline",
        )
        return
    if node.shape == "run":
        yield rect(x + _SHEET, y + _SHEET, width - _SHEET, height, "sheet", 3)
        width -= _SHEET
    radius = {"sink": height / 2, "more": height / 2}.get(node.shape, 3)
    yield rect(x, y, width, height, "outline", min(radius, 16))
    if node.zone and node.shape not in {"sink", "more"}:
        yield rect(x, y, 4, height, "stripe")
