"""What of a person's rows is not over: nobody is handed what nobody may be shown.

Views of events, decisions and rejections leave out what is over at once; files have it until their next
rewriting, and edges, runs of zones, opinions and lists of examples with it. What is left out here is what
that rewriting takes (`streams.lineage.expired`), by the broker's time and what has passed since.
"""

from __future__ import annotations

from collections.abc import Mapping

import duckdb
import pyarrow as pa

from streams.limits import KEPT_DAYS_MAX
from streams.lineage.expired import KEPT, READ, Expired
from streams.lineage.kept import OVER_NS
from streams.policy.policy import DAY_NS
from streams.queries.models import has_view
from streams.queries.store import Store
from streams.quoting import quoted

#: One row a class, also if several stores have it: of these the time of the one that is ahead counts.
_CLASSES = (
    f"SELECT policy_version, zone, label, any_value(days), max({OVER_NS}) FROM store.main.keeping "  # noqa: S608 - ours
    "GROUP BY policy_version, zone, label"
)


def without_over(
    store: Store,
    connection: duckdb.DuckDBPyConnection,
    origins: Mapping[str, str],
    rows: Mapping[str, pa.Table],
) -> tuple[Mapping[str, pa.Table], Mapping[str, int]]:
    """Rows by table without what is over, and how many rows by table were over, whole or in part.

    `origins` are FROM clauses for all rows of tables, because what a row names may be no row of the person.
    `connection` gets temporary tables. Errors are those of `Store.shown`.
    """
    # A store that has heard no time of a broker has no classes there, and one of before not even the table.
    classes = store.lookup.rows(_CLASSES) if has_view(store, "over_classes") else []
    if not classes:
        return rows, {}
    *names, days, over_ns = zip(*classes, strict=True)
    columns = [pa.array(column, kind) for column, kind in zip((*names, days), KEPT.types, strict=True)]
    now_ns = max(at_ns + min(each, KEPT_DAYS_MAX) * DAY_NS for each, at_ns in zip(days, over_ns, strict=True))
    devices = {
        source
        for some in rows.values()
        for name in some.column_names
        if name.endswith("source")
        for source in some.column(name).unique().to_pylist()
    }
    if not devices:
        return rows, {}
    listed = ", ".join(map(quoted, sorted(devices)))
    # What names an event of another device than these is no row of the person.
    read = {
        table: f"(SELECT * FROM {origins[table]} WHERE source IN ({listed}))"  # noqa: S608 - quoted
        for table in READ
        if table in origins
    }
    expired = Expired(connection, read, pa.table(columns, KEPT), now_ns)
    lasting, over = dict(rows), dict[str, int]()
    for table in {*expired.tables} & rows.keys():
        divided = expired.divide(table, rows[table])
        lasting[table] = divided.kept
        if len(divided.taken):
            over[table] = len(divided.taken)
    return lasting, over
