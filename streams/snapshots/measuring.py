"""Metrics of a store's writer."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from streams import metrics
from streams.recorder import OPERATIONS, linked
from streams.snapshots.epochs.hot import Hot


class Measures:
    """Counts what a writer takes in and publishes, in the writer's thread."""

    def __init__(self, hot: Hot) -> None:
        self._hot = hot
        self._appended_ns = 0
        metrics.gauge("io_coverage_ratio", len(linked(OPERATIONS)) / len(OPERATIONS))
        self._show()

    def taken_in(self, tables: Mapping[str, pa.Table]) -> None:
        """Take note of rows that wait for an epoch now."""
        for name, rows in tables.items():
            metrics.count("store_rows_total", len(rows), table=name)
        if "events" in tables and len(tables["events"]):
            newest = pc.max(tables["events"]["appended_ns"]).as_py()
            self._appended_ns = max(self._appended_ns, newest)
        metrics.gauge("store_waiting_rows", sum(self._hot.rows().values()))

    def took(self, seconds: float) -> None:
        """Take note of how long it took to publish an epoch."""
        metrics.observe("store_publish_seconds", seconds)

    def published(self) -> None:
        """Take note of a new epoch."""
        if self._appended_ns:
            metrics.gauge("store_watermark_timestamp_seconds", self._appended_ns / 1e9)
        self._show()

    def _show(self) -> None:
        metrics.gauge("store_epoch", self._hot.newest().number)
        metrics.gauge("store_files", len(self._hot.files.segments()))
        metrics.gauge("store_waiting_rows", sum(self._hot.rows().values()))
        if self._hot.published_ns:
            metrics.gauge("store_published_timestamp_seconds", self._hot.published_ns / 1e9)


def show(directory: Path, waiting_since_ns: int | None, now_ns: int) -> None:
    """Set the gauges of what changes without the writer's doing; for any thread.

    `waiting_since_ns` is since when rows wait, if any do, and `now_ns` is now, both by the monotonic clock.
    """
    waited_ns = 0 if waiting_since_ns is None else max(now_ns - waiting_since_ns, 0)
    metrics.gauge("store_waiting_seconds", waited_ns / 1e9)
    try:
        disk = shutil.disk_usage(directory)
        held = sum(path.stat().st_size for path in (*directory.iterdir(), *directory.glob("segments/*")))
    except OSError:
        # The directory is away for the moment, which the writer says, or a file was just deleted.
        return
    metrics.gauge("store_disk_free_bytes", disk.free)
    metrics.gauge("store_disk_size_bytes", disk.total)
    metrics.gauge("store_bytes", held)
