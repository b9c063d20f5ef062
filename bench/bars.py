"""Bars: figures that are required, with their measurements and whether they are missed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import quantiles
from typing import Any, NamedTuple

Held = Mapping[str, Any]
Rows = list[dict[str, Any]]
NOT_MEASURED = "not measured in this run"


@dataclass(frozen=True, slots=True)
class Bar:
    """A required figure: at least `least`, at most `most`, or between both, in `unit`."""

    name: str
    least: float | None = None
    most: float | None = None
    unit: str = ""

    @property
    def asked(self) -> str:
        """The bounds as they are printed."""
        bounds = [
            f"{sign} {shown(bound)}{self.unit}"
            for sign, bound in (("≥", self.least), ("≤", self.most))
            if bound is not None
        ]
        return ", ".join(bounds)

    def held(self, figures: Sequence[float]) -> Held:
        """The bar with its measurements, one per round.

        It is missed if the whole interval from the lower to the upper quartile is on the wrong side. A
        difference that the rounds of a machine cannot show is no miss, and no proof either.
        """
        low, middle, high = quartiles(figures)
        missed = (self.least is not None and high < self.least) or (self.most is not None and low > self.most)
        return {
            "bar": self.name,
            "asked": self.asked,
            "median": _short(middle),
            "low": _short(low),
            "high": _short(high),
            "rounds": [_short(figure) for figure in figures],
            "missed": missed,
        }


def quartiles(figures: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median and upper quartile; a single figure is all three."""
    if len(figures) == 1:
        return figures[0], figures[0], figures[0]
    low, middle, high = quantiles(figures, n=4, method="inclusive")
    return low, middle, high


def _short(figure: float) -> float:
    return round(figure, 3 if abs(figure) < 10 else 1 if abs(figure) < 1000 else None)


def shown(figure: float) -> str:
    """A figure as text: large ones without decimals, none with an exponent."""
    return f"{figure:,.0f}" if abs(figure) >= 1000 else f"{figure:g}"


BYTES_20 = Bar("bytes of a binary value against JSON's, 20 samples", most=0.68, unit=" x")
BYTES_160 = Bar("bytes of a binary value against JSON's, 160 samples", most=0.45, unit=" x")
DEVICES = Bar("CPU a batch of 1,000 devices against that of 10", least=-15, most=15, unit=" %")
VISIBLE = Bar("sent to visible at half load, p99", most=1, unit=" s")
REST = Bar("at rest, all processes together", most=0.35, unit=" core")
WORKER = Bar("a worker's memory at nine tenths of the load, at most", most=300, unit=" MB")
FLAT = Bar("a worker's memory grows after the first fifth", most=0.5, unit=" MB/minute")
WATCHED = Bar("memory was watched", least=20, unit=" minutes")
METRICS = Bar("CPU time with metrics, of that without", most=1.01, unit=" x")
SCRAPE = Bar("scrape of the metrics, 1,000 devices", most=50, unit=" ms")
SERIES = Bar("series of a worker, 1,000 devices", most=2000)
ALERT = Bar("an alert after its cause", most=5, unit=" s")
FLAT_CPU = Bar("CPU a generation, the last ones against the hundredth", least=0.8, most=1.2, unit=" x")
FLAT_MEMORY = Bar("memory, the last generations against the hundredth", least=0.8, most=1.2, unit=" x")
FLAT_STATE = Bar("state, the last generations against the hundredth", least=0.8, most=1.2, unit=" x")
WHOLE = Bar("kinds of ancestors of the last answer that store and wire count otherwise", most=0)
TRACE = Bar("trace of the last answer through all generations", most=1500, unit=" ms")
CREEP = Bar("purposes that labels of answers lost", least=0, most=0)
WITHDRAWN = Bar("a withdrawal to the last record that still used its wearer, p99", most=1, unit=" s")
REFITTED = Bar("an erasure to the last answer of a model that knew its wearer, longest", most=5, unit=" s")
ERASED = Bar("a whole erasure of one of 24 wearers, 10 million edges, longest", most=60, unit=" s")
LEFT_ALONE = Bar("rows of others that whole erasures lost or doubled, answers that were wrong", most=0)
SEALING = Bar("CPU time that sealing adds to a worker's", most=2, unit=" %")
FIGURES = (
    *(BYTES_20, BYTES_160, DEVICES, VISIBLE, REST, WORKER, FLAT, WATCHED, METRICS, SCRAPE, SERIES, ALERT),
    *(FLAT_CPU, FLAT_MEMORY, FLAT_STATE, WHOLE, TRACE, CREEP),
    *(WITHDRAWN, REFITTED, ERASED, LEFT_ALONE, SEALING),
)


class Measured(NamedTuple):
    """Results of one part of the bench: tables by title, and figures for bars."""

    tables: Mapping[str, Rows]
    bars: Sequence[Held] = ()
