"""What Sightline does in a second, costs and takes, beside what one would pick instead.

`make bench` and `make bench-full` run it.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import tempfile
from pathlib import Path
from typing import Any

import click
import orjson

from bench import report
from bench.faults import rest, stalls
from bench.latency import latency
from bench.load import DEVICES, EVENTS_PER_BATCH, RECORDING
from bench.policy import policy
from bench.race import prepared, race, ratios, summary
from bench.scale import scale
from bench.stages import stages
from bench.subjects import SUBJECTS
from streams.kafka.broker import EmbeddedBroker, free_port

TINY_BATCHES = 400
STAGE_BATCHES, SCALE_BATCHES, REST_S = 20_000, 80_000, 60.0


@click.command()
@click.option(
    "--batches",
    default=140_000,
    show_default=True,
    help="Batches that the fast subjects work off in a round.",
)
@click.option(
    "--rounds", type=click.IntRange(1), default=None, help="Rounds of the race.  [default: 3, 5 with --full]"
)
@click.option(
    "--only",
    multiple=True,
    type=click.Choice([subject.name for subject in SUBJECTS]),
    help="Race these alone; may be repeated.",
)
@click.option("--full", is_flag=True, help="Also scale, latency, memory, cost a stage, cost at rest, stalls.")
@click.option(
    "--memory-minutes",
    default=20.0,
    show_default=True,
    help="With --full: how long memory is watched; 0 leaves it out.",
)
@click.option("--tiny", is_flag=True, help="One round of 400 batches, nothing kept: shows that it runs.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of the table.")
def main(
    *,
    batches: int,
    rounds: int | None,
    only: tuple[str, ...],
    full: bool,
    memory_minutes: float,
    tiny: bool,
    as_json: bool,
) -> None:
    """Race the transport and the pipeline against the peers, on an embedded broker."""
    # Asked to end otherwise than by Ctrl-C it must not leave a broker behind either.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    rounds = 1 if tiny else rounds or (5 if full else 3)
    batches = TINY_BATCHES if tiny else batches
    skipped = report.skipped()
    subjects = [
        subject for subject in SUBJECTS if subject.name not in skipped and (not only or subject.name in only)
    ]
    result: dict[str, Any] = {
        **report.machine(),
        "rounds": rounds,
        "events_per_batch": EVENTS_PER_BATCH,
        "recording": RECORDING,
        "devices": DEVICES,
        "skipped": skipped,
    }
    for name, reason in skipped.items():
        _say(f"not run: {name}: {reason}")
    with tempfile.TemporaryDirectory(prefix="sightline-bench-") as directory:
        broker = EmbeddedBroker()
        try:
            broker.start(Path(directory) / "kafka", free_port(), _say)
            ids = asyncio.run(prepared(broker.address, batches, *((0,) if tiny else ())))
            counted = asyncio.run(race(broker, Path(directory), ids, subjects, rounds, _say, warm=not tiny))
        finally:
            broker.stop()
        result["tables"] = policy(TINY_BATCHES if tiny else STAGE_BATCHES)
        if full:
            result["tables"] |= _full(Path(directory), memory_minutes)
    result |= {"subjects": summary(subjects, counted), "ratios": ratios(counted)}
    if not tiny:
        _say(f"kept in {report.keep(result)}")
    if as_json:
        click.echo(orjson.dumps(result))
    else:
        report.show(result)


def _full(directory: Path, memory_minutes: float) -> dict[str, Any]:
    """Everything beside the race, each on a broker of its own; what one leaves behind would slow the next."""
    return {
        **stages(STAGE_BATCHES),
        **asyncio.run(scale(directory / "scale", SCALE_BATCHES, _say)),
        **asyncio.run(latency(directory / "latency", memory_minutes, _say)),
        **asyncio.run(rest(directory / "rest", REST_S)),
        **asyncio.run(stalls(directory / "stalls", _say)),
    }


def _say(sentence: str) -> None:
    click.echo(sentence, err=True)


if __name__ == "__main__":
    main()
