"""Throughput, cost and memory of Sightline, compared with alternatives.

`make bench`, `make bench-full` and `make bench-memory` run it.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click
import orjson

from bench import race, report
from bench.alerts import alerts
from bench.bars import FIGURES, Bar, Held, Measured
from bench.faults import rest, stalls
from bench.generations import generations
from bench.latency import latency, memory
from bench.measuring import measuring
from bench.policy import policy
from bench.races import RACES, Race
from bench.rights.erasures import EDGES, ERASURES, erasures
from bench.rights.refits import REFITS, refits
from bench.rights.sealed import sealed
from bench.rights.withdrawals import WITHDRAWALS, withdrawals
from bench.scale import scale
from bench.sizes import sizes
from bench.stages import stages
from bench.subjects import SUBJECTS
from bench.tls import tls

TINY_BATCHES = 400
ROUNDS, STAGE_BATCHES, SCALE_BATCHES, REST_S = 11, 20_000, 80_000, 60.0
TLS_ROUNDS = 5
GENERATIONS = 1000
_RACES = "races"


def _parts(memory_minutes: float, source: Path | None) -> Mapping[str, Callable[[Path], Measured]]:
    """Measurements other than the races, by name; each gets a path where no directory exists yet."""
    return {
        "sizes": lambda _directory: sizes(STAGE_BATCHES),
        "policy": lambda _directory: policy(STAGE_BATCHES),
        "stages": lambda _directory: stages(STAGE_BATCHES),
        "scale": lambda directory: asyncio.run(scale(directory, SCALE_BATCHES, _say)),
        "latency": lambda directory: asyncio.run(latency(directory, _say)),
        "memory": lambda directory: asyncio.run(memory(directory, memory_minutes, _say)),
        "tls": lambda directory: asyncio.run(tls(directory, STAGE_BATCHES, TLS_ROUNDS)),
        "metrics": lambda _directory: measuring(STAGE_BATCHES, ROUNDS),
        "alerts": lambda directory: asyncio.run(alerts(directory, ROUNDS, _say)),
        "generations": lambda directory: asyncio.run(generations(directory, GENERATIONS, _say)),
        "rest": lambda directory: asyncio.run(rest(directory, REST_S)),
        "stalls": lambda directory: asyncio.run(stalls(directory, _say)),
        "withdrawals": lambda directory: asyncio.run(withdrawals(directory, WITHDRAWALS, _say)),
        "refits": lambda directory: asyncio.run(refits(directory, REFITS, _say)),
        "erasures": lambda directory: asyncio.run(erasures(directory, source, EDGES, ERASURES, _say)),
        "sealing": lambda directory: sealed(directory, STAGE_BATCHES, ROUNDS),
    }


#: Several parts by one name.
_TOGETHER: Mapping[str, Sequence[str]] = {"rights": ("withdrawals", "refits", "erasures", "sealing")}
PARTS = (_RACES, *_parts(0, None), *_TOGETHER)


@click.command()
@click.argument("parts", nargs=-1, type=click.Choice(PARTS), metavar="[PART]...")
@click.option(
    "--race",
    "races",
    multiple=True,
    type=click.Choice([asked.name for asked in RACES]),
    help="This race alone; may be repeated.",
)
@click.option(
    "--only",
    multiple=True,
    type=click.Choice([subject.name for subject in SUBJECTS]),
    help="Race these alone; may be repeated.",
)
@click.option("--rounds", type=click.IntRange(1), default=ROUNDS, show_default=True, help="Rounds of a race.")
@click.option("--memory-minutes", default=20.0, show_default=True, help="How long memory is watched.")
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=None,
    help="Store of a demo whose rows part erasures copies.  [default: a demo is played first]",
)
@click.option("--tiny", is_flag=True, help="One round of 400 batches, nothing kept: shows that it runs.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of tables.")
def main(
    *,
    parts: tuple[str, ...],
    races: tuple[str, ...],
    only: tuple[str, ...],
    rounds: int,
    memory_minutes: float,
    source: Path | None,
    tiny: bool,
    as_json: bool,
) -> None:
    """Measure the PARTs that are named, each on an embedded broker of its own; without any, the races.

    A part is one of races, sizes, policy, stages, scale, latency, memory, tls, metrics, alerts, generations,
    rest, stalls, withdrawals, refits, erasures and sealing; rights is the last four.
    """
    began_s = time.perf_counter()
    # Other signals than Ctrl-C must not leave a broker behind either.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    rounds = 1 if tiny else rounds
    parts = tuple(each for part in parts or (_RACES,) for each in _TOGETHER.get(part, (part,)))
    result: dict[str, Any] = {**report.machine(), "rounds": rounds, "skipped": report.skipped(), "races": {}}
    for name, reason in result["skipped"].items():
        _say(f"not run: {name}: {reason}")
    tables: dict[str, Any] = {}
    held: list[Held] = []
    with tempfile.TemporaryDirectory(prefix="sightline-bench-") as made:
        directory = Path(made)
        if _RACES in parts:
            chosen = [asked for asked in RACES if not races or asked.name in races]
            for asked in _narrowed(chosen, only, result["skipped"]):
                run = partial(race.run, asked, directory / asked.name, rounds, _say, tiny=tiny)
                result["races"][asked.name] = run(batches=TINY_BATCHES if tiny else asked.batches)
                held += result["races"][asked.name]["bars"]
        for name, measure in _parts(memory_minutes, source).items():
            if name in parts:
                measured = measure(directory / name)
                tables |= measured.tables
                held += measured.bars
    result |= {"tables": tables, "bars": _in_order(held), "took_s": round(time.perf_counter() - began_s)}
    if not tiny:
        _say(f"kept in {report.keep(result)}")
    if as_json:
        click.echo(orjson.dumps(result))
    else:
        report.show(result)


def _narrowed(asked: Sequence[Race], only: Sequence[str], skipped: Mapping[str, str]) -> list[Race]:
    """The races, limited to the requested subjects that can run here; races without any are left out."""
    narrowed = [
        replace(
            one,
            subjects=tuple(
                subject
                for subject in one.subjects
                if subject.name not in skipped and (not only or subject.name in only)
            ),
        )
        for one in asked
    ]
    return [one for one in narrowed if one.subjects]


def _in_order(held: Sequence[Held]) -> list[Held]:
    """One line per bar; a bar without a measurement in this run says so."""
    by_name = {one["bar"]: one for one in held}
    every: list[Bar] = [*(bar for asked in RACES for bar in asked.bars), *FIGURES]
    return [by_name.get(bar.name) or {"bar": bar.name, "asked": bar.asked} for bar in every]


def _say(sentence: str) -> None:
    click.echo(sentence, err=True)


if __name__ == "__main__":
    main()
