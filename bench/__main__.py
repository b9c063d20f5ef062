"""`make bench`: batches/s and events/s of the whole pipeline on one worker beside stock Faust forwarding the same batches."""

from __future__ import annotations

import asyncio
import datetime
import importlib.metadata
import os
import platform
import signal
import subprocess
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import click
import orjson
import psutil
from aiokafka.admin import NewTopic
from rich.console import Console
from rich.table import Table

from bench.load import DEVICES, EVENTS_PER_BATCH, RECORDING, Counted, count, fill, span_ns
from bench.subjects import FORWARDED, SUBJECTS, Subject
from streams import clock
from streams.cli.output import emit_table
from streams.kafka.broker import EmbeddedBroker, free_port
from streams.kafka.connection import administering
from streams.kafka.jars import KAFKA_VERSION
from streams.kafka.reader import Follower, end_offsets
from streams.kafka.topics import declare
from streams.topology import PARTITIONS_DEFAULT

RESULTS = Path(__file__).parent / "results"
ROUND_TIMEOUT_S = 180.0
VERSIONS_OF = ("faust-streaming", "aiokafka", "orjson", "numpy", "duckdb")
#: Capture times end this long ago: young enough that Kafka keeps them, old enough that none lies in the future.
_AGE_NS = 3_600_000_000_000
_CAPTION = ("Batches of {events} IMU samples of {recording}, {devices} devices, {partitions} partitions, one worker process each, broker "
            "and reader on the same cores. Counted: committed output, read back, from a subject's first to its last (without its start); "
            "median of {rounds} interleaved rounds. Sightline also writes derived events, lineage and state; no snapshots writer runs. "
            "Faust at its defaults, without web server and leader topic.")


@click.command()
@click.option("--batches", default=40_000, show_default=True, help="Batches a round.")
@click.option("--rounds", default=3, show_default=True, help="Rounds; the order of the subjects turns with each.")
@click.option("--tiny", is_flag=True, help="One round of 400 batches, nothing kept: shows that it runs.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of the table.")
def main(*, batches: int, rounds: int, tiny: bool, as_json: bool) -> None:
    """Race the whole pipeline against stock Faust."""
    # Asked to end otherwise than by Ctrl-C it must not leave a broker behind either.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    batches, rounds = (400, 1) if tiny else (batches, rounds)
    machine = _machine()
    with tempfile.TemporaryDirectory(prefix="sightline-bench-") as directory:
        broker = EmbeddedBroker()
        try:
            broker.start(Path(directory) / "kafka", free_port(), _say)
            counted = asyncio.run(_rounds(broker.address, Path(directory), batches, rounds))
        finally:
            broker.stop()
    result = {**machine, "batches": batches, "rounds": rounds, "events_per_batch": EVENTS_PER_BATCH, "recording": RECORDING,
              "devices": DEVICES, "subjects": {subject.name: _summary(subject, counted[subject.name]) for subject in SUBJECTS}}
    ours, stock = (result["subjects"][name]["batches_per_s"] for name in ("sightline", "faust"))
    result["ratio"] = round(ours / stock, 2) if stock else None
    if not tiny:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{result['date']}.json").write_bytes(orjson.dumps(result, option=orjson.OPT_INDENT_2) + b"\n")
    if as_json:
        click.echo(orjson.dumps(result))
    else:
        _show(result)


def _say(sentence: str) -> None:
    click.echo(sentence, err=True)


async def _rounds(broker: str, directory: Path, batches: int, rounds: int) -> dict[str, list[Counted]]:
    """Let every subject work off the same batches, round by round, one at a time."""
    await declare(broker)
    async with administering(broker) as admin:
        await admin.create_topics([NewTopic(FORWARDED, PARTITIONS_DEFAULT, 1)])
    counted: dict[str, list[Counted]] = {subject.name: [] for subject in SUBJECTS}
    start_ns = clock.now_ns() - _AGE_NS - span_ns(rounds * batches)
    for number in range(rounds):
        wanted = await fill(broker, number * batches, batches, start_ns)
        for subject in SUBJECTS if number % 2 == 0 else SUBJECTS[::-1]:
            found = await _one(subject, broker, directory, wanted)
            counted[subject.name].append(found)
            _say(f"round {number + 1}  {subject.name:10} {found.batches_per_s:>10,.0f} batches/s")
    return counted


async def _one(subject: Subject, broker: str, directory: Path, wanted: set[bytes]) -> Counted:
    begin = {partition: offset for (_, partition), offset in (await end_offsets(broker, [subject.output])).items()}
    async with Follower(broker, subject.output, begin) as output:
        part = subject.start(broker, directory)
        try:
            return await count(output, wanted, ROUND_TIMEOUT_S, lambda: part.process.poll() is None)
        except TimeoutError:
            code = part.process.poll()
            what = f"ran for {ROUND_TIMEOUT_S:.0f} s" if code is None else f"ended with code {code}"
            raise click.ClickException(f"{subject.name} {what} and did not write all batches: {part.last_line()}") from None
        finally:
            await asyncio.to_thread(part.stop)


def _summary(subject: Subject, counted: list[Counted]) -> dict[str, Any]:
    rates = [one.batches_per_s for one in counted]
    return {"does": subject.does, "delivery": subject.delivery, "batches_per_s": median(rates),
            "events_per_s": round(median(rates) * EVENTS_PER_BATCH), "lowest": min(rates), "highest": max(rates),
            "first_output_s": [one.first_s for one in counted], "repeated": sum(one.repeated for one in counted),
            "batches": [one.batches for one in counted], "checksums": [one.checksum for one in counted]}


def _machine() -> dict[str, Any]:
    at = datetime.datetime.fromtimestamp(clock.now_ns() / 1e9, tz=datetime.UTC)
    return {"date": at.strftime("%Y-%m-%dT%H%MZ"), "commit": _git("rev-parse", "--short", "HEAD"),
            "changed": bool(_git("status", "--porcelain", "--untracked-files=no")), "python": platform.python_version(),
            "machine": platform.machine(), "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 2),
            "memory_gb": round(psutil.virtual_memory().total / 1e9),
            "versions": {"kafka": KAFKA_VERSION, **{name: importlib.metadata.version(name) for name in VERSIONS_OF}}}


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=False, cwd=Path(__file__).parent).stdout.strip()


def _show(result: dict[str, Any]) -> None:
    console = Console(soft_wrap=True)
    caption = _CAPTION.format(events=EVENTS_PER_BATCH, recording=RECORDING, devices=DEVICES, partitions=PARTITIONS_DEFAULT,
                              rounds=result["rounds"])
    columns = ("subject", "does", "delivery", "batches/s", "events/s", "lowest … highest")
    rows = [(name, one["does"], one["delivery"], f"{one['batches_per_s']:,.0f}", f"{one['events_per_s']:,}",
             f"{one['lowest']:,.0f} … {one['highest']:,.0f}") for name, one in result["subjects"].items()]
    if console.is_terminal:
        table = Table(caption=caption, caption_justify="left")
        for column in columns:
            table.add_column(column, justify="right" if "/" in column or "…" in column else "left")
        for row in rows:
            table.add_row(*row)
        console.print(table)
    else:
        # A table drawn for 80 columns breaks its words in a log.
        emit_table(columns, rows)
        click.echo(caption)
    sums = {tuple(one["checksums"]) for one in result["subjects"].values()}
    console.print(f"ratio {result['ratio']}; equal work: {'yes' if len(sums) == 1 else 'NO'}; {result['cores']} cores, "
                  f"{result['memory_gb']} GB, Python {result['python']}, commit {result['commit']}")


if __name__ == "__main__":
    main()
