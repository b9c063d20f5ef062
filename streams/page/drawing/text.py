"""How wide a text is drawn, and what is left of it where there is no room.

The server does not know the reader's fonts, so widths are estimates on the wide side, after DejaVu Sans. All
widths are in pixels of the drawing.
"""

from __future__ import annotations

import unicodedata
from html import escape

from streams.printing import printable

#: Width of a character of a fixed-width font, as a share of the font's size.
FIXED = 0.61
_NARROW, _WIDE = frozenset("iljI.,:;'|!()[]/ "), frozenset("mwMW@%")
_ELLIPSIS = "…"


def escaped(text: str) -> str:
    """Return a text for SVG or HTML: marks escaped, control and invisible characters shown as escapes."""
    return escape(printable(text), quote=True)


def width_px(text: str, size_px: float, *, fixed: bool = False) -> float:
    """Return about how wide a text is, in a fixed-width or a proportional font of `size_px`."""
    if text.isascii() and fixed:
        return len(text) * FIXED * size_px
    return sum(_share(character, fixed) for character in text) * size_px


def _share(character: str, fixed: bool) -> float:
    if unicodedata.east_asian_width(character) in "WF":
        return 2 * FIXED if fixed else 1.05
    if fixed:
        return FIXED
    if character in _NARROW:
        return 0.39
    if character in _WIDE:
        return 0.98
    return 0.72 if character.isupper() else 0.62


def clipped(text: str, most_px: float, size_px: float, *, fixed: bool = False) -> str:
    """Return a text that is at most `most_px` wide; the end of a longer one is replaced by an ellipsis."""
    text = printable(text)
    if width_px(text, size_px, fixed=fixed) <= most_px:
        return text
    left, kept = most_px / size_px - _share(_ELLIPSIS, fixed), 0
    for character in text:
        left -= _share(character, fixed)
        if left < 0:
            break
        kept += 1
    return text[:kept].rstrip() + _ELLIPSIS


def clipped_id(text: str, most_px: float, size_px: float) -> str:
    """Return an id that is at most `most_px` wide, in a fixed-width font.

    A longer one loses its middle, because its end, the number, tells it from its neighbours.
    """
    text = printable(text)
    if width_px(text, size_px, fixed=True) <= most_px:
        return text
    characters = max(int(most_px / (FIXED * size_px)) - 1, 2)
    # Characters of double width leave room for half as many.
    if not text.isascii():
        characters = max(characters // 2, 2)
    head = characters // 2
    return text[:head] + _ELLIPSIS + text[len(text) - (characters - head) :]
