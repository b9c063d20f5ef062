"""The fresh segments of an epoch: its new rows, one file for each table."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from streams.snapshots.epochs.hot import Hot
from streams.snapshots.files import directory
from streams.snapshots.files.coalesce import zones_of
from streams.snapshots.files.columnar import classes_of, combinations, ordered
from streams.snapshots.files.output import UNZONED, Output
from streams.snapshots.files.segments import CLASSED, Segment
from streams.snapshots.rows.poll import numbers

#: Number of files that are written at the same time.
_AT_ONCE = 3


def write(hot: Hot, path: Path, number: int) -> tuple[list[Segment], int]:
    """Write the segments of epoch `number` to the store in `path`.

    Returns them, and the newest epoch whose history is in them; 0 if history stays in the hot file.
    """
    tables, moved = hot.rows_of(number), 0
    if "events" in tables:
        streams, _ = combinations(tables["events"], ("source", "stream"))
        tables["zone_runs"] = zones_of(tables["events"], hot.highest(streams))
    if (history := hot.history()) is not None:
        tables["epochs"] = history
        moved = int(numbers(history, "epoch").max())
    # The classes of an edge are known only after those of its parents were looked up.
    classes = {
        table: hot.numbers_of(classes_of(rows, table)[0]) if table in CLASSED else None
        for table, rows in tables.items()
    }

    def segment(table: str) -> Segment:
        with Output(path, hot.store_id, number, table, together=UNZONED, fresh=True) as output:
            output.add(ordered(tables[table], table), UNZONED, classes[table])
            return output.finish()[0]

    # Several threads, because most of the time is spent waiting for the disk.
    with ThreadPoolExecutor(_AT_ONCE, "fresh") as threads:
        made = list(threads.map(segment, tables))
    directory.sync(path / directory.SEGMENTS)
    return made, moved
