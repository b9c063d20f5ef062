"""SVG elements as text. Every text and every attribute that holds somebody's words is escaped here.

No element has a style: what things look like stands in page.css, by class, and in a Content-Security-Policy
without exceptions nothing else would be obeyed. Sizes are in pixels of the drawing; the drawing itself is
measured in the reader's font, so that it grows with it.
"""

from __future__ import annotations

from streams.page.drawing.text import escaped
from streams.page.drawing.zones import Look

#: Pixels of a drawing to one `rem`.
_REM_PX = 16
#: On a narrow screen a drawing is made smaller down to about this share, in steps of so many `rem` that
#: page.css has a class for; beyond that it is moved to and fro. One that is wider than the widest class stays
#: as it is.
_SMALLEST, _STEP_REM, _LEAST_REM_MAX = 0.8, 5, 200
#: A higher drawing could not be read if it were made to fit one printed sheet, so it goes on over several.
_ONE_SHEET_PX = 1400


def svg(kind: str, width: float, height: float, body: str, *, title: str, description: str) -> str:
    """Return a whole drawing, in a field that can be moved to and fro if it is wider than the page."""
    steps = width / _REM_PX / _STEP_REM
    rem = int(steps * _SMALLEST) * _STEP_REM
    least = f"least-{rem}" if rem <= _LEAST_REM_MAX else "least-all"
    long = " long" if height > _ONE_SHEET_PX else ""
    role = "group" if "<a " in body else "img"
    # Tab reaches the links in a drawing; without any it reaches the field, so that that can be moved.
    reached = "" if role == "group" else f' tabindex="0" role="group" aria-label="{escaped(title)}"'
    across, down = f"{width / _REM_PX:.2f}rem", f"{height / _REM_PX:.2f}rem"
    return (
        f'<div class="drawing {least}{long}"{reached}><svg xmlns="http://www.w3.org/2000/svg" class="{kind}" '
        f'role="{role}" aria-label="{escaped(title)}" width="{across}" height="{down}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}"><title>{escaped(title)}</title>'
        f"<desc>{escaped(description)}</desc>{body}</svg></div>"
    )


def text(x: float, y: float, words: str, css: str = "", anchor: str = "") -> str:
    """Return a line of text whose baseline is at `y`; `anchor` is start, middle or end."""
    of_class = f' class="{css}"' if css else ""
    anchored = f' text-anchor="{anchor}"' if anchor else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{of_class}{anchored}>{escaped(words)}</text>'


def rect(x: float, y: float, width: float, height: float, css: str, radius: float = 0) -> str:
    """Return a rectangle."""
    rounded = f' rx="{radius:g}"' if radius else ""
    return f'<rect class="{css}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"{rounded}/>'


def path(data: str, css: str) -> str:
    """Return a path."""
    return f'<path class="{css}" d="{data}"/>'


def group(css: str, body: str, tip: str = "") -> str:
    """Return a group of elements; the `tip` is shown to who points at it, and read aloud."""
    return f'<g class="{css}">{_tip(tip)}{body}</g>'


def link(href: str, css: str, body: str, *, tip: str, current: bool = False) -> str:
    """Return a link around elements; the `tip` is its name. Without a `href` it is a group."""
    here = ' aria-current="true"' if current else ""
    if not href:
        return f'<g class="{css}"{here}>{_tip(tip)}{body}</g>'
    return f'<a href="{escaped(href)}" class="{css}"{here}>{_tip(tip)}{body}</a>'


def mark(look: Look, x: float, y: float) -> str:
    """Return a zone's mark, 12 by 12 pixels, with its top left corner at (x, y)."""
    return f'<path class="mark {look.css}" transform="translate({x:.1f} {y:.1f})" d="{look.path}"/>'


def mark_alone(look: Look) -> str:
    """Return a zone's mark as a small drawing of its own, for a line of text that has the zone's word."""
    return (
        '<svg class="zone-mark" width="0.75em" height="0.75em" viewBox="0 0 12 12" aria-hidden="true">'
        f'<path class="mark {look.css}" d="{look.path}"/></svg>'
    )


def _tip(words: str) -> str:
    return f"<title>{escaped(words)}</title>" if words else ""
