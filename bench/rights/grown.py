"""A store of many wearers, grown out of a demo's rows, and what it holds of each of them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from bench.store.rows import DAY_NS, Rows, parts
from streams import clock
from streams.queries.store import Store
from streams.snapshots.writer import Writer

EPOCHS_A_COPY = 10
#: All copies together, ended an hour ago: in a store that has run for long nothing is over that its last
#: rewriting of the day left, and the shortest retention is a day.
_SPREAD_NS, _ENDED_NS = 20 * 3_600_000_000_000, 3_600_000_000_000
#: Sums that stay the same however rows are joined or divided: events, and their numbers.
_OF_WEARERS = """SELECT wearer, sum("count")::BIGINT,
    sum("count" * "first"::HUGEINT + step * ("count" * ("count" - 1) // 2))::VARCHAR
    FROM events WHERE wearer <> '' GROUP BY ALL"""
_OF_DEVICES = """SELECT CASE child_source WHEN 'training' THEN parent_source ELSE child_source END,
    sum(child_count * parent_width)::BIGINT,
    sum(child_count * child_first::HUGEINT + child_step * (child_count * (child_count - 1) // 2))::VARCHAR
    FROM edges GROUP BY ALL"""
Sums = tuple[int, int]


class Grown(NamedTuple):
    """Devices with their wearers, and the number of event-level edges."""

    wearers: Mapping[str, str]
    edges: int


def grow(rows: Rows, target: Path, copies: int, wearers: int) -> Grown:
    """Take copies of a demo's rows into a new store, one after the other, all within a day.

    Every copy has devices of its own, which `wearers` people wear in turn, called s0, s1, ...
    """
    worn, demo_wearers = dict[str, str](), sorted({*rows.tables["events"]["wearer"].to_pylist()} - {""})
    # Nothing of it may have been captured later than the erasures.
    ends_ns = pc.max(rows.tables["events"]["t_last_ns"]).as_py()
    last_ns = ends_ns - clock.now_ns() + _ENDED_NS
    writer = Writer.open(target)
    try:
        for number in range(copies):
            names = {
                f"{name}-{number}": f"s{(len(demo_wearers) * number + place) % wearers}"
                for place, name in enumerate(demo_wearers)
            }
            # A copy is a day later than the one before.
            back_ns = last_ns + number * DAY_NS + (copies - 1 - number) * _SPREAD_NS // copies
            tables = {name: _moved(table, names, back_ns) for name, table in rows.copy(number).items()}
            sides = (tables["events"][name].to_pylist() for name in ("source", "wearer"))
            worn |= {source: wearer for source, wearer in zip(*sides, strict=True) if wearer}
            for part in parts(tables, EPOCHS_A_COPY):
                writer.ingest_tables(part, time.monotonic_ns())
                writer.publish(clock.now_ns())
        writer.settle(clock.now_ns())
    finally:
        writer.close()
    return Grown(worn, rows.edges * copies)


def _moved(table: pa.Table, names: Mapping[str, str], back_ns: int) -> pa.Table:
    """Rows with other names of wearers, and earlier."""
    found = {name: table[name] for name in table.column_names}
    for name, values in found.items():
        if name == "wearer":
            found[name] = pa.array([names.get(each, each) for each in values.to_pylist()], pa.string())
        elif name.endswith("_ns"):
            found[name] = pc.if_else(pc.equal(values, 0), 0, pc.subtract(values, back_ns))
    return pa.table(found)


def of_wearers(store: Store) -> dict[str, Sums]:
    """Number of events by wearer, and the sum of their numbers: with another or a second one it differs."""
    return {name: (count, int(numbers)) for name, count, numbers in store.sql(_OF_WEARERS).rows}


def of_devices(store: Store) -> dict[str, Sums]:
    """The same of edges by the child's device, and by the example's for edges to a model version."""
    return {name: (count, int(numbers)) for name, count, numbers in store.sql(_OF_DEVICES).rows}
