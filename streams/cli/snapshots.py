"""`sightline snapshots`: stage 6, the writer of the store, in the foreground."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import threading
from pathlib import Path

import click

from streams import clock, limits, settings
from streams.cli import export
from streams.cli.output import store_option
from streams.cli.staying import stays
from streams.kafka.reader import Follower
from streams.printing import say
from streams.queries.status import Status
from streams.readiness import Ready
from streams.snapshots.patience import PatientWriter
from streams.snapshots.writer import Writer
from streams.topology import LINEAGE

log = logging.getLogger(__name__)

_POLL_MS = 100
_STATUS_INTERVAL_S = 5.0


def told(status: Status) -> str | None:
    """One line about what the published store holds, for a log; None when it tells nothing new."""
    if not status.read():
        return None
    total = status.totals
    return (
        f"epoch {status.epoch}  {total['events']:,} events  {total['rejected']:,} rejected  "
        f"{total['answers']:,} answers  {total['examples']:,} examples  model {status.model}"
    )


@click.group("snapshots", invoke_without_command=True)
@click.option(
    "--broker", default=settings.BROKER, show_default=True, metavar="HOST:PORT", help="Kafka to read from."
)
@store_option
@click.option("--until-end", is_flag=True, help="Stop when what the topic holds now has been published.")
@stays
@click.pass_context
def command(
    context: click.Context,
    broker: str,
    store: Path,
    until_end: bool,
    ready_fd: int | None,
    ready_file: Path | None,
) -> None:
    """Write what arrives on glasses.lineage into the store, and publish it as epochs.

    Ctrl-C publishes the rest and stops.
    """
    if context.invoked_subcommand is not None:
        return
    stop = threading.Event()
    writer = Writer.open(store, say=log.warning)
    patient = PatientWriter(writer, log.warning, stop.wait)
    # On a terminal nobody asked for more than the end; a log that stays empty looks like one that hangs.
    status = None if until_end or sys.stdout.isatty() else Status(store)
    try:
        with Ready(ready_fd, ready_file) as ready:
            following = _follow(writer, patient, stop, broker, status, ready, until_end=until_end)
            epoch, rows = asyncio.run(following)
    finally:
        writer.close()
    say(f"{rows:,} rows taken in; " + (f"the last epoch is {epoch}" if epoch else "no new epoch"))


command.add_command(export.command)


async def _follow(
    writer: Writer,
    patient: PatientWriter,
    stop: threading.Event,
    broker: str,
    status: Status | None,
    ready: Ready,
    *,
    until_end: bool,
) -> tuple[int | None, int]:
    """Follow the topic until a signal, or its end.

    Return the last epoch published here and the number of rows.

    DuckDB works in a thread, so that the consumer goes on fetching meanwhile.
    """
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    epoch, rows, told_s = None, 0, clock.monotonic_s()
    async with Follower(broker, LINEAGE, writer.offsets()) as follower:
        end = await follower.end_offsets() if until_end else {}
        known = writer.offsets()
        ready.say()
        while not stop.is_set():
            records = await follower.poll(_POLL_MS, limits.FETCH_RECORDS_MAX)
            positions = await follower.positions()
            if records or positions != known:
                rows += await asyncio.to_thread(patient.ingest, records, positions, clock.monotonic_ns())
                known = positions
            epoch = await asyncio.to_thread(patient.publish_due, clock.monotonic_ns()) or epoch
            if until_end and all(positions[partition] >= offset for partition, offset in end.items()):
                break
            if status is not None and epoch and clock.monotonic_s() - told_s >= _STATUS_INTERVAL_S:
                told_s = clock.monotonic_s()
                if line := await asyncio.to_thread(told, status):
                    say(line)
    return await asyncio.to_thread(patient.settle, clock.now_ns()) or epoch, rows
