"""For how long rows of a store are kept, in SQL: from which time it counts, and what is over for who reads.

What it is for one row is the view `event_records` of a catalog, column `due`.
"""

from __future__ import annotations

from collections.abc import Mapping

from streams.quoting import quoted
from streams.topology import TRAINING_SOURCE

#: Tables with a class and a time of the broker, with their label and the time by which older rows go.
TIMED: Mapping[str, tuple[str, str]] = {
    "events": ("label", "t_last_ns"),
    "decisions": ("label", "t_ns"),
    "rejected": ("''", "t_ns"),
}


def kept_from(table: str) -> str:
    """SQL for the time from which the retention of a row counts: that of the broker, where it is known."""
    return f"coalesce(nullif(appended_ns, 0), {TIMED[table][1]})"


#: SQL for the append time up to which a class is over for who reads, by `keeping` and the reader's clock.
OVER_NS = "until_ns + greatest(epoch_ns(now()) - clock_ns, 0)"


def overdue(table: str) -> str:
    """FROM clause, with a condition, for the rows in `files` of a catalog that are over."""
    label, _ = TIMED[table]
    return (
        f"files.{table} e JOIN (SELECT policy_version AS k_version, zone AS k_zone, label AS k_label, "  # noqa: S608 - names of ours
        f"{OVER_NS} AS over_ns FROM keeping) ON policy_version = k_version AND zone = k_zone "
        f"AND k_label = {label} WHERE source <> {quoted(TRAINING_SOURCE)} AND {kept_from(table)} <= over_ns"
    )


def staying(table: str, rows: str, keeping: str) -> str:
    """FROM clause for those of some `rows` of a table that are not over; it has a column `over_key` more.

    `keeping` is the table of a catalog. Rows that are younger than the shortest class have no key, and so are
    not compared with any class.
    """
    label, _ = TIMED[table]
    key, others = ("label", "e.zone = k.zone") if label == "label" else ("zone", "k.label = ''")
    return (
        f"(SELECT *, CASE WHEN source <> {quoted(TRAINING_SOURCE)} AND {kept_from(table)} <= "  # noqa: S608 - names of ours
        f"(SELECT max({OVER_NS}) FROM {keeping}) THEN {key} END AS over_key FROM {rows}) e ANTI JOIN "
        f"(SELECT policy_version, zone, label, {OVER_NS} AS over_ns FROM {keeping}) k "
        f"ON e.over_key = k.{key} AND {others} AND e.policy_version = k.policy_version "
        f"AND {kept_from(table)} <= k.over_ns"
    )
