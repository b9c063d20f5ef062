"""The live view of `sightline demo`: the stages, events per second, and counts of the newest epoch."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from streams.demo import DemoStatus
from streams.printing import printable
from streams.topology import STAGES

#: Key, in a status, of the number of events that each stage wrote.
_WRITTEN = {
    "zones": "events",
    "processing": "derived",
    "assistant": "answers",
    "feedback": "examples",
    "training": "model",
}


def _short(topic: str) -> str:
    return topic.removeprefix("glasses.")


@dataclass
class View:
    """What is shown; `update` takes the newest status (see `streams.demo.Demo.status`) once a second."""

    scenario: str
    elapsed_s: float = 0.0
    status: DemoStatus | None = None
    before: DemoStatus | None = None
    interval_s: float = 1.0

    def update(self, elapsed_s: float, status: DemoStatus | None) -> None:
        """Show `status`, read `elapsed_s` after the start."""
        self.before, self.status = self.status or status, status
        self.interval_s, self.elapsed_s = max(elapsed_s - self.elapsed_s, 0.1), elapsed_s

    def line(self) -> str:
        """The same in one line, for output that is no terminal."""
        if self.status is None:
            return f"{self.elapsed_s:4.0f} s  no epoch yet"
        shown = self.status
        return (
            f"{self.elapsed_s:4.0f} s  epoch {shown.epoch:<3} {shown.events:>7,} events  "
            f"{shown.rejected:>4,} rejected  {shown.answers:>3} answers  {shown.examples:>3} "
            f"examples  model {shown.model}"
        )

    def __rich__(self) -> RenderableType:
        """The view; with ten zones it fits a terminal of 80 by 24."""
        shown = self.status
        if shown is None:
            return Text(f"{printable(self.scenario)}  {self.elapsed_s:.0f} s  no epoch yet", style="bold")
        parts = (self._head(shown), Text(""), self._stages(shown), Text(""), self._zones(shown), Text(""))
        return Group(*parts, _foot(shown))

    def _head(self, shown: DemoStatus) -> Text:
        return Text.assemble(
            (f"Sightline · {printable(self.scenario)}", "bold"),
            f"   {self.elapsed_s:.0f} s   epoch {shown.epoch}, "
            f"published {shown.age_s:.1f} s ago   lag {shown.lag} batches",
        )

    def _stages(self, shown: DemoStatus) -> Table:
        table = Table(box=None, show_header=False, padding=(0, 1))
        for stage in STAGES:
            if stage.name not in _WRITTEN:
                continue
            source = _short(stage.reads[0]) if stage.name in {"zones", "training"} else ""
            count, rate = self._written(shown, _WRITTEN[stage.name])
            table.add_row(
                source,
                "──►" if source else "   ",
                Text(f"[{stage.name}]", style="cyan"),
                "──►",
                _short(stage.writes[0]),
                Text(rate, justify="right"),
                Text(count, justify="right"),
            )
        return table

    def _written(self, shown: DemoStatus, name: str) -> tuple[str, str]:
        """How much a stage wrote, by the name of its count, and how much of it per second."""
        if name == "model":
            return f"v{shown.model}  {shown.accuracy:.1%}", ""
        now = getattr(shown, name)
        before = 0 if self.before is None else getattr(self.before, name)
        return f"{now:,}", f"{self._rate(now, before):,.1f}/s"

    def _zones(self, shown: DemoStatus) -> Table:
        table = Table(box=None, padding=(0, 1), header_style="dim")
        for column in ("zone", "events/s", "events"):
            table.add_column(column, justify="left" if column == "zone" else "right")
        before = {} if self.before is None else self.before.zones
        for zone, count in shown.zones.items():
            rate = self._rate(count, before.get(zone, 0))
            table.add_row(Text(printable(zone)), f"{rate:,.1f}", f"{count:,}")
        return table

    def _rate(self, now: int, before: int) -> float:
        return max(0.0, (now - before) / self.interval_s)


def _foot(shown: DemoStatus) -> Text:
    decided = "  ".join(f"{printable(verdict)} {count:,}" for verdict, count in shown.verdicts.items())
    return Text(
        f"decisions  {decided}\nrejected   {shown.rejected:,} events   "
        "Ctrl-C ends the session and prints the ledger"
    )
