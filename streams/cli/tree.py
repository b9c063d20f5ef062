"""Walks as trees, for people at a terminal: what each thing was made of, or became, below it."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from rich.text import Text
from rich.tree import Tree

from streams.cli.graph import counted, loosened
from streams.printing import printable
from streams.queries.answers import ReachedRow


def walked(start: str, rows: Iterable[ReachedRow]) -> Tree:
    """What a walk from an event reached: a branch for each hop from a stream to another one.

    What lies beyond a stream that was reached on several ways hangs below the first of them.
    """
    root = Tree(_text(start))
    branches = {(0, start.rpartition("/")[0]): root}
    for (hop, of, stream, _, _), runs in groupby(sorted(rows, key=_way), key=_way):
        branch = branches.get((hop - 1, of), root).add(_told(list(runs)))
        branches.setdefault((hop, stream), branch)
    return root


def _way(row: ReachedRow) -> tuple[int, str, str, str, str]:
    return row.hop, row.of, f"{row.source}/{row.stream}", row.operator, row.declassifier


def _told(runs: list[ReachedRow]) -> Text:
    first = min(runs, key=lambda run: run.first)
    events = sum(run.events for run in runs)
    name = first.id if events == 1 else f"{first.id} and on"
    zones = ", ".join(sorted({zone for run in runs for zone in run.zones}))
    told = f"{counted(events, 'event')}, {zones}; {first.operator}{loosened(first)}"
    return Text.assemble((printable(name), "bold"), "  ", printable(told))


def _text(start: str) -> Text:
    return Text(printable(start), style="bold")
