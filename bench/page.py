"""Writes the figures of `docs/performance.md` from the newest stored results: `python -m bench.page`.

The text between its marks is generated here, and a test compares it; the rest is written by hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson

from bench.bars import FIGURES
from bench.races import RACES
from bench.report import RESULTS, bar_lines
from bench.subjects import TAGGING

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
BEGIN, END = "<!-- made by python -m bench.page -->\n", "<!-- end -->\n"
_EQUAL = frozenset(subject.name for subject in TAGGING)
Result = Mapping[str, Any]


def newest(directory: Path = RESULTS) -> Result | None:
    """The last measurement of each race and of each bar's figure, with the runs that they are from.

    None if no result has any.
    """
    races: dict[str, tuple[Result, str]] = {}
    bars: dict[str, tuple[Result, str]] = {}
    for file in sorted(directory.glob("2*.json")):
        result = orjson.loads(file.read_bytes())
        if "races" not in result:
            continue  # from the time when there was one table
        run = _run(result)
        races |= {name: (race, run) for name, race in result["races"].items()}
        bars |= {held["bar"]: (held, run) for held in result["bars"] if "median" in held}
    every = [*races.values(), *bars.values()]
    if not every:
        return None
    return {
        "races": {name: race for name, (race, _) in races.items()},
        "bars": {name: held for name, (held, _) in bars.items()},
        "runs": sorted({run for _, run in every}),
    }


def _run(result: Result) -> str:
    changed = " and changes" if result["changed"] else ""
    return (
        f"{result['date']}: commit {result['commit']}{changed}, {result['rounds']} rounds, {result['cores']} "
        f"cores, {result['memory_gb']} GB, load {result['load']} at the start, Python {result['python']}, "
        f"{result['took_s']} s"
    )


def figures(result: Result) -> str:
    """The generated part of the page: a table of equal work, one of everything else, one of the bars."""
    equal = list(_subjects(result, of_equal_work=True))
    other = list(_subjects(result, of_equal_work=False))
    asked = [*(bar for race in RACES for bar in race.bars), *FIGURES]
    bars = [result["bars"][bar.name] for bar in asked if bar.name in result["bars"]]
    return "\n".join(
        (
            "Equal work: each decodes a record, checks it, tags it by the same policy and forwards it.\n",
            _table(equal),
            "Beside it forwarding alone, and the whole pipeline:\n",
            _table(other),
            "What was asked for: median of the ratios or figures of each round, their quartiles; MISSED "
            "where the whole interval lies beyond.\n",
            _table(bar_lines(bars)),
            "Measured by `make bench`, `make bench-full`, `make bench-memory` and `make bench-rights`:\n",
            "".join(f"- {run}\n" for run in result["runs"]),
        )
    )


def _subjects(result: Result, *, of_equal_work: bool) -> Iterable[Mapping[str, str]]:
    for race in RACES:
        for name, subject in result["races"].get(race.name, {"subjects": {}})["subjects"].items():
            if (name in _EQUAL) is of_equal_work:
                yield {
                    "traffic": race.name,
                    "subject": name,
                    "does": subject["does"],
                    "delivery": subject["delivery"],
                    "batches/s": f"{subject['batches_per_s']:,.0f}",
                    "events/s": f"{subject['events_per_s']:,}",
                    "CPU µs a batch": f"{subject['cpu_us']:.0f}" if subject["cpu_us"] else "",
                }


def _table(rows: Iterable[Mapping[str, str]]) -> str:
    lines = [list(row.values()) for row in rows]
    names = list(next(iter(rows), {}))
    ruled = [f"| {' | '.join(cells)} |" for cells in (names, ["---"] * len(names), *lines)]
    return "\n".join(ruled) + "\n"


def written(page: str, result: Result) -> str:
    """The page with the figures of a result between its marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{figures(result)}\n{END}{after}"


def main() -> None:
    """Rewrite the page if a result has a race."""
    result = newest()
    if result is not None:
        PAGE.write_text(written(PAGE.read_text("utf-8"), result), encoding="utf-8")


if __name__ == "__main__":
    main()
