"""The loop, one row a generation: what a model learned from, what it answered, and what came back from that.

Rows are read from the top, as time passes. On the left of a row are the examples that the generation added,
then its model, then its answers; accuracy, and how many purposes the labels still permit, stand beside. What
people did with the answers of a generation goes below its row into a lane on the left, and from there into
the examples of later generations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from streams.page.drawing.elements import group, link, mark, path, rect, svg, text
from streams.page.drawing.text import clipped, clipped_id
from streams.page.drawing.zones import Looks

_MARGIN, _HEADING = 14.0, 30.0
_BOX, _MODEL, _ANSWERS, _BAR = 132.0, 222.0, 118.0, 92.0
_ARROW, _ENTRY, _LANE = 38.0, 148.0, 10.0
_ROW_MIN, _CHANNEL, _PORT = 62.0, 26.0, 17.0
_HEADINGS = ("examples added", "model", "answers", "accuracy", "purposes permitted")


class Fed(Struct, frozen=True, kw_only=True):
    """Examples that a generation added, made on the answers of generation `of`; empty: of the seed."""

    of: str
    examples: int
    href: str = ""


class Turn(Struct, frozen=True, kw_only=True):
    """A generation of the loop.

    `lines` stand below the title of its model. `accuracy` is 0 to 1; `purposes` is the mean number of
    purposes that the labels round this generation permit, None if the role is not shown any. `declined` says
    why the model never served; empty if it was promoted.
    """

    key: str
    title: str
    href: str = ""
    zone: str = ""
    lines: tuple[str, ...] = ()
    fed: tuple[Fed, ...] = ()
    examples: int = 0
    examples_href: str = ""
    answers: int = 0
    answers_href: str = ""
    accuracy: float | None = None
    purposes: float | None = None
    declined: str = ""


class Turns(Struct, frozen=True, kw_only=True):
    """The loop by generation, oldest first; `purposes_max` is the full length of the bars of purposes.

    `cut` says where and why the walk ended, if it did; it stands in the last row.
    """

    title: str
    description: str
    turns: tuple[Turn, ...]
    purposes_max: int
    cut: str = ""


class _Row(Struct, frozen=True):
    """Where a row stands: its top, its height, and the height at which its answers go back."""

    top: float
    height: float

    @property
    def middle(self) -> float:
        return self.top + self.height / 2

    @property
    def channel(self) -> float:
        return self.top + self.height + _CHANNEL / 2


def drawn_loop(loop: Turns, looks: Looks) -> str:
    """Return the loop as SVG."""
    return _Drawing(loop, looks).svg()


class _Drawing:
    """A drawing of the loop: where its columns, rows and lanes stand, and the parts that stand there."""

    def __init__(self, loop: Turns, looks: Looks) -> None:
        self.loop, self.looks = loop, looks
        self.rows = _rows(loop.turns)
        self.lanes = _lanes(loop.turns)
        self.entry = _MARGIN + (max(self.lanes.values(), default=-1) + 1) * _LANE
        self.examples = self.entry + _ENTRY
        self.model = self.examples + _BOX + _ARROW
        self.answers = self.model + _MODEL + _ARROW
        self.accuracy = self.answers + _ANSWERS + 3 * _ARROW / 2
        self.purposes = self.accuracy + _BAR + 56

    def svg(self) -> str:
        back = "".join(map(self._back, self.lanes))
        forward = "".join(map(self._forward, self.rows.values()))
        rows = "".join(self._row(turn, self.rows[turn.key]) for turn in self.loop.turns)
        bottom = max((row.channel for row in self.rows.values()), default=_HEADING) + _CHANNEL / 2
        cut = text(self.examples, bottom + 12, self.loop.cut, "cut") if self.loop.cut else ""
        return svg(
            "loop",
            self.purposes + _BAR + 56,
            bottom + _MARGIN + (_HEADING if cut else 0),
            f'{self._headings()}<g class="arrows" aria-hidden="true">{back}{forward}</g>{rows}{cut}',
            title=self.loop.title,
            description=self.loop.description,
        )

    def _headings(self) -> str:
        middles = (self.examples + _BOX / 2, self.model + _MODEL / 2, self.answers + _ANSWERS / 2)
        places = [(x, "middle") for x in middles] + [(self.accuracy, ""), (self.purposes, "")]
        return group(
            "headings",
            "".join(
                text(x, _MARGIN + 6, words, "heading", anchor)
                for (x, anchor), words in zip(places, _HEADINGS, strict=True)
            ),
        )

    def _forward(self, row: _Row) -> str:
        parts = []
        for x, to in ((self.examples + _BOX, self.model), (self.model + _MODEL, self.answers)):
            parts.append(path(f"M{x:.1f} {row.middle:.1f}H{to:.1f}", "arrow plain"))
            parts.append(_point(to, row.middle))
        return "".join(parts)

    def _back(self, key: str) -> str:
        """The way back from a generation's answers: below its row, into its lane, out at later rows."""
        row = self.rows[key]
        lane = self.entry - _LANE * (self.lanes[key] + 0.5)
        right = self.answers + _ANSWERS
        parts = [f"M{right:.1f} {row.middle:.1f}H{right + 14:.1f}V{row.channel:.1f}H{lane:.1f}"]
        points = []
        for turn in self.loop.turns:
            for index, fed in enumerate(turn.fed):
                if fed.of == key:
                    height = _entry_at(turn, index, self.rows[turn.key])
                    parts.append(f"M{lane:.1f} {row.channel:.1f}V{height:.1f}H{self.examples:.1f}")
                    points.append(_point(self.examples, height, "back"))
        return path("".join(parts), "arrow plain back") + "".join(points)

    def _row(self, turn: Turn, row: _Row) -> str:
        titles = {other.key: other.title for other in self.loop.turns}
        entries = "".join(
            link(
                fed.href,
                "words plain",
                text(self.entry + 6, _entry_at(turn, index, row) - 4, _came(fed, titles)),
                tip=f"{counted(fed.examples, 'example')} {_whence(fed, titles)}, learned by {turn.title}",
            )
            for index, fed in enumerate(turn.fed)
        )
        return (
            entries
            + self._count(turn, row, self.examples, _BOX, turn.examples, "example", turn.examples_href)
            + self._box(turn, row)
            + self._count(turn, row, self.answers, _ANSWERS, turn.answers, "answer", turn.answers_href)
            + _bar(turn.accuracy, 1.0, self.accuracy, row, f"accuracy of {turn.title}")
            + _bar(
                turn.purposes,
                float(self.loop.purposes_max),
                self.purposes,
                row,
                f"purposes permitted round {turn.title}",
            )
        )

    def _count(self, turn: Turn, row: _Row, x: float, width: float, count: int, noun: str, href: str) -> str:
        words = counted(count, noun)
        height = max(34.0, len(turn.fed) * _PORT + 4) if noun == "example" else 34.0
        body = rect(x, row.middle - height / 2, width, height, "outline", 3) + text(
            x + width / 2, row.middle + 4, words, "title", "middle"
        )
        return link(href, "node run", body, tip=f"{words} of {turn.title}")

    def _box(self, turn: Turn, row: _Row) -> str:
        look = self.looks.look(turn.zone) if turn.zone else None
        x, inner = self.model, _MODEL - 24
        lines = [turn.zone, *turn.lines] if look else list(turn.lines)
        height = 20 + 17.0 * (1 + len(lines))
        top = row.middle - height / 2
        y = top + 19
        parts = [rect(x, top, _MODEL, height, "outline", 9), rect(x, top + 9, 4, height - 18, "stripe")]
        parts.append(text(x + 13, y, clipped_id(turn.title, inner, 12.5), "title"))
        for index, line in enumerate(lines):
            y += 17
            marked = look is not None and index == 0
            if look is not None and marked:
                parts.append(mark(look, x + 13, y - 10.5))
            parts.append(text(x + (31 if marked else 13), y, clipped(line, inner - 18 * marked, 12)))
        css = f"node model {look.css}" if look else "node model"
        return link(turn.href, css, "".join(parts), tip=", ".join((turn.title, *lines)))


