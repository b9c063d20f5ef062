"""From which zone into which sink: a field for each pair, with its numbers over time as small bars.

The bars of a field stand for equal spans of time and are as high as the field's own greatest span allows,
so that a zone with two events is as readable as one with millions; the number above them says how many.
What was denied is the upper part of a bar, in another colour; what had no zone is hollow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from streams.page.drawing.elements import group, link, mark, path, rect, svg, text
from streams.page.drawing.text import clipped
from streams.page.drawing.zones import Looks

_MARGIN, _HEADING, _ROW_WORD = 14.0, 30.0, 164.0
_FIELD_WIDTH, _FIELD_HEIGHT, _GAP = 128.0, 76.0, 6.0
_BARS, _INSET = 28.0, 8.0
#: Parts of a bar from below, with the words for them.
_PARTS: Mapping[str, str] = {
    "allow": "allowed",
    "declassified": "loosened",
    "deny": "denied",
    "unconfigured": "unconfigured",
}


class Share(Struct, frozen=True, kw_only=True):
    """Events of one span of time, by how they were decided."""

    allow: int = 0
    declassified: int = 0
    deny: int = 0
    unconfigured: int = 0

    @property
    def total(self) -> int:
        """All events of the span."""
        return self.allow + self.declassified + self.deny + self.unconfigured


class Field(Struct, frozen=True, kw_only=True):
    """What crossed, or did not, from a zone into a sink; `shares` has one for each span of time."""

    zone: str
    sink: str
    shares: tuple[Share, ...]
    href: str = ""


class Matrix(Struct, frozen=True, kw_only=True):
    """Fields by zone and sink; pairs without one stay empty.

    `since` and `until` are the first and the last time, as words. `zone_hrefs` and `sink_hrefs` make the
    names at the edges links.
    """

    title: str
    description: str
    zones: tuple[str, ...]
    sinks: tuple[str, ...]
    fields: tuple[Field, ...]
    since: str = ""
    until: str = ""
    zone_hrefs: Mapping[str, str] = {}
    sink_hrefs: Mapping[str, str] = {}


def drawn_matrix(matrix: Matrix, looks: Looks) -> str:
    """Return a matrix of crossings as SVG."""
    fields = {(field.zone, field.sink): field for field in matrix.fields}
    left, top = _MARGIN + _ROW_WORD, _MARGIN + _HEADING
    body = []
    for column, sink in enumerate(matrix.sinks):
        words = text(
            left + column * (_FIELD_WIDTH + _GAP) + _FIELD_WIDTH / 2,
            top - 12,
            clipped(sink, _FIELD_WIDTH, 12.5),
            "column-word",
            "middle",
        )
        body.append(link(matrix.sink_hrefs.get(sink, ""), "edge", words, tip=f"into {sink}"))
    for row, zone in enumerate(matrix.zones):
        y = top + row * (_FIELD_HEIGHT + _GAP)
        body.append(_zone(zone, matrix.zone_hrefs.get(zone, ""), y, looks))
        for column, sink in enumerate(matrix.sinks):
            body.append(_field(fields.get((zone, sink)), left + column * (_FIELD_WIDTH + _GAP), y))
    width = left + len(matrix.sinks) * (_FIELD_WIDTH + _GAP) - _GAP + _MARGIN
    height = top + len(matrix.zones) * (_FIELD_HEIGHT + _GAP) - _GAP + _MARGIN
    if matrix.since:
        words = f"each bar is an equal span from {matrix.since} to {matrix.until}"
        body.append(text(left, height + 8, words, "muted"))
        height += 24
    return svg("matrix", width, height, "".join(body), title=matrix.title, description=matrix.description)


def _zone(zone: str, href: str, y: float, looks: Looks) -> str:
    middle = y + _FIELD_HEIGHT / 2
    words = clipped(zone, _ROW_WORD - 30, 12.5)
    body = mark(looks.look(zone), _MARGIN, middle - 7) + text(_MARGIN + 19, middle + 4, words, "row-word")
    return link(href, "edge", body, tip=f"from zone {zone}")


def _field(field: Field | None, x: float, y: float) -> str:
    if field is None or not any(share.total for share in field.shares):
        return group("cell empty", rect(x, y, _FIELD_WIDTH, _FIELD_HEIGHT, "ground", 3))
    sums = {part: sum(getattr(share, part) for share in field.shares) for part in _PARTS}
    total = sum(sums.values())
    stopped = sums["deny"] + sums["unconfigured"]
    parts = [
        rect(x, y, _FIELD_WIDTH, _FIELD_HEIGHT, "ground", 3),
        text(x + _INSET, y + 18, f"{total:,}", "total"),
    ]
    if stopped:
        words = "all refused" if stopped == total else f"{stopped:,} refused"
        parts.append(text(x + _INSET, y + 33, words, "stopped"))
    parts += _bars(field.shares, x + _INSET, y + _FIELD_HEIGHT - 7)
    told = ", ".join(f"{count:,} {_PARTS[part]}" for part, count in sums.items() if count)
    return link(field.href, "cell", "".join(parts), tip=f"{field.zone} into {field.sink}: {told}")


def _bars(shares: Sequence[Share], x: float, base: float) -> list[str]:
    highest = max(share.total for share in shares)
    step = (_FIELD_WIDTH - 2 * _INSET) / len(shares)
    bars = [path(f"M{x:.1f} {base:.1f}h{step * len(shares):.1f}", "axis")]
    for index, share in enumerate(shares):
        y = base
        for part in _PARTS:
            if count := getattr(share, part):
                # What there is at all can be seen, however little it is beside the rest.
                height = max(_BARS * count / highest, 1.5)
                y -= height
                bars.append(rect(x + index * step, y, max(step - 1, 1.0), height, f"share {part}"))
    return bars
