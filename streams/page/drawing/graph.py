"""What a drawing of boxes and arrows is made of: frozen values that a page fills and `svg.py` draws.

All texts are plain and may come from anybody; whoever writes them into SVG escapes them. All links are
relative or absolute paths that the page made itself. Nothing here has a unit but `column`, which counts
columns from the left, from 0.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

#: What a box stands for, which decides its outline: one event, several in a row, a model version, a place
#: where data can go, something that a role is not shown, or a count that can be expanded.
Shape = Literal["event", "run", "model", "sink", "hidden", "more"]
#: How a crossing was decided; empty if nothing was decided on an arrow.
Verdict = Literal["", "allow", "deny", "unconfigured", "declassified"]


class Node(Struct, frozen=True, kw_only=True):
    """A box. `title` is its first line, in bold; the other `lines` follow it.

    `column` is the leftmost column in which it may stand: an arrow's end always stands right of its
    beginning, unless the arrow goes back. Without a column, the box stands as near to what it points at as
    it can. Without a `href` the box is no link. `current` marks the box that the page is about.
    """

    key: str
    title: str
    column: int | None = None
    lines: tuple[str, ...] = ()
    zone: str = ""
    shape: Shape = "event"
    href: str = ""
    current: bool = False


class Arrow(Struct, frozen=True, kw_only=True):
    """An arrow from the node with key `of` to the one with key `to`.

    `words` stand on it, and are a link if there is a `href`. An arrow that goes `back` closes the loop, and
    is drawn in a lane of its own below all boxes; one that would close a cycle without saying so is drawn
    there too.
    """

    of: str
    to: str
    words: str = ""
    href: str = ""
    verdict: Verdict = ""
    back: bool = False


class Picture(Struct, frozen=True, kw_only=True):
    """Boxes, arrows between them, and what the drawing is called and says to who does not see it.

    `columns` are headings of the columns, from the left; none if it is empty. Arrows whose ends are not
    among the nodes raise ValueError when the picture is drawn.
    """

    title: str
    description: str
    nodes: tuple[Node, ...]
    arrows: tuple[Arrow, ...] = ()
    columns: tuple[str, ...] = ()