def counted(count: int, noun: str) -> str:
    """Return a number and what is counted."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _whence(fed: Fed, titles: Mapping[str, str]) -> str:
    return f"on answers of {titles.get(fed.of, fed.of)}" if fed.of else "of the seed"


def _came(fed: Fed, titles: Mapping[str, str]) -> str:
    """Words on an entry: how many examples, and of which generation, by the number in its name."""
    version = titles.get(fed.of, fed.of).rpartition("/")[2]
    whence = f"from {version}'s answers" if fed.of else "of the seed"
    return clipped(f"{fed.examples:,} {whence}", _ENTRY - 14, 11.5)


def _point(x: float, y: float, css: str = "") -> str:
    data = f"M{x - 7:.1f} {y - 4:.1f}L{x:.1f} {y:.1f}L{x - 7:.1f} {y + 4:.1f}"
    return path(data, f"point arrow plain {css}".rstrip())


def _bar(value: float | None, most: float, x: float, row: _Row, tip: str) -> str:
    """A value as a bar of a full length, with its number behind it; a dash where there is none."""
    if value is None:
        return group("bar-value", text(x, row.middle + 4, "none", "muted"), f"{tip}: not known")
    filled = _BAR * min(max(value / most if most else 0.0, 0.0), 1.0)
    number = f"{value:.2f}"
    body = (
        rect(x, row.middle - 6, _BAR, 12, "bar-track", 2)
        + rect(x, row.middle - 6, filled, 12, "bar-filled", 2)
        + text(x + _BAR + 8, row.middle + 4, number)
    )
    return group("bar-value", body, f"{tip}: {number} of {most:g}")


def _rows(turns: Sequence[Turn]) -> Mapping[str, _Row]:
    rows, top = {}, _MARGIN + _HEADING
    for turn in turns:
        height = max(
            _ROW_MIN, 20 + 17.0 * (1 + bool(turn.zone) + len(turn.lines)), len(turn.fed) * _PORT + 14
        )
        rows[turn.key] = _Row(top, height)
        top += height + _CHANNEL
    return rows


def _lanes(turns: Sequence[Turn]) -> dict[str, int]:
    """Lane of each generation whose answers were learned from; those that do not overlap share lanes."""
    number = {turn.key: index for index, turn in enumerate(turns)}
    last: dict[str, int] = {}
    for index, turn in enumerate(turns):
        for fed in turn.fed:
            if fed.of in number:
                last[fed.of] = max(index, last.get(fed.of, number[fed.of]))
    ends: list[int] = []
    lanes = {}
    for key in sorted(last, key=number.__getitem__):
        lane = next((lane for lane, end in enumerate(ends) if end <= number[key]), len(ends))
        ends[lane : lane + 1] = [last[key]]
        lanes[key] = lane
    return lanes


def _entry_at(turn: Turn, index: int, row: _Row) -> float:
    """Height at which what came from an earlier generation enters a row."""
    return row.middle + (index - (len(turn.fed) - 1) / 2) * _PORT
