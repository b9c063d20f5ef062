"""Which rows of the lineage tables are over: their retention ended, by the broker's time at their place.

Events, decisions and rejections have that time and a class (policy version, zone, label), whose days follow
from the policy. What has none goes with the events that it names: edges with their child or a parent, runs of
zones with the numbers that nobody has any more. Model versions stay and lose the edges to what is over; they
have a date of their own. What wearers agreed to, and that a stream exists, stay too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from streams.limits import KEPT_DAYS_MAX
from streams.lineage.kept import TIMED, kept_from
from streams.lineage.naming import examples, is_selected
from streams.lineage.parting import (
    EDGE,
    RUN,
    Divided,
    Mask,
    are,
    keys_of,
    numbers_of,
    parted,
    rewritten,
    split,
    split_parents,
    split_zone_runs,
)
from streams.lineage.ranges import Ranges
from streams.lineage.selection import Connection
from streams.lineage.tables import EXAMPLE_ORDER, NO_EXAMPLE
from streams.policy.policy import DAY_NS
from streams.quoting import quoted
from streams.topology import CAPTURED, TRAINING_SOURCE

#: Days for which what has a class is kept; without a label, as rejections are, it is empty.
KEPT = pa.schema(
    {**dict.fromkeys(("policy_version", "zone", "label"), pa.string()), "days": pa.int64()},
)
#: Tables that tell what is over; a relation is needed for each of them that has rows.
READ = (*TIMED, "shadow")
_STREAM = "source, stream, revision"
_LAST = '"first" + step * ("count" - 1)'
_CLASS = "policy_version, zone, label, wearer"
#: SQL condition for the rows of `rejected` whose numbers are not missing because of them.
REFUSED = (
    "\"count\" > 0 AND outcome NOT IN ('repeated', 'collision', 'malformed') "
    f"AND topic = {quoted(CAPTURED)} AND stage = 'zones'"
)
_NO_EVENTS = (
    "(SELECT '' AS source, '' AS stream, 0::BIGINT AS revision, 0::BIGINT AS \"first\", 1::BIGINT AS step, "
    "0::BIGINT AS \"count\", '' AS policy_version, '' AS zone, '' AS label, '' AS wearer, '' AS topic, "
    "0::BIGINT AS appended_ns, 0::BIGINT AS t_last_ns WHERE false)"
)


class Expired:
    """What is over in some relations at a time; it makes temporary tables `expired_*` in the connection.

    Parameters
    ----------
    rows
        FROM clause by table, of READ.
    kept
        Rows of KEPT; what has another class is never over.
    now_ns
        The broker's time.
    """

    def __init__(self, connection: Connection, rows: Mapping[str, str], kept: pa.Table, now_ns: int) -> None:
        self._connection, self._rows, self.now_ns = connection, rows, now_ns
        days = np.minimum(numbers_of(kept, "days"), KEPT_DAYS_MAX)
        until = now_ns - days * DAY_NS
        classes = zip(*(kept.column(name).to_pylist() for name in KEPT.names[:3]), strict=True)
        self._until = dict(zip(classes, until.tolist(), strict=True))
        given = pa.table({**{f"k_{name}": kept.column(name) for name in KEPT.names[:3]}, "until_ns": until})
        connection.register("given_kept", given)
        self._run("CREATE OR REPLACE TEMP TABLE expired_kept AS FROM given_kept")
        connection.unregister("given_kept")
        gone, events = self._over("events"), rows.get("events", _NO_EVENTS)
        columns = (
            f'{_STREAM}, {_CLASS}, "first" AS low, {_LAST} AS high, topic = {quoted(CAPTURED)} AS captured'
        )
        self._run(
            f"CREATE OR REPLACE TEMP TABLE expired_events AS SELECT {columns}, true AS gone, "  # noqa: S608 - names of ours
            f'"count" AS events, {kept_from("events")} AS at_ns FROM {events} WHERE {gone}'
        )
        self._run(
            "CREATE OR REPLACE TEMP TABLE expired_reach AS SELECT source AS r_source, stream AS r_stream, "  # noqa: S608 - as above
            "revision AS r_revision, min(low) AS r_low, max(high) AS r_high FROM expired_events "
            f"GROUP BY {_STREAM}"
        )
        # Streams without anything that is over are passed over.
        self._run(
            "CREATE OR REPLACE TEMP TABLE expired_marked AS FROM expired_events UNION ALL "  # noqa: S608 - as above
            f"SELECT {columns}, false, 0, 0 FROM {events} SEMI JOIN expired_reach ON source = r_source "
            f"AND stream = r_stream AND revision = r_revision WHERE NOT {gone}"
        )
        beside = {"decisions", "shadow"} <= rows.keys()
        self._run(
            "CREATE OR REPLACE TEMP TABLE expired_decisions AS SELECT source AS d_source, stream, sink, "  # noqa: S608 - as above
            f'policy_version, "first" AS low, {_LAST} AS high FROM '
            + (
                f"(SELECT * FROM {rows['decisions']} WHERE {self._over('decisions')}) "  # noqa: S608 - as above
                f"SEMI JOIN {rows['shadow']} USING (source, stream, sink, policy_version)"
                if beside
                else "(SELECT '' AS source, '' AS stream, '' AS sink, '' AS policy_version, "
                '0::BIGINT AS "first", 1::BIGINT AS step, 0::BIGINT AS "count") WHERE false'
            )
        )

    @property
    def tables(self) -> Collection[str]:
        """Tables with rows that can be over."""
        return _DIVIDED.keys()

    def touched(self, table: str) -> str:
        """SQL condition for the rows of a table that `divide` may have to take or split; it may be wide."""
        if table in TIMED:
            return self._over(table)
        if table in _LISTS:
            return "true"
        if table == "shadow":
            return "source IN (SELECT d_source FROM expired_decisions)"
        if table == "feedback":
            return "source IN (SELECT r_source FROM expired_reach)"
        if table == "zone_runs":
            return _meets("", "low", "high")
        child = _meets("child_", "child_first", "child_first + child_step * (child_count - 1)")
        last = "parent_first + parent_step * (child_count - 1) + parent_width - 1"
        return f"{child} OR {_meets('parent_', 'parent_first', last)}"

    def divide(self, table: str, rows: pa.Table) -> Divided:
        """Part rows of a table into those that stay and those that are over."""
        return _DIVIDED[table](self, rows)

    @cached_property
    def sources(self) -> frozenset[str]:
        """Devices with events that are over."""
        return frozenset(source for source, *_ in self.reached)

    @cached_property
    def reached(self) -> frozenset[tuple[Any, ...]]:
        """Streams, with revision, of which some events are over."""
        return frozenset(self._all("SELECT r_source, r_stream, r_revision FROM expired_reach"))

    @cached_property
    def exact(self) -> Ranges:
        """Numbers that are over by (source, stream, revision): among them lies no event that stays."""
        return Ranges(((*row[:3],), *row[3:]) for row in self._all(_islands("gone", _STREAM)))

    @cached_property
    def numbers(self) -> Ranges:
        """The same by (source, stream)."""
        return Ranges(((*row[:2],), *row[3:]) for row in self._all(_islands("gone", _STREAM)))

    @cached_property
    def staying(self) -> Ranges:
        """Numbers that stay in streams of which some are over, by stream with revision, class and wearer."""
        rows = self._all(_islands("NOT gone", f"{_STREAM}, {_CLASS}"))
        return Ranges(((*row[:-2],), *row[-2:]) for row in rows)

    @cached_property
    def judged(self) -> Ranges:
        """Numbers of decisions that are over, by stream, sink and policy; of those with a shadow."""
        return Ranges(((*row[:4],), *row[4:]) for row in self._all("FROM expired_decisions"))

    def book(self) -> pa.Table:
        """What is over, as rows of the table `expired` without an epoch.

        A run of captured numbers has no hole, so what never arrived stays missing. A run of what is derived
        goes on over numbers that no event has; one of a correction does not, because others can still be made
        between two corrections.
        """
        corrected = "CASE WHEN revision > 0 THEN low END"
        refused = (
            f'UNION ALL SELECT source, stream, 0, "first", "first" + "count" - 1, 0, {kept_from("rejected")} '  # noqa: S608
            f"FROM {self._rows['rejected']} WHERE {self._over('rejected')} AND {REFUSED}"
            if "rejected" in self._rows
            else ""
        )
        before = (
            "max(high) OVER (PARTITION BY source, stream ORDER BY low, high ROWS BETWEEN UNBOUNDED "
            "PRECEDING AND 1 PRECEDING)"
        )
        counted = (
            f"sum(events)::BIGINT AS events, max(at_ns) AS appended_ns, {self.now_ns}::BIGINT AS expired_ns"
        )
        table: pa.Table = self._connection.sql(
            f"SELECT {_STREAM}, min(low) AS low, max(high) AS high, {counted} FROM ("  # noqa: S608 - names of ours
            "SELECT *, count(*) FILTER (begins) OVER (PARTITION BY source, stream ORDER BY low, high "
            "ROWS UNBOUNDED PRECEDING) AS island FROM ("
            f"SELECT *, low > coalesce({before}, -2) + 1 AS begins FROM ("
            f"SELECT {_STREAM}, low, high, events, at_ns FROM expired_events WHERE captured "
            f"{refused}))) GROUP BY {_STREAM}, island UNION ALL "
            f"SELECT {_STREAM}, min(low), max(high), {counted} FROM ({_marked('gone')}) "
            f"WHERE gone AND NOT captured GROUP BY {_STREAM}, island, {corrected} ORDER BY {_STREAM}, low"
        ).to_arrow_table()
        return table

    def over(self, table: str, rows: pa.Table) -> Mask:
        """Which rows of a table of TIMED are over."""
        label, else_at = TIMED[table]
        names = ("policy_version", "zone", *((label,) if label == "label" else ()))
        keys, of = keys_of(rows, names)
        until = np.array([self._until.get((*key, "")[:3], -1) for key in keys], np.int64)
        at_ns = numbers_of(rows, "appended_ns")
        at_ns = np.where(at_ns != 0, at_ns, numbers_of(rows, else_at))
        mask: Mask = (at_ns <= until[of]) & ~are(rows, "source", TRAINING_SOURCE.__eq__)
        return mask

    def _over(self, table: str) -> str:
        """SQL condition for the same rows."""
        latest_ns = max(self._until.values(), default=-1)
        return (
            f"(appended_ns <= {latest_ns} AND source <> {quoted(TRAINING_SOURCE)} "
            "AND EXISTS (FROM expired_kept WHERE k_policy_version = policy_version AND k_zone = zone AND "
            f"k_label = {TIMED[table][0]} AND {kept_from(table)} <= until_ns))"
        )

    def _all(self, statement: str) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = self._connection.execute(statement).fetchall()
        return rows

    def _run(self, statement: str) -> None:
        self._connection.execute(statement)


def _marked(chosen: str) -> str:
    """SELECT of all marked rows, those that are chosen with the number of rows before them that are not."""
    return (
        f"SELECT *, count(*) FILTER (NOT ({chosen})) OVER (PARTITION BY {_STREAM} ORDER BY low, gone "  # noqa: S608 - ours
        "ROWS UNBOUNDED PRECEDING) AS island FROM expired_marked"
    )


def _islands(chosen: str, names: str) -> str:
    """SELECT of the runs of chosen rows, by some columns, between which no other row of the stream lies."""
    return (
        f"SELECT {names}, min(low), max(high) FROM ({_marked(chosen)}) WHERE {chosen} "  # noqa: S608 - ours
        f"GROUP BY {names}, island"
    )


def _meets(side: str, low: str, high: str) -> str:
    """SQL condition for rows with numbers in the reach of what is over of their stream."""
    return (
        f"EXISTS (FROM expired_reach WHERE r_source = {side}source AND r_stream = {side}stream "
        f"AND r_revision = {side}revision AND {low} <= r_high AND {high} >= r_low)"
    )


def _timed(table: str) -> Callable[[Expired, pa.Table], Divided]:
    return lambda expired, rows: parted(rows, expired.over(table, rows))


def _edges(expired: Expired, rows: pa.Table) -> Divided:
    """Edges go with their child, and with a parent: a child may stay some time longer than what it is of."""
    of_child = ("child_source", "child_stream", "child_revision")
    kept, taken = split(rows, EDGE, of_child, expired.exact)
    kept, more = split_parents(kept, expired.exact)
    return Divided(kept, pa.concat_tables([taken, more]))


def _shadow(expired: Expired, rows: pa.Table) -> Divided:
    return split(rows, RUN, ("source", "stream", "sink", "policy_version"), expired.judged)


def _feedback(expired: Expired, rows: pa.Table) -> Divided:
    """Opinions go with their event, and with the answer that they are about."""
    hit = np.zeros(len(rows), bool)
    for stream, number in (("stream", "first"), ("answer_stream", "answer")):
        keys, of = keys_of(rows, ("source", stream))
        hit |= expired.numbers.overlap(keys, of, *(numbers_of(rows, number),) * 2)[0]
    return parted(rows, hit)


def _zone_runs(expired: Expired, rows: pa.Table) -> Divided:
    """Runs stay where events of theirs stay, and all of them in streams of which nothing is over."""
    keys, of = keys_of(rows, ("source", "stream", "revision"))
    cut = np.fromiter((key in expired.reached for key in keys), bool, len(keys))[of]
    names = (*_STREAM.split(", "), *_CLASS.split(", "))
    kept, taken = split_zone_runs(rows.filter(pa.array(cut)), names, expired.staying, keep=True)
    return Divided(pa.concat_tables([rows.filter(pa.array(~cut)), kept]), taken)


def _inputs(expired: Expired, rows: pa.Table) -> Divided:
    pairs = zip(rows.column("kind").to_pylist(), rows.column("value").to_pylist(), strict=True)
    halves = [examples(expired, value) if kind == EXAMPLE_ORDER else (value, "") for kind, value in pairs]
    return rewritten(rows, "value", halves)


def _triggers(expired: Expired, rows: pa.Table) -> Divided:
    texts = rows.column("trigger").to_pylist()
    halves = [(NO_EXAMPLE, text) if is_selected(expired, text) else (text, "") for text in texts]
    return rewritten(rows, "trigger", halves)


#: Tables with few rows, which name events in a text.
_LISTS = frozenset({"inputs", "training_runs"})
_DIVIDED: Mapping[str, Callable[[Expired, pa.Table], Divided]] = {
    **{table: _timed(table) for table in TIMED},
    "edges": _edges,
    "shadow": _shadow,
    "feedback": _feedback,
    "zone_runs": _zone_runs,
    "inputs": _inputs,
    "training_runs": _triggers,
}
