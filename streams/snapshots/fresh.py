"""The fresh segments of an epoch: the rows that it took in, one file a table, cheap to write."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from streams.snapshots import directory
from streams.snapshots.coalesce import zones_of
from streams.snapshots.columnar import classes_of, combinations, ordered
from streams.snapshots.hot import Hot
from streams.snapshots.output import UNZONED, Output
from streams.snapshots.poll import numbers
from streams.snapshots.segments import CLASSED, Segment


def write(hot: Hot, path: Path, number: int) -> tuple[list[Segment], int]:
    """Write the segments of epoch `number` into the store in `path`.

    Returns them, and the newest epoch whose history is among them; 0 when history stays in the hot file.
    """
    tables, moved = hot.rows_of(number), 0
    if "events" in tables:
        streams, _ = combinations(tables["events"], ("source", "stream"))
        tables["zone_runs"] = zones_of(tables["events"], hot.highest(streams))
    if (history := hot.history()) is not None:
        tables["epochs"] = history
        moved = int(numbers(history, "epoch").max())
    made = [_segment(hot, path, number, table, rows) for table, rows in tables.items()]
    directory.sync(path / directory.SEGMENTS)
    return made, moved


def _segment(hot: Hot, path: Path, number: int, table: str, rows: pa.Table) -> Segment:
    # An edge's classes are not known before its parents' are looked up.
    classes = hot.numbers_of(classes_of(rows, table)[0]) if table in CLASSED else None
    with Output(path, hot.store_id, number, table, together=UNZONED, fresh=True) as output:
        output.add(ordered(rows, table), UNZONED, classes)
        return output.finish()[0]
