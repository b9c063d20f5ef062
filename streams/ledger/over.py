"""What of a replay is over in the live store, which lets go of it: it is counted and not compared.

A replay has no broker's time, so its store keeps all that a journal says. Which of its events are over
follows from their own rows: their class and the time at which the broker took them, by the days and the time
of the live store. What the live store let go before that stays a difference.
"""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from streams.ledger.sources import StoreReader
from streams.topology import TRAINING_SOURCE

#: A run of decisions has the time of its first event, and goes with it; which events that is depends on the
#: fetches. So decisions about events of this time (ns) before and after what is over are not compared either.
NEAR_NS = 600 * 10**9
_LET_GO = pa.schema(
    {**dict.fromkeys(("policy_version", "zone", "label"), pa.string()), "over_ns": pa.int64()}
)
#: Label and time of tables whose rows have a class.
_TIMED = {"events": ("e.label", "t_last_ns"), "decisions": ("e.label", "t_ns"), "rejected": ("''", "t_ns")}
_STREAM = "source, stream, revision"
_OF_STREAM = f"(PARTITION BY {_STREAM} ORDER BY low, high ROWS"


class Over:
    """What is over in the live store of two readers, from now on by one moment.

    `events` is how many events of the replay are over. Errors are those of `StoreReader`.
    """

    def __init__(self, live: StoreReader, replayed: StoreReader) -> None:
        live.hold()
        # A store that never heard a time of the broker has no class there.
        classes = live.of_each("over_classes", "policy_version, zone, label, over_ns")
        self.events, self._replayed, self._is_any = 0, replayed, bool(classes)
        if not classes:
            return
        columns = zip(zip(*classes, strict=True), _LET_GO.types, strict=True)
        let_go = pa.table([pa.array(column, kind) for column, kind in columns], _LET_GO)
        for reader in (live, replayed):
            reader.given("let_go", let_go)
        self.events = replayed.scalar(
            'SELECT coalesce(sum("count"), 0)::BIGINT FROM events e '  # noqa: S608 - names of ours
            f"SEMI JOIN let_go l ON {_is_over('events')}"
        )
        for name, condition in (("gone", "after_ns <= 0"), ("near", f"abs(after_ns) <= {NEAR_NS}")):
            runs = replayed.table(_runs(condition))
            for reader in (live, replayed):
                reader.given(name, runs)

    def without(self, table: str) -> str:
        """FROM clause, for both readers, for what of a table is to be compared; runs may be cut."""
        if not self._is_any:
            return table
        if table == "edges":
            return _edges()
        if table == "decisions":
            return _decisions()
        if table == "feedback":
            return (
                "(SELECT f.* FROM feedback f ANTI JOIN gone g ON f.source = g.source AND "
                '((f.stream = g.stream AND f."first" BETWEEN g.low AND g.high) OR '
                "(f.answer_stream = g.stream AND f.answer BETWEEN g.low AND g.high)))"
            )
        return _lasting(table) if table in _TIMED else table

    def begun(self) -> str:
        """FROM clause for the decisions whose rows are as the store has them."""
        if not self._is_any:
            return "decisions"
        lasting = _lasting("decisions")
        return f"(SELECT d.* FROM {lasting} d ANTI JOIN near n ON {_meets_near()})"  # noqa: S608 - ours

    def lacking(self, ids: Iterable[str]) -> tuple[str, ...]:
        """Those of some events of the replay that are not over."""
        named = [each.rpartition("/") for each in ids]
        gone = (
            self._replayed.rows("SELECT source || '/' || stream, low, high FROM gone") if self._is_any else []
        )
        return tuple(
            f"{stream}/{number}"
            for stream, _, number in named
            if not any(stream == of and low <= int(number) <= high for of, low, high in gone)
        )


def _is_over(table: str, later_ns: int = 0) -> str:
    """SQL condition that a row `e` of a table is over by a class `l`, or will be so some time (ns) later."""
    label, else_at = _TIMED[table]
    return (
        f"e.source <> '{TRAINING_SOURCE}' AND e.policy_version = l.policy_version AND e.zone = l.zone "
        f"AND l.label = {label} AND coalesce(nullif(e.appended_ns, 0), e.{else_at}) <= l.over_ns + {later_ns}"
    )


