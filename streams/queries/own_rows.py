"""The rows of a store about one person: the same that an erasure takes out, as they may be handed out.

`Selection` and `divide` of `streams.lineage` choose them, so an export and an erasure cannot differ. They are
chosen among all rows, because whether somebody else wore a device decides whose its rows without a wearer
are; what is over and what the role is not shown is taken out afterwards. An erasure also takes out what was
derived from the person's events and names somebody else: that person stands as OTHER in what is handed out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing

import duckdb
import pyarrow as pa

from streams.consent.erased import ErasedTime
from streams.limits import ROW_GROUP_ROWS, TIME_NS_MAX
from streams.lineage.division import PERSONAL, divide, touched
from streams.lineage.selection import READ, Selection, up_to
from streams.lineage.tables import NO_EXAMPLE
from streams.queries.boundary import LABEL_OF
from streams.queries.own_over import without_over
from streams.queries.role import RowClass
from streams.queries.store import Store
from streams.quoting import quoted
from streams.topology import TRAINING_SOURCE

#: Stands for somebody else, and in place of the numbers of events that are not the person's.
OTHER = NO_EXAMPLE
#: Rows by table.
Tables = Mapping[str, pa.Table]
#: Tables in the order in which people read them.
_ORDER = ("streams", "events", "edges", "zone_runs", "decisions", "rejected", "feedback", "shadow")
_LAST = 'e."first" + e.step * (e."count" - 1)'
_SIDES: Mapping[str, str] = {
    "child": "e.child_first + e.child_step * (e.child_count - 1)",
    "parent": "e.parent_first + e.parent_step * (e.child_count - 1) + e.parent_width - 1",
}


def origin_of(store: Store, table: str) -> str:
    """FROM clause for all rows of a table, whatever the role is shown."""
    paths = store.lookup.paths(file for file, (of, _) in store.lookup.segments.items() if of == table)
    if not paths:
        return f"store.files.{table}"
    return store.extent.rows(f"read_parquet([{', '.join(map(quoted, paths))}])")


class OwnRows:
    """What the open epoch of a store holds of a wearer, read at once.

    Attributes
    ----------
    taken
        What an erasure would take out, nobody masked and whatever the role is shown; all of it in memory.
    lasting
        That without what is over.
    over
        How many rows of tables are over, whole or in part; they leave the files with the next rewriting.
    shown
        What the role may see of what is not over, with others masked.
    hidden
        Events that the role is not shown, by class.

    `times` are those of capture, `words` as for a `Selection`. Errors are those of `Store.shown`.
    """

    def __init__(
        self,
        store: Store,
        wearer: str,
        times: Sequence[ErasedTime] = up_to(TIME_NS_MAX),
        *,
        words: bool = True,
    ) -> None:
        self._store, self._wearer = store, wearer
        self.hidden: dict[RowClass, int] = {}
        # Rows are read on a connection of their own, because the selection asks while they are.
        with (
            closing(store.trusted) as connection,
            closing(store.trusted) as reading,
            store.lookup.reading(),
        ):
            # A catalog of before lacks tables that came later.
            known = store.lookup.rows(
                "SELECT view_name FROM duckdb_views() WHERE database_name = 'store' AND schema_name = 'files'"
            )
            present = {name for (name,) in known if name in PERSONAL}
            tables = sorted(present, key=lambda table: (table not in _ORDER, _place(table)))
            origins = {table: origin_of(store, table) for table in tables}
            selection = Selection(
                connection, {table: origins[table] for table in READ}, {wearer: times}, words=words
            )
            self.taken: Tables = {
                table: self._of(reading, selection, table, origins[table]) for table in tables
            }
            self.lasting, self.over = without_over(store, connection, origins, self.taken)
            # An edge has no class; it is hidden with the events on its sides.
            shown = {table: self._admitted(connection, table, rows) for table, rows in self.lasting.items()}
            shown["streams"] = self._streams(reading, origins["streams"], shown["events"])
            self.shown: Tables = {
                table: self._masked(connection, table, rows) for table, rows in shown.items()
            }

    def __bool__(self) -> bool:
        return any(map(len, self.taken.values()))

    @staticmethod
    def _of(reading: duckdb.DuckDBPyConnection, selection: Selection, table: str, origin: str) -> pa.Table:
        rows = reading.sql(f"SELECT * FROM {origin} WHERE {touched(selection, table)}")  # noqa: S608 - quoted
        reader = rows.to_arrow_reader(ROW_GROUP_ROWS)
        parts = (divide(selection, table, pa.Table.from_batches([batch])).taken for batch in reader)
        return pa.concat_tables([reader.schema.empty_table(), *parts])

    def _streams(self, reading: duckdb.DuckDBPyConnection, origin: str, events: pa.Table) -> pa.Table:
        """Streams with events that are shown, also where somebody else has events too; and those without any.

        An erasure leaves the former, so that they are told does not depend on somebody else.
        """
        reading.register("own_events", events)
        reading.register("own_taken", self.lasting["events"])
        reading.register("own_streams", self.taken["streams"])
        return reading.sql(
            f"SELECT s.* FROM {origin} s SEMI JOIN own_events USING (source, stream) UNION BY NAME "  # noqa: S608
            "SELECT s.* FROM own_streams s ANTI JOIN own_taken USING (source, stream)"
        ).to_arrow_table()

    def _admitted(self, connection: duckdb.DuckDBPyConnection, table: str, rows: pa.Table) -> pa.Table:
        """The rows that the role may see."""
        judged = self._store.role_filter
        if judged is None or not len(rows):
            return rows
        if table == "edges":
            return self._between_shown(connection, rows)
        if table not in LABEL_OF:
            # What these tables name is the person's own, and nobody else's.
            return rows
        connection.register("own_rows", rows)
        label, size = LABEL_OF[table], '"count"' if "count" in rows.column_names else "1"
        classes = connection.execute(
            f"SELECT policy_version, zone, {label}, sum({size})::BIGINT FROM own_rows GROUP BY ALL"  # noqa: S608 - ours
        ).fetchall()
        kept = []
        for version, zone, packed, count in classes:
            if judged.permits(version, zone, packed):
                judged.note(version, zone)
                kept.append({"policy_version": version, "zone": zone, "of": packed})
            elif table == "events":
                self.hidden[RowClass(version, zone, packed)] = count
        names = {name: pa.string() for name in ("policy_version", "zone", "of")}
        connection.register("own_kept", pa.Table.from_pylist(kept, pa.schema(names)))
        shown = connection.sql(
            f"SELECT * FROM own_rows r SEMI JOIN own_kept k ON r.policy_version = k.policy_version "  # noqa: S608 - ours
            f"AND r.zone = k.zone AND {'r.label' if label == 'label' else label} = k.of"
        ).to_arrow_table()
        judged.hide(table, len(rows) - len(shown))
        return shown

    def _between_shown(self, connection: duckdb.DuckDBPyConnection, rows: pa.Table) -> pa.Table:
        """The edges without a hidden event on either side."""
        if not self.hidden:
            return rows
        connection.register("own_rows", rows)
        connection.register("own_events", self.lasting["events"])
        classes = ", ".join(
            f"({quoted(of.policy_version)}, {quoted(of.zone)}, {quoted(of.label)})" for of in self.hidden
        )
        connection.execute(
            "CREATE OR REPLACE TEMP TABLE own_hidden AS SELECT source, stream, revision, "  # noqa: S608 - quoted
            f'"first" AS low, {_LAST} AS high FROM own_events e '
            f"WHERE (policy_version, zone, label) IN ({classes})"
        )
        joins = " ".join(f"ANTI JOIN own_hidden h ON {_meets(side)}" for side in _SIDES)
        shown = connection.sql(f"SELECT e.* FROM own_rows e {joins}").to_arrow_table()  # noqa: S608 - ours
        if self._store.role_filter is not None:
            self._store.role_filter.hide("edges", len(rows) - len(shown))
        return shown

    def _masked(self, connection: duckdb.DuckDBPyConnection, table: str, rows: pa.Table) -> pa.Table:
        """The rows without anybody else, and without ids of events that are not the person's."""
        connection.register("own_rows", rows)
        replaced = ""
        if table == "edges":
            replaced = ", ".join(_sides_masked())
        elif "wearer" in rows.column_names:
            theirs = f"wearer NOT IN ({quoted(self._wearer)}, '')"
            names = {"wearer": quoted(OTHER)}
            if table == "feedback":
                # It is somebody else's event, about an answer to this person.
                names |= {"stream": quoted(OTHER), '"first"': "0"}
            replaced = ", ".join(
                f"CASE WHEN {theirs} THEN {mask} ELSE {name} END AS {name}" for name, mask in names.items()
            )
        columns = f"* REPLACE ({replaced})" if replaced else "*"
        return connection.sql(f"SELECT {columns} FROM own_rows e ORDER BY ALL").to_arrow_table()  # noqa: S608 - quoted


def _place(table: str) -> int | str:
    return _ORDER.index(table) if table in _ORDER else table


def _meets(side: str) -> str:
    """SQL condition that a side of the edge `e` has an event of the runs `h`."""
    return (
        f"e.{side}_source = h.source AND e.{side}_stream = h.stream AND e.{side}_revision = h.revision "
        f"AND e.{side}_first <= h.high AND {_SIDES[side]} >= h.low"
    )


def _sides_masked() -> Iterator[str]:
    """Columns of both sides of an edge, masked where the side is no model and not all of it is selected."""
    for side, last in _SIDES.items():
        own = (
            f"e.{side}_source = {quoted(TRAINING_SOURCE)} OR EXISTS (FROM selected_runs r WHERE r.source = "
            f"e.{side}_source AND r.stream = e.{side}_stream AND r.revision = e.{side}_revision "
            f"AND r.low <= e.{side}_first AND r.high >= {last})"
        )
        for name, mask in {"source": quoted(OTHER), "stream": quoted(OTHER), "first": "0"}.items():
            yield f"CASE WHEN {own} THEN {side}_{name} ELSE {mask} END AS {side}_{name}"
