"""Which rows of the lineage tables are a wearer's: what was captured in some times, and what was derived.

An event is the wearer's if it names the wearer and any of it was captured, or appended, in one of these times
(a derived one: any of its samples). So is every event that was derived from one, whoever it names, but no
model version: it is an aggregate, and is retrained. Rows without a wearer are selected by the runs of these
events, and by the device if nobody else wore it. `division` parts the rows of each table accordingly.

It works on any connection to DuckDB and any relations with the columns of the tables: all segments of a store
for an erasure and for a person's export, the rows of one poll for what arrives after an erasure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol

import pyarrow as pa

from streams.consent.erased import WORDS, ErasedTime, with_erased
from streams.lineage.ranges import Ranges
from streams.quoting import quoted
from streams.topology import TRAINING_SOURCE

#: Tables that tell whose the events are; a relation is needed for each of them that has rows.
READ = ("events", "edges", "decisions", "rejected")
#: Runs that are known already: of events of a wearer that the relations may lack. Without a stream it is the
#: device itself, and from `low` to `high` (ns) it is the wearer's alone.
KNOWN = pa.schema(
    {
        **dict.fromkeys(("wearer", "source", "stream"), pa.string()),
        **dict.fromkeys(("revision", "low", "high"), pa.int64()),
    }
)
_BOUNDS = pa.schema({"wearer": pa.string(), "since_ns": pa.int64(), "until_ns": pa.int64()})
_STREAM = "source, stream, revision"
_LAST = '"first" + step * ("count" - 1)'


def captured_by(table: str) -> str:
    """SQL for when a row of a table counts as captured: at its append time, if that is earlier."""
    return captured("t_first_ns" if table == "events" else "t_ns")


def captured(t_ns: str) -> str:
    """The same for a column with the time of capture."""
    return f"least({t_ns}, coalesce(nullif(appended_ns, 0), {t_ns}))"


def _within(table: str) -> str:
    """SQL condition for rows of which anything was captured in a time of `selected_bounds` b."""
    last = captured("t_last_ns" if table == "events" else "t_ns")
    return f"({captured_by(table)} <= b.until_ns AND {last} >= b.since_ns)"


def up_to(until_ns: int) -> tuple[ErasedTime]:
    """Everything that was captured up to a time (ns)."""
    return (ErasedTime(0, until_ns),)


class Connection(Protocol):
    """As much of a connection to DuckDB as this needs."""

    def execute(self, query: str, /) -> Any:
        """Run a statement."""

    def sql(self, query: str, /) -> Any:
        """A statement's rows as a relation."""

    def register(self, view_name: str, python_object: object, /) -> Any:
        """Let statements read an Arrow table."""

    def unregister(self, view_name: str, /) -> Any:
        """Undo `register`."""


