"""What a page shows, as frozen values: a title, blocks in their order, and the same as plain values for JSON.

Texts are plain and may come from anybody; the templates escape them. A drawing is SVG that
`streams.page.drawing` wrote and escaped. All links are addresses that `streams.page.pictures.links` made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, TypeVar

from msgspec import Struct

from streams import limits
from streams.page.pictures.links import Links

T = TypeVar("T")


class Cell(Struct, frozen=True):
    """A value in a table or among facts: its text, where it leads, its class, and the zone of its mark.

    On a live page, a number with the name of a `plot` is also drawn over the time that the page is open.
    """

    text: str
    href: str = ""
    css: str = ""
    zone: str = ""
    plot: str = ""


class Drawing(Struct, frozen=True, tag="drawing"):
    """A drawing below a heading, as SVG; `left_out` says what it does not show, and why."""

    name: str
    heading: str
    svg: str
    left_out: str = ""


class Facts(Struct, frozen=True, tag="facts"):
    """Names and values in pairs."""

    name: str
    heading: str
    pairs: tuple[tuple[str, Cell], ...]


class Table(Struct, frozen=True, tag="table"):
    """Rows below a heading, at most PAGE_ROWS_MAX; `more` counts those that are not shown."""

    name: str
    heading: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    more: int = 0
    none: str = "There are none."


class Notice(Struct, frozen=True, tag="notice"):
    """A sentence that stands out: what is cut, hidden, refused or wrong; `kind` is a class of page.css."""

    words: str
    kind: Literal["", "hidden-by-policy", "refused", "error"] = ""


class Text(Struct, frozen=True, tag="text"):
    """Lines as they stand, such as the text of a policy."""

    name: str
    heading: str
    lines: str


class Field(Struct, frozen=True):
    """An input of a form: its name in the address, its label, its value; any text if there are no choices."""

    name: str
    label: str
    value: str = ""
    choices: tuple[str, ...] = ()


class Form(Struct, frozen=True, tag="form"):
    """Fields that lead to another state of a page; `kept` are the parts of the address that stay."""

    name: str
    heading: str
    action: str
    fields: tuple[Field, ...]
    submit: str
    kept: tuple[tuple[str, str], ...] = ()


Block = Drawing | Facts | Table | Notice | Text | Form


class Section(Struct, frozen=True):
    """A chapter of a report: its name, which is its anchor, its heading, and its blocks in order."""

    name: str
    heading: str
    blocks: tuple[Block, ...]


class Shown(Struct, frozen=True, kw_only=True):
    """A page: its title, its blocks in order, and `plain`, the same facts for its `.json`.

    `live`: the page asks for itself again while somebody looks at it.
    """

    title: str
    blocks: tuple[Block, ...]
    plain: Mapping[str, Any]
    live: bool = False

    def to_dict(self) -> dict[str, object]:
        """The page's facts as plain values for JSON."""
        return {"title": self.title, **self.plain}


def number(value: float | None, href: str = "") -> Cell:
    """A count with its thousands apart, or a share; empty if there is none."""
    text = "" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"
    return Cell(text, href, "number")


def verdict(text: str, *, passed: bool = False) -> Cell:
    """A verdict, with what became of data that was refused in a zone that only logs."""
    logged = ", passed and logged" if passed and text != "allow" else ""
    return Cell(text + logged, css=f"verdict {text}" if text in _VERDICTS else "verdict")


_VERDICTS = frozenset({"allow", "deny", "unconfigured", "declassified"})


def zone(name: str, href: str = "") -> Cell:
    """A zone: its mark and its word."""
    return Cell(name, href, "zone-word", name)


def event(identity: str, links: Links) -> Cell:
    """The id of an event, as a link to its page."""
    return Cell(identity, links.event(identity), "id")


def moment(text: str | None) -> Cell:
    """A time in RFC 3339 to the second, as people read it."""
    return Cell("" if not text else f"{text[:19].replace('T', ' ')}Z", css="moment")


def table(
    name: str,
    heading: str,
    columns: Sequence[str],
    rows: Sequence[T],
    cells: Callable[[T], Iterable[Cell]],
    *,
    more: int = 0,
    none: str = "There are none.",
) -> Table:
    """Make a table of the first PAGE_ROWS_MAX rows; `more` are those that the answer did not hold."""
    shown = rows[: limits.PAGE_ROWS_MAX]
    return Table(
        name,
        heading,
        tuple(columns),
        tuple(tuple(cells(row)) for row in shown),
        more + len(rows) - len(shown),
        none,
    )
