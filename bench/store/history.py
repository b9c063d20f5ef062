"""Gives a store an artificial history: a number of epochs without rows, after its newest one."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import duckdb

from bench.store.grow import INTERVAL_NS
from streams import clock, limits
from streams.snapshots.writer import Writer

HISTORY = 200_000
_STREAM: dict[str, list[Any]] = {
    "source": ["history"],
    "stream": ["history"],
    "kind": ["history"],
    "captured": [False],
}


def synthesise(store: Path, epochs: int) -> None:
    """Write epochs to a store that no writer has open; the next writer continues their numbers.

    They are 300 ms apart and end now. They are placed as by a writer: the newest in the hot file, the others
    in segments, except that a writer would move them there in smaller portions.
    """
    _insert(store, epochs, clock.now_ns())
    with contextlib.closing(Writer.open(store)) as writer:
        at_hand = limits.EPOCHS_AT_HAND_MAX
        while epochs >= at_hand:
            with patch.object(limits, "EPOCHS_AT_HAND_MAX", epochs):
                writer.ingest_tables({"streams": _STREAM}, time.monotonic_ns())
                writer.publish(clock.now_ns())
            epochs -= epochs // 2 - 1
        writer.settle(clock.now_ns())


def _insert(store: Path, epochs: int, now_ns: int) -> None:
    with duckdb.connect(str(store / "hot.duckdb")) as connection:
        connection.execute("BEGIN")
        connection.execute("CREATE TEMP TABLE newest AS FROM epochs ORDER BY epoch DESC LIMIT 1")
        connection.execute(
            "INSERT INTO epochs SELECT newest.* REPLACE (epoch + i AS epoch, 0 AS rows, "  # noqa: S608 - numbers of ours
            f"{now_ns:d} - ({epochs:d} - i) * {INTERVAL_NS} AS published_ns) "
            f"FROM newest, range(1, {epochs:d} + 1) AS made(i)"
        )
        connection.execute("COMMIT")