def _lasting(table: str) -> str:
    return f"(SELECT e.* FROM {table} e ANTI JOIN let_go l ON {_is_over(table)})"  # noqa: S608 - names of ours


def _runs(condition: str) -> str:
    """SELECT of the numbers of events by how long before or after the moment (ns) they are over."""
    before = f"max(high) OVER {_OF_STREAM} BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)"
    return f"""
WITH kept AS (
    SELECT e.source, e.stream, e.revision, e."first", e.step, e."count",
        coalesce(nullif(e.appended_ns, 0), e.t_last_ns) - l.over_ns AS after_ns
    FROM events e JOIN let_go l ON {_is_over("events", NEAR_NS)}
), chosen AS (
    SELECT {_STREAM}, "first" AS low, "first" + ("count" - 1) AS high FROM kept
    WHERE {condition} AND (step = 1 OR "count" = 1)
    UNION ALL
    SELECT {_STREAM}, number, number FROM (
        SELECT *, "first" + step * unnest(range("count")) AS number FROM kept
        WHERE {condition} AND step > 1 AND "count" > 1)
), spread AS (
    SELECT *, low > coalesce({before}, -2) + 1 AS begins FROM chosen
), islands AS (
    SELECT *, count(*) FILTER (begins) OVER {_OF_STREAM} UNBOUNDED PRECEDING) AS island FROM spread
)
SELECT {_STREAM}, min(low) AS low, max(high) AS high FROM islands GROUP BY {_STREAM}, island"""  # noqa: S608


def _meets_near() -> str:
    return (
        'd.source = n.source AND d.stream = n.stream AND d."first" <= n.high '
        'AND d."first" + d.step * (d."count" - 1) >= n.low'
    )


def _decisions() -> str:
    """Decisions that are not over, without those about events that are so nearly."""
    return f"""(
WITH lasting AS (SELECT *, row_number() OVER () AS place FROM {_lasting("decisions")}),
touched AS (SELECT DISTINCT d.place FROM lasting d JOIN near n ON {_meets_near()})
SELECT * EXCLUDE (place) FROM lasting ANTI JOIN touched USING (place)
UNION ALL BY NAME
SELECT d.* EXCLUDE (place) FROM (
    SELECT * EXCLUDE (nth) REPLACE ("first" + step * nth AS "first", 1 AS step, 1 AS "count")
    FROM (SELECT *, unnest(range("count")) AS nth FROM lasting SEMI JOIN touched USING (place))) d
ANTI JOIN near n ON {_meets_near()})"""  # noqa: S608 - names of ours


def _edges() -> str:
    """Edges without a child or a parent that is over."""
    meets = {
        side: f"e.{side}_source = g.source AND e.{side}_stream = g.stream AND e.{side}_revision = g.revision "
        f"AND e.{side}_first <= g.high AND {last} >= g.low"
        for side, last in {
            "child": "e.child_first + e.child_step * (e.child_count - 1)",
            "parent": "e.parent_first + e.parent_step * (e.child_count - 1) + e.parent_width - 1",
        }.items()
    }
    return f"""(
WITH every AS (SELECT *, row_number() OVER () AS place FROM edges),
touched AS (
    SELECT e.place FROM every e JOIN gone g ON {meets["child"]}
    UNION SELECT e.place FROM every e JOIN gone g ON {meets["parent"]}),
children AS (SELECT *, unnest(range(child_count)) AS i FROM every SEMI JOIN touched USING (place)),
pairs AS (
    SELECT * EXCLUDE (place, i, j) REPLACE (
        child_first + child_step * i AS child_first, 1 AS child_step, 1 AS child_count,
        parent_first + parent_step * i + j AS parent_first, 1 AS parent_step, 1 AS parent_width)
    FROM (SELECT *, unnest(range(parent_width)) AS j FROM children))
SELECT * EXCLUDE (place) FROM every ANTI JOIN touched USING (place)
UNION ALL BY NAME
SELECT e.* FROM (SELECT e.* FROM pairs e ANTI JOIN gone g ON {meets["child"]}) e
ANTI JOIN gone g ON {meets["parent"]})"""  # noqa: S608 - names of ours
