"""When a wearer was at a place, by what the wearer's devices said of it: lineage holds no coordinates.

Every decision about captured data has the coarse place that its device named (`streams.policy.attributes`). A
stay goes on as long as nothing that the wearer captured, on any device, says that it was elsewhere.
A batch in which the place changes and the zone does not is of the place at which it began.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streams.consent.erased import ErasedPlace, ErasedTime
from streams.lineage.selection import Connection, captured, captured_by
from streams.quoting import quoted
from streams.topology import ZONED

Times = NDArray[np.int64]
#: SQL for the place in the attributes of a decision.
_PLACE = "regexp_extract(attributes, '(?:^| )place=([^ ]+)', 1)"


def looks(connection: Connection, rows: Mapping[str, str], wearer: str) -> pa.Table:
    """What devices said of a wearer's place: `place`, and from when to when it was captured (ns).

    `rows` are FROM clauses by table, as for a `Selection`; what they lack tells nothing.
    """
    if "decisions" not in rows:
        return pa.schema({"place": pa.string(), "low": pa.int64(), "high": pa.int64()}).empty_table()
    of = f"wearer = {quoted(wearer)}"
    told = (
        f'SELECT source, stream, "first", "first" + step * ("count" - 1) AS last, {_PLACE} AS place, '  # noqa: S608
        f"{captured_by('decisions')} AS at_ns, passed FROM {rows['decisions']} "
        f"WHERE {of} AND sink = {quoted(ZONED)} AND attributes <> ''"
    )
    # What was refused has no event. A decision that an erasure left in part has a time that is erased.
    parts = ["SELECT place, at_ns AS low, at_ns AS high FROM told WHERE NOT passed"]
    if "events" in rows:
        parts.append(
            f"SELECT place, {captured_by('events')}, {captured('t_last_ns')} "  # noqa: S608 - names of ours
            f"FROM (SELECT * FROM {rows['events']} WHERE {of}) e ASOF JOIN told t "
            'ON e.source = t.source AND e.stream = t.stream AND e."first" >= t."first" '
            'WHERE e."first" <= t.last'
        )
    return connection.sql(f"WITH told AS MATERIALIZED ({told}) {' UNION ALL '.join(parts)}").to_arrow_table()


def wearers_at(connection: Connection, rows: Mapping[str, str], place: str) -> list[str]:
    """Everybody whose devices ever named a place, in order."""
    wearers = connection.execute(
        f"SELECT DISTINCT wearer FROM {rows['decisions']} WHERE wearer <> '' AND sink = {quoted(ZONED)} "  # noqa: S608
        f"AND {_PLACE} = {quoted(place)} ORDER BY 1"
    ).fetchall()
    return [wearer for (wearer,) in wearers]


def stays_at(of: pa.Table, where: ErasedPlace) -> tuple[ErasedTime, ...]:
    """The stays at a place, cut to its time, in rows of `looks`."""
    low, high = (of.column(name).to_numpy().astype(np.int64) for name in ("low", "high"))
    at = np.fromiter((place == where.place for place in of.column("place").to_pylist()), bool, len(of))
    return tuple(
        ErasedTime(max(first, where.time.since_ns), min(last, where.time.until_ns))
        for first, last in stays(low, high, at)
        if where.time.has(first, last)
    )


def stays(low: Times, high: Times, inside: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """From when to when somebody was there, in order and apart.

    Each look was from `low` to `high`, both within it, and `inside` the place or elsewhere. Two looks there
    are of one stay unless any of a look elsewhere lies between them.
    """
    order = np.argsort(low[inside], kind="stable")
    begins, ends = low[inside][order], np.maximum.accumulate(high[inside][order])
    order = np.argsort(low[~inside], kind="stable")
    away, until = low[~inside][order], np.maximum.accumulate(high[~inside][order])
    # The last that any look elsewhere saw which began before each of these.
    latest = np.concatenate([[-1], until])[np.searchsorted(away, begins[1:], side="left")]
    breaks = np.flatnonzero((begins[1:] > ends[:-1]) & (latest > ends[:-1])) + 1
    return [
        (int(begins[some[0]]), int(ends[some[-1]]))
        for some in np.split(np.arange(len(begins)), breaks)
        if len(some)
    ]
