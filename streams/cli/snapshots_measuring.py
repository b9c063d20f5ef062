"""What `sightline snapshots` measures beside its work: lag, disk, and whether new lineage is complete."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

from streams import clock, limits, metrics
from streams.errors import DamagedError, InputError, UnavailableError, reason
from streams.events.record import Received
from streams.kafka.behind import Behind
from streams.kafka.reader import Follower
from streams.queries.store import Store
from streams.queries.unresolved import Checked, unresolved
from streams.snapshots import measuring
from streams.snapshots.writer import Writer

log = logging.getLogger(__name__)

AGENT = "snapshots"
#: After a check of new lineage, so many times its duration nothing is checked.
_REST = 20


class StoreMeasures:
    """Measures while `running`, if anybody is shown it (`shown`).

    The loop that follows the topic says what it has read and stored.
    """

    def __init__(self, writer: Writer, *, shown: bool) -> None:
        self._writer, self._path, self._shown = writer, writer.path, shown
        self._read: Mapping[int, int] = {}
        self._stored: Mapping[int, int] = {}
        self._oldest_ms: dict[int, int] = {}
        self._behind: dict[int, Behind] = {}
        #: The newest epoch; what was published before this process is not checked.
        self._epoch = 0
        with contextlib.suppress(UnavailableError):
            self._epoch = _newest_epoch(self._path) if shown else 0

    def progress(
        self, read: Mapping[int, int], stored: Mapping[int, int], storing: Mapping[int, list[Received]]
    ) -> None:
        """Take note of the next offsets to read and to store, and of the records that are stored now."""
        self._read, self._stored = read, stored
        self._oldest_ms = {
            partition: records[0].timestamp for partition, records in storing.items() if records
        }

    @contextlib.contextmanager
    def running(self, follower: Follower) -> Iterator[None]:
        """Measure in the background until the block ends."""
        if not self._shown:
            yield
            return
        end = metrics.before_reading(self._show)
        tasks = [asyncio.create_task(self._look(follower)), asyncio.create_task(self._check())]
        try:
            yield
        finally:
            end()
            for task in tasks:
                task.cancel()

    async def _look(self, follower: Follower) -> None:
        while True:
            await asyncio.sleep(limits.LOOK_INTERVAL_S)
            # What is stored is noted before the ends are asked for, so it cannot lie behind them.
            stored, read = self._stored, self._read
            try:
                ends = await follower.ends()
            except UnavailableError as error:
                log.debug("The end of the topic could not be asked for: %s", reason(error))
                continue
            for partition in ends.keys() & stored.keys():
                behind = self._behind.setdefault(partition, Behind())
                behind.oldest_ms = self._oldest_ms.get(partition)
                all_stored = stored[partition] >= read[partition] >= ends[partition]
                behind.look(stored[partition], ends[partition], clock.monotonic_s(), only_markers=all_stored)

    async def _check(self) -> None:
        after, rest_s = self._epoch, limits.METRICS_INTERVAL_S
        while True:
            await asyncio.sleep(rest_s)
            began_s = clock.monotonic_s()
            try:
                checked = await asyncio.to_thread(_checked, self._path, after)
            except (UnavailableError, DamagedError, InputError) as error:
                log.debug("New lineage could not be checked: %s", reason(error))
                continue
            after = checked.epoch
            metrics.count("lineage_checked_events_total", checked.events)
            metrics.count("lineage_incomplete_events_total", checked.unresolved)
            metrics.gauge("lineage_checked_epoch", checked.epoch)
            rest_s = max(limits.METRICS_INTERVAL_S, _REST * (clock.monotonic_s() - began_s))

    def _show(self) -> None:
        now_s, now_ms = clock.monotonic_s(), clock.now_ns() / 1e6
        measuring.show(self._path, self._writer.waiting_since_ns, clock.monotonic_ns())
        for partition, behind in list(self._behind.items()):
            metrics.gauge("lag_records", behind.records, agent=AGENT, partition=str(partition))
            seconds = behind.seconds(now_s, now_ms)
            metrics.gauge("lag_seconds", seconds, agent=AGENT, partition=str(partition))


def _newest_epoch(path: Path) -> int:
    with Store.open(path) as store:
        return store.epoch


def _checked(path: Path, after: int) -> Checked:
    with Store.open(path) as store:
        return unresolved(store, after)
