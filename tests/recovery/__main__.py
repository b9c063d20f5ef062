"""`make chaos`: rounds of random faults against the whole pipeline, each judged by separate programs.

Exit codes: 0 every round is clean, 1 one is not, 2 wrong arguments, 3 it could not run.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

import click
import orjson

from streams.errors import SightlineError
from tests.recovery.erasures import erasures
from tests.recovery.pauses import pauses, sequence
from tests.recovery.report import Result, block
from tests.recovery.rounds import Options, calm, chaos
from tests.recovery.schedule import KINDS, PACE_S, schedule


@click.command()
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=1,
    show_default=True,
    help="Of the first round; the next ones count on from it.",
)
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
@click.option(
    "--kind",
    type=click.Choice(["faults", "pauses", "erasures"]),
    default="faults",
    show_default=True,
    help="What strikes: faults while it runs, what happens to it and its world while it sleeps, or faults "
    "while wearers are erased, by a command that is killed on its way.",
)
@click.option(
    "--pauses", "steps", type=click.IntRange(1), default=6, show_default=True, help="Of a round of pauses."
)
@click.option(
    "--duration-s",
    type=click.FloatRange(20),
    default=420.0,
    show_default=True,
    help="Of a round's load and faults.",
)
@click.option(
    "--rate",
    type=click.FloatRange(0, min_open=True),
    default=2700.0,
    show_default=True,
    help="Batches a second of all devices.",
)
@click.option("--devices", type=click.IntRange(1, 900), default=24, show_default=True)
@click.option(
    "--faults",
    default="",
    metavar="KIND,KIND",
    help=f"Only these kinds of fault.  [default: all: {', '.join(KINDS)}]",
)
@click.option(
    "--pace-s",
    type=(float, float),
    default=PACE_S,
    show_default=True,
    help="Shortest and longest pause between faults.",
)
@click.option("--plan", is_flag=True, help="Print the schedules and do nothing.")
@click.option(
    "--calm",
    "calmly",
    is_flag=True,
    help="Measure instead what the same set-up sustains without faults, over 30 s.",
)
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=None,
    help=(
        "Keep journals, store, topics and logs there.  [default: a temporary one, kept only of a round "
        "that is not clean]"
    ),
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a round.")
def main(
    *,
    seed: int,
    rounds: int,
    kind: str,
    steps: int,
    duration_s: float,
    rate: float,
    devices: int,
    faults: str,
    pace_s: tuple[float, float],
    plan: bool,
    calmly: bool,
    directory: Path | None,
    as_json: bool,
) -> None:
    """Break the whole pipeline at random while glasses send, then count every record."""
    # Asked to end otherwise than by Ctrl-C it must not leave a process behind either.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    kinds = tuple(faults.split(",")) if faults else tuple(KINDS)
    if unknown := sorted(set(kinds) - KINDS.keys()):
        raise click.BadParameter(
            f"{unknown[0]!r} is no kind of fault; expected some of: {', '.join(KINDS)}", param_hint="--faults"
        )
    seeds = range(seed, seed + rounds)
    if kind == "pauses":
        _pause(seeds, steps, directory, plan=plan, as_json=as_json)
    if kind == "erasures":
        _erase(seeds, duration_s, rate, devices, directory, as_json=as_json)
    options = Options(duration_s, rate, devices, kinds, pace_s)
    if plan:
        for number in seeds:
            click.echo(f"seed {number}")
            for fault in schedule(number, duration_s, kinds=kinds, pace_s=pace_s):
                click.echo(f"  {fault}")
        return
    try:
        clean = _calm(seed, options) if calmly else _rounds(seeds, options, directory, as_json=as_json)
    except SightlineError as error:
        click.echo(f"chaos: {error}", err=True)
        sys.exit(error.exit_code)
    sys.exit(0 if clean else 1)


def _say(sentence: str) -> None:
    click.echo(sentence, err=True)


def _rounds(seeds: range, options: Options, directory: Path | None, *, as_json: bool) -> bool:
    # Every round is run, also after one that is not clean.
    clean = [_round(seed, options, directory, as_json=as_json) for seed in seeds]
    return all(clean)


def _pause(seeds: range, steps: int, directory: Path | None, *, plan: bool, as_json: bool) -> NoReturn:
    """Rounds of pauses, or what they would be."""
    clean = True
    for seed in seeds:
        named = sequence(seed, steps)
        if plan:
            click.echo(f"seed {seed}")
            for name, killed in named:
                click.echo(f"  {name}{' after a kill' if killed else ''}")
            continue
        place = _place(seed, directory)
        found = asyncio.run(pauses(place, seed, named, _say))
        click.echo(orjson.dumps(found.as_dict()).decode() if as_json else "\n".join(found.lines()) + "\n")
        _leave(seed, place, kept=directory is not None, clean=found.clean)
        clean = clean and found.clean
    sys.exit(0 if clean else 1)


def _erase(
    seeds: range, duration_s: float, rate: float, devices: int, directory: Path | None, *, as_json: bool
) -> NoReturn:
    """Rounds of erasures."""
    clean = True
    for seed in seeds:
        place = _place(seed, directory)
        result = asyncio.run(erasures(place, seed, duration_s, rate, devices, _say))
        click.echo(orjson.dumps(result.as_dict()).decode() if as_json else "\n".join(result.lines()) + "\n")
        _leave(seed, place, kept=directory is not None, clean=result.clean)
        clean = clean and result.clean
    sys.exit(0 if clean else 1)


def _place(seed: int, directory: Path | None) -> Path:
    if directory is not None:
        return directory / f"seed-{seed}"
    return Path(tempfile.mkdtemp(prefix=f"sightline-chaos-{seed}-"))


def _leave(seed: int, place: Path, *, kept: bool, clean: bool) -> None:
    if not kept and clean:
        shutil.rmtree(place, ignore_errors=True)
    elif not clean:
        _say(f"seed {seed}: what is left lies in {place}")


def _round(seed: int, options: Options, directory: Path | None, *, as_json: bool) -> bool:
    place = _place(seed, directory)
    result: Result = asyncio.run(chaos(place, seed, options, _say))
    if as_json:
        click.echo(orjson.dumps(result.as_dict()).decode())
    else:
        click.echo("\n".join(block(result)) + "\n")
    _leave(seed, place, kept=directory is not None, clean=result.clean)
    return result.clean


def _calm(seed: int, options: Options) -> bool:
    with tempfile.TemporaryDirectory(prefix="sightline-calm-") as directory:
        found = asyncio.run(calm(Path(directory), seed, options, _say))
    click.echo(orjson.dumps(found).decode())
    return found["late"] is None


if __name__ == "__main__":
    main()
