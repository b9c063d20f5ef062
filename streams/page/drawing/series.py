"""A number over generations or time, as a line with a point for each value. Works without a script."""

from __future__ import annotations

import math
from collections.abc import Sequence

from msgspec import Struct

from streams.page.drawing.elements import group, link, path, svg, text
from streams.page.drawing.text import clipped

_LEFT, _RIGHT, _TOP, _BOTTOM = 62.0, 20.0, 30.0, 44.0
_WIDTH, _HEIGHT = 640.0, 170.0
#: Room for a word below the axis; with more points than that allows, only some have one.
_WORD = 58.0


class Point(Struct, frozen=True, kw_only=True):
    """A value, what stands below it on the axis, and what it says to who points at it."""

    word: str
    value: float
    tip: str = ""
    href: str = ""


class Series(Struct, frozen=True, kw_only=True):
    """Points from left to right; the axis reaches from `low` to `high` at least."""

    title: str
    description: str
    measure: str
    points: tuple[Point, ...]
    low: float | None = None
    high: float | None = None


def drawn_series(series: Series) -> str:
    """Return a line through the points as SVG; without points, a sentence that says so."""
    points = series.points
    if not points:
        body = text(12, 24, f"{series.measure}: there is nothing to draw yet", "muted")
        return svg("series", _WIDTH, 40, body, title=series.title, description=series.description)
    enclosed = [point.value for point in points] + [
        bound for bound in (series.low, series.high) if bound is not None
    ]
    ticks = _ticks(min(enclosed), max(enclosed))
    low, high = ticks[0], ticks[-1]
    step = _WIDTH / max(len(points) - 1, 1)
    places = [
        (_LEFT + index * step, _TOP + _HEIGHT * (1 - (point.value - low) / (high - low)))
        for index, point in enumerate(points)
    ]
    parts = [_axis(ticks), text(_LEFT - 48, _TOP - 14, series.measure, "axis-word")]
    if len(places) > 1:
        parts.append(path("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places), "series-line"))
    seldom = max(math.ceil(_WORD / step), 1)
    for index, (point, (x, y)) in enumerate(zip(points, places, strict=True)):
        circle = f'<circle class="series-point" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>'
        tip = point.tip or f"{point.word}: {point.value:g}"
        parts.append(link(point.href, "at", circle, tip=tip))
        if index % seldom == 0:
            words = clipped(point.word, max(step, _WORD), 11)
            parts.append(text(x, _TOP + _HEIGHT + 20, words, "axis-word", "middle"))
    return svg(
        "series",
        _LEFT + _WIDTH + _RIGHT,
        _TOP + _HEIGHT + _BOTTOM,
        "".join(parts),
        title=series.title,
        description=series.description,
    )


def _axis(ticks: Sequence[float]) -> str:
    low, high = ticks[0], ticks[-1]
    lines = []
    for tick in ticks:
        y = _TOP + _HEIGHT * (1 - (tick - low) / (high - low))
        lines.append(path(f"M{_LEFT - 6:.1f} {y:.1f}H{_LEFT + _WIDTH + 6:.1f}", "axis"))
        lines.append(text(_LEFT - 12, y + 4, f"{tick:,.6g}", "axis-word", "end"))
    return group("axes", "".join(lines))


def _ticks(low: float, high: float) -> list[float]:
    """About five round numbers that enclose two values."""
    if high - low <= 1e-9 * max(abs(low), abs(high), 1.0):
        low, high = low - 0.5, high + 0.5
    raw = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, max(last, first + 1) + 1)]
