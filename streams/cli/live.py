"""The live view of `sightline demo`.

It shows the stages, what passes between them each second, and what the newest epoch knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from streams.printing import printable
from streams.topology import STAGES

#: What a stage writes, as the key of its count in a status.
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
    status: Mapping[str, Any] = field(default_factory=dict)
    before: Mapping[str, Any] = field(default_factory=dict)
    interval_s: float = 1.0

    def update(self, elapsed_s: float, status: Mapping[str, Any]) -> None:
        """Show `status`, read `elapsed_s` after the start."""
        self.before, self.status = self.status or status, status
        self.interval_s, self.elapsed_s = max(elapsed_s - self.elapsed_s, 0.1), elapsed_s

    def line(self) -> str:
        """The same in one line, for where there is no terminal."""
        if not self.status:
            return f"{self.elapsed_s:4.0f} s  no epoch yet"
        shown = self.status
        return (
            f"{self.elapsed_s:4.0f} s  epoch {shown['epoch']:<3} {int(shown['events']):>7,} events  "
            f"{int(shown['rejected']):>4,} rejected  {shown['answers']:>3} answers  {shown['examples']:>3} "
            f"examples  model {shown['model']}"
        )

    def __rich__(self) -> RenderableType:
        """The view; with ten zones it fits a terminal of 80 by 24."""
        if not self.status:
            return Text(f"{printable(self.scenario)}  {self.elapsed_s:.0f} s  no epoch yet", style="bold")
        return Group(self._head(), Text(""), self._stages(), Text(""), self._zones(), Text(""), self._foot())

    def _head(self) -> Text:
        shown = self.status
        return Text.assemble(
            (f"Sightline · {printable(self.scenario)}", "bold"),
            f"   {self.elapsed_s:.0f} s   epoch {shown['epoch']}, "
            f"published {shown['age_s']:.1f} s ago   lag {shown['lag']} batches",
        )

    def _stages(self) -> Table:
        table = Table(box=None, show_header=False, padding=(0, 1))
        for stage in STAGES:
            if stage.name not in _WRITTEN:
                continue
            name = _WRITTEN[stage.name]
            source = _short(stage.reads[0]) if stage.name in {"zones", "training"} else ""
            count = (
                f"v{self.status['model']}  {self.status['accuracy']:.1%}"
                if name == "model"
                else f"{int(self.status[name]):,}"
            )
            rate = "" if name == "model" else f"{self._rate(self.status, self.before, name):,.1f}/s"
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

    def _zones(self) -> Table:
        table = Table(box=None, padding=(0, 1), header_style="dim")
        for column in ("zone", "events/s", "events"):
            table.add_column(column, justify="left" if column == "zone" else "right")
        before = self.before.get("zones", {})
        for zone, count in self.status["zones"].items():
            table.add_row(
                Text(printable(zone)),
                f"{self._rate(self.status['zones'], before, zone):,.1f}",
                f"{int(count):,}",
            )
        return table

    def _foot(self) -> Text:
        decided = "  ".join(
            f"{printable(verdict)} {int(count):,}" for verdict, count in self.status["verdicts"].items()
        )
        return Text(
            f"decisions  {decided}\nrejected   {int(self.status['rejected']):,} events   "
            "Ctrl-C ends the session and prints the ledger"
        )

    def _rate(self, now: Mapping[str, Any], before: Mapping[str, Any], name: str) -> float:
        return max(0.0, (float(now[name]) - float(before.get(name, 0))) / self.interval_s)
