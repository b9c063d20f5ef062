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
from streams.cli.output import store_option
from streams.cli.staying import stays
from streams.errors import InputError
from streams.events.record import LogId
from streams.kafka.log_ids import log_ids
from streams.kafka.reader import Follower
from streams.printing import say
from streams.queries.status import Status
from streams.readiness import Ready
from streams.snapshots.directory import HOT
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


@click.command("snapshots")
@click.option(
    "--broker", default=settings.BROKER, show_default=True, metavar="HOST:PORT", help="Kafka to read from."
)
@store_option
@click.option(
    "--adopt",
    is_flag=True,
    help="Go on with another log of glasses.lineage than that of the store, from its beginning.",
)
@click.option(
    "--migrate", is_flag=True, help="Take a store of an earlier version over, and stop; needs no broker."
)
@click.option("--until-end", is_flag=True, help="Stop when what the topic holds now has been published.")
@stays
def command(
    broker: str,
    store: Path,
    adopt: bool,
    migrate: bool,
    until_end: bool,
    ready_fd: int | None,
    ready_file: Path | None,
) -> None:
    """Write what arrives on glasses.lineage into the store, and publish it as epochs.

    Ctrl-C publishes the rest and stops.
    """
    if migrate:
        _migrate(store)
        return
    stop = threading.Event()
    writer = Writer.open(store)
    patient = PatientWriter(writer, log.warning, stop.wait)
    # On a terminal nobody asked for more than the end; a log that stays empty looks like one that hangs.
    status = None if until_end or sys.stdout.isatty() else Status(store)
    try:
        with Ready(ready_fd, ready_file) as ready:
            log_id = asyncio.run(log_ids(broker, [LINEAGE]))[LINEAGE]
            if adopt and writer.adopt(log_id, clock.now_ns()):
                log.warning("%s: goes on with %s, from its beginning", store, log_id)
            elif said := writer.follow(log_id):
                log.warning(said)
            following = _follow(writer, patient, stop, broker, log_id, status, ready, until_end=until_end)
            epoch, rows = asyncio.run(following)
    finally:
        writer.close()
    say(f"{rows:,} rows taken in; " + (f"the last epoch is {epoch}" if epoch else "no new epoch"))


def _migrate(store: Path) -> None:
    """Take a store over, if it is of an earlier version; publish what waits in it, and fold it."""
    if not (store / HOT).exists():
        raise InputError(f"{store}: found no store to take over; name one with --store")
    writer = Writer.open(store)
    try:
        while writer.settle(clock.now_ns()) is not None:
            pass
    finally:
        writer.close()
    say(f"{store} is a store of version {limits.STORE_VERSION}")


async def _follow(
    writer: Writer,
    patient: PatientWriter,
    stop: threading.Event,
    broker: str,
    log_id: LogId,
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
    async with Follower(broker, LINEAGE, writer.offsets(), log_id=log_id) as follower:
        end = await follower.end_offsets() if until_end else {}
        known = writer.offsets()
        ready.say()
        while not stop.is_set():
            records = await follower.poll(_POLL_MS, limits.FETCH_RECORDS_MAX)
            positions = await follower.positions()
            if records or positions != known:
                rows += await asyncio.to_thread(patient.ingest, records, positions, clock.now_ns())
                known = positions
            epoch = await asyncio.to_thread(patient.publish_due, clock.now_ns()) or epoch
            if until_end and all(positions[partition] >= offset for partition, offset in end.items()):
                break
            if status is not None and epoch and clock.monotonic_s() - told_s >= _STATUS_INTERVAL_S:
                told_s = clock.monotonic_s()
                if line := await asyncio.to_thread(told, status):
                    say(line)
    return await asyncio.to_thread(patient.publish, clock.now_ns()) or epoch, rows
