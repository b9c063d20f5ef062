"""An event among what it was made of, what was made of it, and where it went."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from msgspec import Struct

from streams import limits
from streams.page.drawing.graph import Arrow, Node, Picture, Verdict
from streams.page.drawing.loop import counted
from streams.page.pictures.links import Links
from streams.queries.answers import MetModel, ReachedRow, ToldDecision, Why, WhyStored
from streams.topology import ANSWERS, DERIVED, EXAMPLES, STAGES, TRAINING_SOURCE

#: Columns up to the event itself, by the stage that made what stands there.
COLUMNS = ("captured", "derived", "situation, model", "answer", "example")
_AFTER = "what became of it"
_VERDICTS: Mapping[str, Verdict] = {"allow": "allow", "deny": "deny", "unconfigured": "unconfigured"}


class Reaches(Struct, frozen=True, kw_only=True):
    """What is shown of an event: rows of its walks, and how many hops of them are drawn."""

    ancestors: Sequence[ReachedRow] = ()
    descendants: Sequence[ReachedRow] = ()
    models: Sequence[MetModel] = ()
    up: int = 1
    down: int = 1


class _Group(Struct, frozen=True):
    """Runs of one stream that a hop reached from one other stream, drawn as one box."""

    hop: int
    of: str
    stream: str
    runs: tuple[ReachedRow, ...]

    @property
    def key(self) -> str:
        """What is the same for two groups of the same events."""
        first = self.runs[0]
        return f"{self.stream} {first.revision} {[(run.first, run.last, run.events) for run in self.runs]}"

    @property
    def events(self) -> int:
        return sum(run.events for run in self.runs)


class Cut(Struct, frozen=True):
    """A picture, and how many boxes were left out of it because there were too many."""

    picture: Picture
    left_out: int


def event_picture(why: Why, reaches: Reaches, links: Links) -> Cut:
    """Draw an event with `up` hops of what it was made of, and `down` hops of what was made of it.

    At most PAGE_BOXES_MAX boxes are drawn, the nearest first.
    """
    centre = f"{why.source}/{why.stream}"
    drawing = _Drawing(why, centre, reaches, links)
    drawing.add_walk(reaches.ancestors, reaches.up, back=True)
    drawing.add_walk(reaches.descendants, reaches.down, back=False)
    drawing.add_sinks(why.decisions.rows)
    return Cut(
        Picture(
            title=f"{why.id}: what it was made of, and where it went",
            description=drawing.description(),
            nodes=tuple(drawing.nodes.values()),
            arrows=tuple(drawing.arrows),
            columns=() if why.source == TRAINING_SOURCE else (*COLUMNS[: drawing.column + 1], _AFTER),
        ),
        drawing.left_out,
    )


class _Drawing:
    """The boxes and arrows of one picture while they are collected."""

    def __init__(self, why: Why, centre: str, reaches: Reaches, links: Links) -> None:
        self.why, self.links = why, links
        self.models = {model.id: model for model in reaches.models}
        self.centre = f"{centre} centre"
        self.column = _column(why.stream, why.source) or 0
        self.nodes: dict[str, Node] = {self.centre: _centre_node(why, self.centre, self.column)}
        self.arrows: list[Arrow] = []
        self.left_out = 0
        self.beyond: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()

    def add_walk(self, rows: Iterable[ReachedRow], hops: int, *, back: bool) -> None:
        """Add what a walk reached, up to a hop; what lies beyond is a box for each that it hangs on."""
        groups = _grouped(rows)
        at: dict[tuple[int, str], str] = {(0, f"{self.why.source}/{self.why.stream}"): self.centre}
        for group in groups:
            near = at.get((group.hop - 1, group.of))
            if near is None or group.hop > hops + 1:
                continue
            if group.hop == hops + 1:
                self._add_more(group, near, hops, back=back)
                continue
            if group.key not in self.nodes:
                if len(self.nodes) >= limits.PAGE_BOXES_MAX:
                    self.left_out += 1
                    continue
                self.nodes[group.key] = self._node(group, back=back)
            at.setdefault((group.hop, group.stream), group.key)
            self.counts["made of" if back else "became"] += group.events
            self._connect(group, near, back=back)

    def _connect(self, group: _Group, near: str, *, back: bool) -> None:
        declassifier = group.runs[0].declassifier
        words = counted(group.events, "event")
        arrow = Arrow(
            of=group.key if back else near,
            to=near if back else group.key,
            words=f"{words} · {declassifier}" if declassifier else words,
            href=self.links.event(
                f"{self.why.id}/records",
                way="up" if back else "down",
                hop=group.hop,
                stream=group.stream,
            ),
            verdict="declassified" if declassifier else "",
        )
        if arrow not in self.arrows:
            self.arrows.append(arrow)

    def _add_more(self, group: _Group, near: str, hops: int, *, back: bool) -> None:
        """Add to the box that stands for the next hop of another box, and is the address that shows it."""
        key = f"more {back} {near}"
        if key not in self.nodes:
            self.arrows.append(Arrow(of=key if back else near, to=near if back else key))
        self.beyond[key] += group.events
        hop = hops + 1
        self.nodes[key] = Node(
            key=key,
            title=f"{self.beyond[key]:,} more",
            shape="more",
            href=self.links.event(self.why.id, up=hop) if back else self.links.event(self.why.id, down=hop),
        )

    def _node(self, group: _Group, *, back: bool) -> Node:
        first = group.runs[0]
        single = len(group.runs) == 1
        model = self.models.get(first.id) if single else None
        if single and group.events > 1:
            title = f"{first.id}..{first.last}"
        else:
            title = first.id if single else f"{group.stream}, {len(group.runs):,} runs"
        lines = [] if single and group.events == 1 else [counted(group.events, "event")]
        zones = sorted({zone for run in group.runs for zone in run.zones})
        if len(zones) > 1:
            lines.append(", ".join(zones))
        if model is not None:
            lines = [f"{counted(model.examples, 'example')}, accuracy {model.accuracy:.2f}"]
        trained = first.source == TRAINING_SOURCE
        return Node(
            key=group.key,
            column=_column(first.stream, first.source) if back else None,
            title=title,
            lines=tuple(lines),
            zone=zones[0] if len(zones) == 1 else "",
            shape="model" if trained and model is not None else "event" if group.events == 1 else "run",
            href=self.links.event(first.id),
        )

    def add_sinks(self, decisions: Sequence[ToldDecision]) -> None:
        """Add where the event was to go, each with the verdict and the rule."""
        for sink, alike in groupby(sorted(decisions, key=_crossing), key=lambda decision: decision.sink):
            told = list(alike)
            purposes = dict.fromkeys(each.purpose.rpartition(":")[2] for each in told)
            self.nodes[f"sink {sink}"] = Node(
                key=f"sink {sink}",
                title=sink,
                lines=tuple(filter(None, purposes)),
                shape="sink",
                href=self.links.to("/zones", sink=sink),
            )
            self.counts["sinks"] += 1
            for verdict, decision in {(each.verdict, each.rule): each for each in told}.items():
                logged = ", passed and logged" if verdict[0] != "allow" and decision.passed else ""
                self.arrows.append(
                    Arrow(
                        of=self.centre,
                        to=f"sink {sink}",
                        words="" if verdict[0] == "allow" else f"{decision.rule}{logged}",
                        verdict=_VERDICTS.get(decision.verdict, ""),
                        href=self.links.event(self.why.id, "decisions"),
                    )
                )

    def description(self) -> str:
        return (
            f"In the middle {self.why.id}. Left of it what it was made of: "
            f"{counted(self.counts['made of'], 'event')}. Right of it what was made of it: "
            f"{counted(self.counts['became'], 'event')}; and where it was to go: "
            f"{counted(self.counts['sinks'], 'sink')}. The tables below say the same."
        )


def _centre_node(why: Why, key: str, column: int) -> Node:
    if isinstance(why, WhyStored):
        lines = tuple(line for line in (why.rule, f"{why.t_first[:19]}Z".replace("T", " ")) if line)
        return Node(key=key, column=column, title=why.id, zone=why.zone, lines=lines, current=True)
    return Node(key=key, column=column, title=why.id, lines=("not stored: refused",), current=True)


def _crossing(decision: ToldDecision) -> tuple[str, str]:
    return decision.sink, decision.purpose


def _grouped(rows: Iterable[ReachedRow]) -> list[_Group]:
    """Rows by hop, the stream they were reached from, their stream, operator and declassifier."""

    def way(row: ReachedRow) -> tuple[int, str, str, int, str, str]:
        return row.hop, row.of, f"{row.source}/{row.stream}", row.revision, row.operator, row.declassifier

    return [
        _Group(hop, of, stream, tuple(sorted(runs, key=lambda run: run.first)))
        for (hop, of, stream, *_), runs in groupby(sorted(rows, key=way), key=way)
    ]


def _column(stream: str, source: str) -> int | None:
    """Column of a stream by the stage that makes it; 0 for what devices capture."""
    if source == TRAINING_SOURCE:
        return 2
    for stage in STAGES:
        if any(stream == name or stream.startswith(f"{name}-") for name in stage.streams):
            if stream.startswith("situation"):
                return 2
            return {DERIVED: 1, ANSWERS: 3, EXAMPLES: 4}.get(stage.writes[0])
    return 0
