"""`sightline snapshots`: stage 6, the writer of the store, in the foreground."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import click

from streams import clock, limits
from streams.cli.output import store_option
from streams.kafka.reader import Follower
from streams.snapshots.writer import Writer
from streams.topology import LINEAGE

_POLL_MS = 100


@click.command("snapshots")
@click.option("--broker", default="127.0.0.1:9092", show_default=True, metavar="HOST:PORT", help="Kafka to read from.")
@store_option
@click.option("--until-end", is_flag=True, help="Stop when what the topic holds now has been published.")
def command(broker: str, store: Path, until_end: bool) -> None:
    """Write what arrives on glasses.lineage into the store, and publish it as epochs; Ctrl-C publishes the rest and stops."""
    writer = Writer.open(store)
    try:
        epoch, rows = asyncio.run(_follow(writer, broker, until_end=until_end))
    finally:
        writer.close()
    click.echo(f"{rows:,} rows taken in; " + (f"the last epoch is {epoch}" if epoch else "no new epoch"))


async def _follow(writer: Writer, broker: str, *, until_end: bool) -> tuple[int | None, int]:
    """Follow the topic until a signal, or its end; return the last epoch published here and the number of rows.

    DuckDB works in a thread, so that the consumer goes on fetching meanwhile.
    """
    stop = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    epoch, rows = None, 0
    async with Follower(broker, LINEAGE, writer.offsets()) as follower:
        end = await follower.end_offsets() if until_end else {}
        known = writer.offsets()
        while not stop.is_set():
            records = await follower.poll(_POLL_MS, limits.FETCH_RECORDS_MAX)
            positions = await follower.positions()
            if records or positions != known:
                rows += await asyncio.to_thread(writer.ingest, records, positions, clock.now_ns())
                known = positions
            epoch = await asyncio.to_thread(writer.publish_due, clock.now_ns()) or epoch
            if until_end and all(positions[partition] >= offset for partition, offset in end.items()):
                break
    return await asyncio.to_thread(writer.publish, clock.now_ns()) or epoch, rows
