"""Intervals over time, a row for each of what they are of: consents of a wearer, a stay in a zone."""

from __future__ import annotations

from msgspec import Struct

from streams.page.drawing.elements import group, link, mark, path, rect, svg, text
from streams.page.drawing.text import clipped, width_px
from streams.page.drawing.zones import Looks

_MARGIN, _WORD, _WIDTH, _BEHIND = 14.0, 190.0, 620.0, 120.0
_ROW, _BAR = 28.0, 16.0


class Span(Struct, frozen=True, kw_only=True):
    """An interval in nanoseconds since the Unix epoch; one without an end goes on.

    `words` stand on it where there is room, and are told in full to who points at it. A span that is not
    `given` is drawn hollow.
    """

    since_ns: int
    until_ns: int | None = None
    words: str = ""
    href: str = ""
    given: bool = True


class Spans(Struct, frozen=True, kw_only=True):
    """A row of intervals; with a `zone` it has the zone's mark."""

    word: str
    spans: tuple[Span, ...]
    zone: str = ""


class Timeline(Struct, frozen=True, kw_only=True):
    """Rows over a common time, from `since_ns` to `until_ns`, which are `since` and `until` in words."""

    title: str
    description: str
    rows: tuple[Spans, ...]
    since_ns: int
    until_ns: int
    since: str
    until: str


def drawn_timeline(timeline: Timeline, looks: Looks) -> str:
    """Return rows of intervals as SVG; what lies outside of the common time is cut off at its ends."""
    left, top = _MARGIN + _WORD, _MARGIN + 20
    bottom = top + len(timeline.rows) * _ROW
    ends = path(
        f"M{left:.1f} {top - 6:.1f}V{bottom:.1f}M{left + _WIDTH:.1f} {top - 6:.1f}V{bottom:.1f}", "axis"
    )
    parts = [
        ends,
        text(left, top - 12, timeline.since, "axis-word"),
        text(left + _WIDTH, top - 12, timeline.until, "axis-word", "end"),
    ]
    for number, row in enumerate(timeline.rows):
        middle = top + (number + 0.5) * _ROW
        shift = 19 if row.zone else 0
        if row.zone:
            parts.append(mark(looks.look(row.zone), _MARGIN, middle - 6))
        words = clipped(row.word, _WORD - 12 - shift, 12.5)
        parts.append(group("edge", text(_MARGIN + shift, middle + 4, words, "row-word"), row.word))
        parts.append(path(f"M{left:.1f} {middle:.1f}H{left + _WIDTH:.1f}", "axis"))
        parts += (_span(span, row, timeline, left, middle) for span in row.spans)
    return svg(
        "timeline",
        left + _WIDTH + _BEHIND,
        bottom + _MARGIN,
        "".join(parts),
        title=timeline.title,
        description=timeline.description,
    )


def _span(span: Span, row: Spans, timeline: Timeline, left: float, middle: float) -> str:
    length = max(timeline.until_ns - timeline.since_ns, 1)
    until_ns = timeline.until_ns if span.until_ns is None else span.until_ns
    begin, end = (
        left + _WIDTH * min(max((at - timeline.since_ns) / length, 0.0), 1.0)
        for at in (span.since_ns, until_ns)
    )
    # The shortest can still be seen and pointed at.
    width = max(end - begin, 3.0)
    body = rect(begin, middle - _BAR / 2, width, _BAR, "span" if span.given else "span not-given", 2)
    if span.words and width_px(span.words, 11) + 10 < width:
        body += text(begin + 5, middle + 4, span.words, "span-word")
    return link(span.href, "interval", body, tip=f"{row.word}: {span.words}".rstrip(": "))
