"""Writes the table of `docs/scaling.md` from measured costs a batch: `python -m bench.scaling`.

What stands between its marks is computed here, and a test computes it again; the rest is written by hand.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from bench.report import RESULTS

PAGE = Path(__file__).parents[1] / "docs" / "scaling.md"
BEGIN, END = "<!-- made by python -m bench.scaling -->\n", "<!-- end -->\n"
#: Where the costs stand: races of the pipeline, and the benchmark of the store.
PIPELINE, STORE = "2026-11-26T2235Z.json", "store-2026-11-28T1547Z.json"
FLEETS = (10, 1_000, 100_000)
#: Batches a second of one pair of glasses: with all of its sensors as at rest, and motion and gaze in batches
#: of 0.2 s.
PACES = (60, 10)
#: What a worker is planned for of what it can do, so that it catches up after a stop.
SHARE_PLANNED = 0.7
_SECONDS_A_DAY = 86_400
_VISIBLE = "Sent to visible in a published epoch (13,729 batches/s sustained; bar: p99 ≤ 1 s at half of it)"
_RESTING = "At rest: the writer at 60 captured batches/s, rows decoded already"
_GROWN = "The store: 10,118,413 edges, 1,806,174 rows, 23 device-days"


@dataclass(frozen=True, slots=True)
class Costs:
    """What a batch costs: CPU in µs of a worker and of the broker, bytes in the store.

    `worker_per_s` and `writer_per_s` are batches a second that one process took in a run; `resting_cores` is
    what a writer takes for its epochs while little comes.
    """

    worker_us: float
    broker_us: float
    worker_per_s: float
    writer_per_s: float
    resting_cores: float
    store_bytes: float

    @classmethod
    def read(cls, directory: Path = RESULTS) -> Costs:
        """Costs from the kept results."""
        pipeline, store = (orjson.loads((directory / name).read_bytes()) for name in (PIPELINE, STORE))
        whole = pipeline["subjects"]["sightline"]
        return cls(
            worker_us=whole["cpu_us"],
            broker_us=whole["broker_cpu_us"],
            worker_per_s=whole["batches_per_s"],
            # One writer, one worker and the broker on two cores, at 90 % of what is sustained.
            writer_per_s=pipeline["tables"][_VISIBLE][-1]["batches/s"],
            resting_cores=_figure(store["tables"][_RESTING], "cores"),
            store_bytes=_figure(store["tables"][_GROWN], "bytes a captured batch, hot file included"),
        )

    @property
    def writer_us(self) -> float:
        """CPU of the writer for a batch, in µs; at most, because the run took all of two cores."""
        others_us = self.worker_us + self.broker_us
        return (2 - self.resting_cores) / self.writer_per_s * 1e6 - others_us


def _figure(rows: list[Mapping[str, Any]], what: str) -> float:
    return float(next(row["figure"] for row in rows if row["what"] == what))


def plan(costs: Costs, pairs: int, pace: int) -> dict[str, str]:
    """Row of the table: what so many pairs of glasses take, with `pace` batches a second each."""
    batches_per_s = pairs * pace
    workers = math.ceil(batches_per_s / (costs.worker_per_s * SHARE_PLANNED))
    writers = math.ceil(batches_per_s / (costs.writer_per_s * SHARE_PLANNED))
    writer_cores = writers * costs.resting_cores + batches_per_s * costs.writer_us / 1e6
    return {
        "pairs": f"{pairs:,}",
        "batches/s": f"{batches_per_s:,}",
        "broker, cores": _cores(batches_per_s * costs.broker_us / 1e6),
        "workers": f"{workers:,}",
        "their cores": _cores(batches_per_s * costs.worker_us / 1e6),
        "writers": f"{writers:,}",
        "their cores, at most": _cores(writer_cores),
        "partitions, at least": f"{max(4, workers, writers):,}",
        "store, GB a day": f"{batches_per_s * _SECONDS_A_DAY * costs.store_bytes / 1e9:,.1f}",
    }


def _cores(number: float) -> str:
    return f"{number:,.0f}" if number >= 10 else f"{number:.2f}"


def table(costs: Costs) -> str:
    """The table between the marks."""
    rows = [plan(costs, pairs, pace) for pace in PACES for pairs in FLEETS]
    lines = [f"| {' | '.join(rows[0])} |", f"|{'---:|' * len(rows[0])}"]
    return "\n".join([*lines, *(f"| {' | '.join(row.values())} |" for row in rows)]) + "\n"


def written(page: str, costs: Costs) -> str:
    """The page with the table between its marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table(costs)}\n{END}{after}"


def main() -> None:
    """Write the page anew."""
    PAGE.write_text(written(PAGE.read_text("utf-8"), Costs.read()), encoding="utf-8")


if __name__ == "__main__":
    main()
