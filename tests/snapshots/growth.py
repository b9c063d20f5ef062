"""Grows a store in a process of its own, whose memory is the writer's; prints one JSON object.

`python -m tests.snapshots.growth STORE ROWS EPOCHS FOLD_MEMORY_MB CHUNK_ROWS`
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import orjson
import xxhash

from bench.memory import peak_mb
from streams import limits, metrics
from streams.lineage.tables import TABLES
from streams.snapshots.writer import Writer
from tests.snapshots.build import POLICY, T0_NS, batch, tables

STREAMS, EVENTS, ZONES = 40, 20, ("public", "home-private", "health")


def main() -> None:
    store, (rows, epochs, memory_mb, chunk_rows) = Path(sys.argv[1]), map(int, sys.argv[2:])
    with patch.multiple(
        limits, FOLD_MEMORY_MB=memory_mb, FOLD_CHUNK_ROWS=chunk_rows, FOLD_ROWS_MAX=2 * chunk_rows
    ):
        grow(store, rows, epochs)


def grow(store: Path, rows: int, epochs: int) -> None:
    peaks_mb = []
    writer = Writer.open(store, fold="inline")
    writer.ingest_tables(tables({"policies": [POLICY]}), 0)
    for epoch in range(epochs):
        writer.ingest_tables({"events": events(epoch * rows // epochs, rows // epochs)}, 0)
        writer.publish(T0_NS + epoch * 3_600_000_000_000)
        peaks_mb.append(peak_mb())
    writer.settle(T0_NS + epochs * 3_600_000_000_000)
    found = {"peaks_mb": peaks_mb, "failed": metrics.read("fold_failed_total")}
    sys.stdout.write(orjson.dumps(found).decode())
    writer.close()


def events(first: int, count: int) -> dict[str, list[Any]]:
    """Batches of some devices in turn, none with the digest or the time of another, in zones that change."""
    zoned = [batch("g0", "imu-right", 0, EVENTS, wearer="w0", zone=zone) for zone in ZONES]
    columns = {
        name: [zoned[at // 997 % 3][name] for at in range(first, first + count)] for name in TABLES["events"]
    }
    every = range(first, first + count)
    columns["source"] = [f"g{at % STREAMS}" for at in every]
    columns["wearer"] = [f"w{at % STREAMS}" for at in every]
    columns["first"] = [at // STREAMS * EVENTS for at in every]
    columns["offset"] = list(every)
    columns["digest"] = [xxhash.xxh3_128_hexdigest(str(at).encode()) for at in every]
    for name in ("t_first_ns", "t_last_ns"):
        columns[name] = [T0_NS + at * 16_000_000 for at in every]
    return columns


if __name__ == "__main__":
    main()
