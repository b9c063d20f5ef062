"""What is measured: programs that read glasses.captured and write a topic of their own, each in its own process."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from streams.demo import Part
from streams.topology import ZONED

FORWARDED = "bench.forwarded"
ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Subject:
    """One program: what it does, whether it can repeat or lose records, the topic that its output is counted on, how it is started."""

    name: str
    does: str
    delivery: str
    output: str
    module: tuple[str, ...]

    def start(self, broker: str, directory: Path) -> Part:
        """Start it on `broker`; it logs into `directory`, which is also where it keeps what it keeps."""
        arguments = [broker if argument == "BROKER" else argument for argument in self.module]
        # The bench is no part of the installed package, and the subject runs in a directory of its own.
        return Part.spawn(self.name, arguments, directory / f"{self.name}.log", cwd=directory, env={**os.environ, "PYTHONPATH": str(ROOT)})


SUBJECTS: tuple[Subject, ...] = (
    Subject("sightline", "stages 1-4, lineage, policy, state: the whole pipeline", "exactly once", ZONED,
            ("streams.cli", "worker", "--broker", "BROKER")),
    Subject("faust", "stock Faust: two headers added, forwarded", "at least once", FORWARDED, ("bench.stock_faust", "BROKER")),
)