class Selection:
    """The rows of some wearers in some relations; it makes temporary tables `selected_*` in the connection.

    Parameters
    ----------
    rows
        FROM clause by table, of READ.
    bounds
        Times in which everything is selected, by wearer.
    known
        Rows of KNOWN.
    words
        Whether what they decided about their data then (WORDS) is selected, too.
    whole
        Whether the relations are all that there is; otherwise only known devices are taken for such that
        nobody else wore.
    """

    def __init__(
        self,
        connection: Connection,
        rows: Mapping[str, str],
        bounds: Mapping[str, Sequence[ErasedTime]],
        known: pa.Table | None = None,
        *,
        whole: bool = True,
        words: bool = True,
    ) -> None:
        self._connection, self._rows, self.times = connection, rows, dict(bounds)
        #: Times in which what they said of their data is selected.
        self.said_in: Mapping[str, Sequence[ErasedTime]] = self.times if words else {}
        self._event = "true" if words else f"kind NOT IN ({', '.join(map(quoted, WORDS))})"
        given = [
            {"wearer": wearer, "since_ns": since_ns, "until_ns": until_ns}
            for wearer, times in bounds.items()
            for since_ns, until_ns in times
        ]
        self._make("bounds", pa.Table.from_pylist(given, _BOUNDS))
        # Of one of whom no time is known, runs can be.
        self._make("wearers", pa.table({"wearer": pa.array([*bounds], pa.string())}))
        self._make("known", KNOWN.empty_table() if known is None else known)
        self._run(
            "CREATE OR REPLACE TEMP TABLE selected_derived "
            '(source VARCHAR, stream VARCHAR, revision BIGINT, "first" BIGINT)'
        )
        self._find()
        while self._derive():
            self._find()
        self._run(f"CREATE OR REPLACE TEMP TABLE selected_alone AS {self._alone(whole)}")

    @cached_property
    def runs(self) -> pa.Table:
        """Runs of the selected events, as rows of KNOWN; numbers without an event may lie in them."""
        return self._table(f"{_islands('hers')} ORDER BY ALL")

    @cached_property
    def devices(self) -> pa.Table:
        """Devices that nobody else wore, as rows of KNOWN."""
        return self._table(
            "SELECT wearer, source, '' AS stream, -1::BIGINT AS revision, since_ns AS low, until_ns AS high "
            "FROM selected_alone ORDER BY ALL"
        )

    @cached_property
    def sources(self) -> frozenset[str]:
        """Devices with selected events, or whose rows without a wearer are selected."""
        return self._names("SELECT source FROM selected_streams UNION SELECT source FROM selected_alone")

    @cached_property
    def alone(self) -> Mapping[str, Sequence[ErasedTime]]:
        """Devices that nobody else wore, with the times in which all of them is selected."""
        times: dict[str, tuple[ErasedTime, ...]] = {}
        rows = self._connection.execute("SELECT source, since_ns, until_ns FROM selected_alone").fetchall()
        for source, *time in rows:
            times[source] = (*times.get(source, ()), ErasedTime(*time))
        return {source: with_erased(some) for source, some in times.items()}

    @cached_property
    def silent(self) -> frozenset[str]:
        """Those of them with no event that stays."""
        if "events" not in self._rows:
            return frozenset(self.alone)
        hers = " AND ".join((self._event, _within("events")))
        return frozenset(self.alone) - self._names(
            f"SELECT e.source FROM {self._rows['events']} e SEMI JOIN selected_alone USING (source) "  # noqa: S608
            f"ANTI JOIN (SELECT * FROM selected_alone) b ON e.source = b.source AND {hers}"
        )

    @cached_property
    def cut(self) -> frozenset[tuple[str, str]]:
        """Streams with selected events."""
        rows = self._connection.execute("SELECT source, stream FROM selected_streams").fetchall()
        return frozenset(rows)

    @cached_property
    def streams(self) -> frozenset[tuple[str, str]]:
        """Streams with selected events and no others."""
        return frozenset(
            self._connection.execute(
                "SELECT source, stream FROM selected_streams EXCEPT "
                "SELECT source, stream FROM selected_marked WHERE NOT hers"
            ).fetchall()
        )

    @cached_property
    def exact(self) -> Ranges:
        """Selected numbers by (source, stream, revision)."""
        return Ranges(((row[1], row[2], row[3]), *row[4:]) for row in self._runs())

    @cached_property
    def events(self) -> Ranges:
        """The same of events that the relations have: among them lies no event of anybody else."""
        columns = (self.runs.column(at).to_pylist() for at in range(1, len(KNOWN)))
        return Ranges(((*row[:3],), *row[3:]) for row in zip(*columns, strict=True))

    @cached_property
    def numbers(self) -> Ranges:
        """Selected numbers by (source, stream)."""
        return Ranges(((row[1], row[2]), *row[4:]) for row in self._runs())

    @cached_property
    def named(self) -> Ranges:
        """Selected numbers by (source, stream, wearer)."""
        return Ranges(((row[1], row[2], row[0]), *row[4:]) for row in self._runs())

    @cached_property
    def later(self) -> Ranges:
        """Numbers of the same wearers that are not selected, by (source, stream, wearer)."""
        return Ranges(((row[1], row[2], row[0]), *row[4:]) for row in self._kept())

    @cached_property
    def later_exact(self) -> Ranges:
        """The same by (source, stream, revision, wearer)."""
        return Ranges(((*row[1:4], row[0]), *row[4:]) for row in self._kept())

    def _runs(self) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = self._connection.execute(
            f"SELECT wearer, {_STREAM}, low, high FROM selected_runs"  # noqa: S608 - names of ours
        ).fetchall()
        return rows

    def _kept(self) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = self._connection.execute(
            _islands("is_event AND NOT hers AND wearer IN (FROM selected_wearers)")
        ).fetchall()
        return rows

    def _find(self) -> None:
        """Find the streams with selected events, mark their events, and join these to runs."""
        events, hers = self._rows.get("events"), f"{self._event} AND {_within('events')}"
        streams = ["SELECT source, stream FROM selected_known WHERE stream <> ''"]
        streams += ["SELECT source, stream FROM selected_derived"]
        marked = ["SELECT NULL, NULL, 0, NULL, 0, 0, false, false WHERE false"]
        if events:
            # Also those of words alone: decisions about these stay because their events do.
            streams.append(
                f"SELECT source, stream FROM {events} JOIN selected_bounds b USING (wearer) "  # noqa: S608 - names of ours
                f"WHERE {_within('events')}"
            )
            marked.append(
                # What is in several times is marked as often, which changes no run.
                f'SELECT {_STREAM}, e.wearer, "first", {_LAST}, '  # noqa: S608 - names of ours
                "b.wearer IS NOT NULL OR d.source IS NOT NULL, true "
                f"FROM (SELECT * FROM {events} SEMI JOIN selected_streams USING (source, stream)) e "
                f"LEFT JOIN selected_bounds b ON e.wearer = b.wearer AND {hers} "
                f'LEFT JOIN (SELECT DISTINCT * FROM selected_derived) d USING ({_STREAM}, "first")'
            )
        # Numbers that somebody else's refused batch had have no event, and must not lie in a run.
        marked += [
            f'SELECT source, stream, 0, r.wearer, "first", "first", false, false FROM (SELECT * FROM '  # noqa: S608 - as above
            f"{self._rows[table]} SEMI JOIN selected_streams USING (source, stream)) r ANTI JOIN "
            f"selected_bounds b ON r.wearer = b.wearer AND {_within(table)} WHERE r.wearer <> ''"
            for table in ("decisions", "rejected")
            if table in self._rows
        ]
        self._run(f"CREATE OR REPLACE TEMP TABLE selected_streams AS {' UNION '.join(streams)}")
        self._run(
            "CREATE OR REPLACE TEMP TABLE selected_marked "
            "(source VARCHAR, stream VARCHAR, revision BIGINT, wearer VARCHAR, low BIGINT, high BIGINT, "
            "hers BOOLEAN, is_event BOOLEAN)"
        )
        self._run(f"INSERT INTO selected_marked {' UNION ALL '.join(marked)}")
        self._run(
            f"CREATE OR REPLACE TEMP TABLE selected_runs AS {_islands('hers')} UNION ALL "
            "FROM selected_known WHERE stream <> ''"
        )

    def _derive(self) -> int:
        """Select the events that edges lead to from selected ones; returns how many are new."""
        events, edges = self._rows.get("events"), self._rows.get("edges")
        if not events or not edges:
            return 0
        child, parent = (
            " AND ".join(f"e.{side}_{name} = r.{name}" for name in ("source", "stream", "revision"))
            for side in ("child", "parent")
        )
        # The children of most edges are selected as a whole; only the others are looked at one by one.
        begins = "e.parent_first + e.parent_step * i"
        self._run(
            "CREATE OR REPLACE TEMP TABLE selected_children AS "  # noqa: S608 - names of ours
            "SELECT DISTINCT child_source AS source, child_stream AS stream, child_revision AS revision, "
            "child_first + child_step * i AS number FROM (SELECT *, unnest(range(child_count)) AS i FROM ("
            f"SELECT DISTINCT e.* FROM (SELECT * FROM {edges} WHERE child_source <> '{TRAINING_SOURCE}') e "
            f"SEMI JOIN selected_runs r ON {parent} AND e.parent_first <= r.high AND e.parent_first + "
            "e.parent_step * (e.child_count - 1) + e.parent_width - 1 >= r.low "
            f"ANTI JOIN selected_runs r ON {child} AND r.low <= e.child_first "
            "AND r.high >= e.child_first + e.child_step * (e.child_count - 1))) e "
            f"SEMI JOIN selected_runs r ON {parent} AND {begins} <= r.high "
            f"AND {begins} + e.parent_width - 1 >= r.low"
        )
        before = self._count("selected_derived")
        event = f'(SELECT {_STREAM}, "first" AS low, {_LAST} AS high FROM {events})'  # noqa: S608 - ours
        same = " AND ".join(f"e.{name} = c.{name}" for name in ("source", "stream", "revision"))
        self._run(
            f"INSERT INTO selected_derived SELECT DISTINCT {_STREAM}, low FROM {event} e "  # noqa: S608 - as above
            f"SEMI JOIN selected_children c ON {same} AND c.number BETWEEN e.low AND e.high "
            f"ANTI JOIN selected_runs c ON {same} AND e.low BETWEEN c.low AND c.high"
        )
        return self._count("selected_derived") - before

    def _alone(self, whole: bool) -> str:
        """SELECT of the devices of which every row that names a wearer names one of these."""
        own = [
            "SELECT source, wearer, low AS since_ns, high AS until_ns FROM selected_known WHERE stream = ''"
        ]
        others = list[str]()
        for table in ("events", "decisions", "rejected") if whole else ():
            if table in self._rows:
                rows = f"FROM {self._rows[table]} r"
                own.append(
                    f"SELECT source, b.wearer, b.since_ns, b.until_ns {rows} JOIN selected_bounds b "
                    f"ON r.wearer = b.wearer WHERE {_within(table)} AND source <> ''"
                )
                others.append(
                    f"SELECT source {rows} ANTI JOIN selected_wearers USING (wearer) WHERE wearer <> ''"
                )
        without = f"ANTI JOIN ({' UNION ALL '.join(others)}) USING (source)" if others else ""
        rows = f"({' UNION ALL '.join(own)}) {without}"
        return f"SELECT DISTINCT source, wearer, since_ns, until_ns FROM {rows}"  # noqa: S608 - ours

    def _make(self, name: str, content: pa.Table) -> None:
        self._connection.register(f"given_{name}", content)
        self._run(f"CREATE OR REPLACE TEMP TABLE selected_{name} AS FROM given_{name}")
        self._connection.unregister(f"given_{name}")

    def _run(self, statement: str) -> None:
        self._connection.execute(statement)

    def _names(self, statement: str) -> frozenset[str]:
        return frozenset(name for (name,) in self._connection.execute(statement).fetchall())

    def _table(self, statement: str) -> pa.Table:
        return self._connection.sql(statement).to_arrow_table()

    def _count(self, table: str) -> int:
        [(count,)] = self._connection.execute(f"SELECT count(*) FROM {table}").fetchall()  # noqa: S608 - ours
        return int(count)


def _islands(these: str) -> str:
    """SELECT of the runs of marked rows of a wearer between which no other row lies."""
    return (
        f"SELECT wearer, {_STREAM}, min(low) AS low, max(high) AS high FROM (SELECT *, {these} AS chosen, "  # noqa: S608
        f"count(*) FILTER (NOT ({these})) OVER (PARTITION BY {_STREAM} ORDER BY low, hers "
        f"ROWS UNBOUNDED PRECEDING) AS island FROM selected_marked) WHERE chosen "
        f"GROUP BY wearer, {_STREAM}, island"
    )
