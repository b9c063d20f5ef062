"""`sightline snapshots`: stage 6, the writer of the store, in the foreground."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click

from streams import clock, limits
from streams.cli import snapshots_export
from streams.cli.extending import kinds_option
from streams.cli.measuring import exported, measured
from streams.cli.output import keys_option, store_option
from streams.cli.snapshots_erasing import StatedErasures, warn_of_left
from streams.cli.snapshots_measuring import StoreMeasures
from streams.cli.staying import stays
from streams.connection.address import broker_option
from streams.cycles import collect_cycles
from streams.errors import InputError
from streams.events.kinds import Kinds
from streams.events.partitions import parse
from streams.events.record import LogId, Received
from streams.kafka.log_ids import log_ids
from streams.kafka.reader import Follower, end_offsets
from streams.printing import say
from streams.queries.status import Status
from streams.readiness import Ready
from streams.settings.kafka import Broker
from streams.snapshots.files.directory import HOT
from streams.snapshots.intake import decode
from streams.snapshots.retrying import RetryingWriter
from streams.snapshots.storing import Storing
from streams.snapshots.writer import Writer
from streams.topology import LINEAGE
from streams.waiting import saying

log = logging.getLogger(__name__)

_POLL_MS = 100
_STATUS_INTERVAL_S = 5.0
_UNKNOWN = (
    f"{LINEAGE} tells of a kind of event that is not known here: such records are refused, and stand in the "
    "table rejected. Start again with --extend and the packages that the worker has, with a new store: this "
    "one does not read them again"
)


def told(status: Status) -> str | None:
    """One line for a log about the content of the published store; None if nothing is new."""
    if not status.read():
        return None
    total = status.totals
    return (
        f"epoch {status.epoch}  {total['events']:,} events  {total['rejected']:,} rejected  "
        f"{total['answers']:,} answers  {total['examples']:,} examples  model {status.model}"
    )


@click.group("snapshots", invoke_without_command=True)
@broker_option("Kafka to read from.")
@store_option
@click.option(
    "--partitions",
    metavar="0-1,3",
    default=None,
    help=(
        "Take in only these partitions of glasses.lineage: this is one of several stores, which are read "
        "together. A store keeps its partitions for life; all if left out."
    ),
)
@click.option(
    "--adopt",
    is_flag=True,
    help="Go on with another log of glasses.lineage than that of the store, from its beginning.",
)
@click.option(
    "--migrate", is_flag=True, help="Take a store of an earlier version over, and stop; needs no broker."
)
@keys_option
@kinds_option
@click.option("--until-end", is_flag=True, help="Stop when what the topic holds now has been published.")
@measured
@stays
@click.pass_context
def command(
    context: click.Context,
    broker: Broker,
    store: Path,
    partitions: str | None,
    adopt: bool,
    migrate: bool,
    keys: Path,
    kinds: Kinds,
    until_end: bool,
    metrics_port: int | None,
    metrics_host: str,
    ready_fd: int | None,
    ready_file: Path | None,
) -> None:
    """Write what arrives on glasses.lineage into the store, and publish it as epochs.

    What an erasure on glasses.consents is about leaves the store, and nothing of it is taken in again; the
    key store tells whose it is. Ctrl-C publishes the rest and stops.
    """
    if context.invoked_subcommand is not None:
        return
    wanted = None if partitions is None else parse(partitions)
    if migrate:
        if wanted is not None:
            raise click.UsageError("--migrate reads nothing of a topic: leave --partitions out")
        _migrate(store)
        return
    stop = threading.Event()
    writer = Writer.open(store, say=log.warning)
    retrying = RetryingWriter(writer, log.warning, stop.wait)
    # Progress is only for logs, where silence would look like a hanging process.
    status = None if until_end or sys.stdout.isatty() else Status(store)
    try:
        with Ready(ready_fd, ready_file) as ready, exported("snapshots", metrics_host, metrics_port):
            log_id = asyncio.run(log_ids(broker, [LINEAGE]))[LINEAGE]
            count = 0 if wanted is None else len(asyncio.run(end_offsets(broker, [LINEAGE])))
            share = writer.hold(wanted, count)
            if adopt and writer.adopt(log_id, clock.now_ns()):
                log.warning("%s: goes on with %s, from its beginning", store, log_id)
            elif changed := writer.follow(log_id):
                log.warning(changed)
            measures = StoreMeasures(writer, shown=metrics_port is not None)
            following = _Following(retrying, broker, log_id, share, keys, kinds, status, until_end, measures)
            epoch, rows = asyncio.run(_follow(following, writer.offsets(), stop, ready))
    finally:
        writer.close()
    warn_of_left(store)
    say(f"{rows:,} rows taken in; " + (f"the last epoch is {epoch}" if epoch else "no new epoch"))


def _migrate(store: Path) -> None:
    """Migrate a store of an earlier version; publish waiting rows, and fold it."""
    if not (store / HOT).exists():
        raise InputError(f"{store}: found no store to take over; name one with --store")
    writer = Writer.open(store)
    try:
        while writer.settle(clock.now_ns()) is not None:
            pass
    finally:
        writer.close()
    say(f"{store} is a store of version {limits.STORE_VERSION}")


command.add_command(snapshots_export.command)


@dataclass(frozen=True, slots=True)
class _Following:
    """The writer, its log, its partitions (None: all) and kinds; `until_end`: stop at the end of the log."""

    writer: RetryingWriter
    broker: Broker
    log_id: LogId
    share: tuple[int, ...] | None
    keys: Path
    kinds: Kinds
    status: Status | None
    until_end: bool
    measures: StoreMeasures


async def _follow(
    following: _Following, offsets: Mapping[int, int], stop: threading.Event, ready: Ready
) -> tuple[int | None, int]:
    """Follow the topic from `offsets` on until a signal, or its end.

    Return the last epoch published here and the number of rows. New records are decoded while another thread
    stores and publishes earlier ones, in parallel because DuckDB releases the global interpreter lock.
    """
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    storing, told_s = Storing(following.writer), clock.monotonic_s()
    collecting = asyncio.create_task(collect_cycles())
    try:
        async with (
            contextlib.AsyncExitStack() as waits,
            StatedErasures(following.broker, following.keys) as erasures,
            Follower(
                following.broker, LINEAGE, offsets, partitions=following.share, log_id=following.log_id
            ) as follower,
        ):
            end = await follower.end_offsets() if following.until_end else {}
            known, unknown = offsets, 0
            _say_cut(offsets, await follower.positions())
            await _erase(following, storing, erasures)
            ready.say()
            waits.enter_context(following.measures.running(follower))
            if following.until_end:
                await waits.enter_async_context(saying(f"what {LINEAGE} holds now to be published"))
            while not stop.is_set():
                await _erase(following, storing, erasures)
                arrived_ns, records = await _gathered(follower, stop)
                positions = await follower.positions()
                poll = (
                    await asyncio.to_thread(decode.read, records, following.kinds)
                    if positions != known
                    else None
                )
                if poll is not None and not unknown and (unknown := poll.of_unknown_kinds()):
                    log.warning(_UNKNOWN)
                await storing.next(poll, positions, arrived_ns)
                # What was passed on before is stored now.
                following.measures.progress(positions, known, records)
                known = positions
                if following.until_end and all(
                    positions[partition] >= offset for partition, offset in end.items()
                ):
                    break
                if (
                    following.status is not None
                    and storing.epoch
                    and clock.monotonic_s() - told_s >= _STATUS_INTERVAL_S
                ):
                    told_s = clock.monotonic_s()
                    if line := await asyncio.to_thread(told, following.status):
                        say(line)
    finally:
        collecting.cancel()
        # The store must not be closed while a thread works on it.
        await storing.settled()
    storing.result()
    return await asyncio.to_thread(following.writer.settle, clock.now_ns()) or storing.epoch, storing.rows


def _say_cut(offsets: Mapping[int, int], begins: Mapping[int, int]) -> None:
    """Say where a store has nothing of a partition, and neither has its log the beginning any more."""
    cut = [str(partition) for partition, offset in begins.items() if offset and not offsets.get(partition)]
    if cut:
        log.warning(
            "%s no longer has its first records on partitions %s, and neither has this store: what they told"
            " is only in a backup of a store, which can be continued in place of this one",
            LINEAGE,
            ", ".join(cut),
        )


async def _erase(following: _Following, storing: Storing, erasures: StatedErasures) -> None:
    """Take stated erasures out of the store, if one came since the last look."""
    if (stated := await erasures.taken()) is not None:
        await storing.run(partial(following.writer.erase, *stated, clock.now_ns()))


async def _gathered(follower: Follower, stop: threading.Event) -> tuple[int, dict[int, list[Received]]]:
    """Records of several polls by partition, to be stored in one transaction, and when the first arrived.

    Gathering ends PUBLISH_INTERVAL_MS after the first record, or when there are many records.
    """
    gathered: dict[int, list[Received]] = {}
    count = size = 0
    began_s, arrived_ns = clock.monotonic_s(), clock.monotonic_ns()
    while not stop.is_set() and clock.monotonic_s() - began_s < limits.PUBLISH_INTERVAL_MS / 1000:
        if count:
            # A poll returns as soon as the first of many records arrives.
            await asyncio.sleep(_POLL_MS / 1000)
        for partition, records in (await follower.poll(_POLL_MS, limits.FETCH_RECORDS_MAX - count)).items():
            if not count:
                began_s, arrived_ns = clock.monotonic_s(), clock.monotonic_ns()
            gathered.setdefault(partition, []).extend(records)
            count += len(records)
            size += sum(len(record.value or b"") for record in records)
        if count >= limits.FETCH_RECORDS_MAX or size >= limits.GATHER_BYTES:
            break
    return arrived_ns, gathered
