"""What went where, and what was refused: over all of a store's time, and in its last part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from streams import limits
from streams.events.headers import rfc3339
from streams.page.drawing.matrix import drawn_matrix
from streams.page.pages.live import standing_alerts
from streams.page.pages.refused import refused_table, rejected_table
from streams.page.pages.remedies import refusals as explained
from streams.page.pages.zones import decided_table
from streams.page.pictures.crossed import crossing_matrix
from streams.page.report.reporting import Reporting
from streams.page.showing import (
    Block,
    Cell,
    Drawing,
    Facts,
    Notice,
    Section,
    Table,
    event,
    moment,
    number,
    table,
    zone,
)

#: What refusals that one explanation is enough for have in common.
_ALIKE = ("sink", "purpose", "zone", "verdict", "rule", "policy_version", "consent_state")


def recent(reporting: Reporting) -> Section:
    """Return the section about the last part of the store's time."""
    since_ns = reporting.since_ns
    passed = reporting.rows("passed", since_ns=since_ns)[0]
    trained = rfc3339(since_ns)[:19].replace("T", " ")
    generations = [row for row in reporting.rows("models") if row["trained"] >= trained]
    blocks: list[Block] = [
        Facts(
            "recent-facts",
            f"In the {reporting.last} before the latest decision",
            (
                ("from", moment(rfc3339(since_ns) if since_ns else None)),
                ("decided about, once for each sink", number(passed["decided"])),
                ("stopped", number(passed["stopped"])),
                ("refused, and passed all the same", number(passed["passed_refused"])),
                ("models trained", number(len(generations))),
                *(
                    [("the newest", event(generations[-1]["id"], reporting.asked.links))]
                    if generations
                    else []
                ),
            ),
        ),
        *_alerts(reporting),
        _by_zone(reporting, since_ns),
        _lag(reporting, since_ns),
    ]
    if reporting.all_is_recent:
        words = f"Every decision of this store lies in these {reporting.last}, so the sections on zones, "
        blocks.append(Notice(f"{words}refusals and the loop show what there is of them."))
    else:
        blocks += (
            replace(block, name=f"recent-{block.name}", heading=f"{block.heading}, the last {reporting.last}")
            for block in (*_crossings(reporting, since_ns), *_refused(reporting, since_ns))
        )
    return Section("recent", f"The last {reporting.last}", tuple(blocks))


def _alerts(reporting: Reporting) -> list[Block]:
    if reporting.alerts is None:
        return [Notice("Alerts are those of now, so a report of an older epoch has none.")]
    return standing_alerts(*reporting.alerts, reporting.asked.links)


def crossings(reporting: Reporting) -> Section:
    """Return the section about all that crossed from zones into sinks."""
    return Section("crossings", "Zones and crossings", tuple(_crossings(reporting, 0)))


def refusals(reporting: Reporting) -> Section:
    """Return the section about all refusals, with what would change those of each kind."""
    blocks: list[Block] = list(_refused(reporting, 0))
    groups = _alike(reporting.rows("refusals"))
    shown = groups[: limits.REPORT_REFUSALS_MAX]
    decisions, told_as = [], []
    for rows in shown:
        example = rows[0]
        events = sum(row["events"] for row in rows)
        for decision in reporting.asked.store.decisions(example["id"]).decisions:
            if all(getattr(decision, name) == example[name] for name in _ALIKE):
                decisions.append(decision)
                told_as.append(
                    f"{example['sink']} refused {events:,} events of {example['zone']}, such as "
                    f"{example['id']}"
                )
                break
    blocks += explained(reporting.asked.store, decisions, told_as)[0]
    if len(groups) > len(shown):
        blocks.append(Notice(f"{len(groups) - len(shown):,} more kinds of refusal are not explained here."))
    return Section("refused", "Refusals, and what would change them", tuple(blocks))


def _alike(rows: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Group refusals that one explanation is enough for, the most events first."""
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in _ALIKE), []).append(row)
    return sorted(groups.values(), key=lambda group: -sum(row["events"] for row in group))


def _crossings(reporting: Reporting, since_ns: int) -> tuple[Drawing, Table]:
    asked = reporting.asked
    matrix = crossing_matrix(asked.store, asked.looks, asked.links, since_ns)
    rows = reporting.rows("crossed_rules", since_ns=since_ns)
    return (
        Drawing("matrix", "From zone into sink", drawn_matrix(matrix, asked.looks)),
        decided_table(asked, rows, "Decisions by rule"),
    )


def _refused(reporting: Reporting, since_ns: int) -> tuple[Table, Table]:
    asked = reporting.asked
    return (
        refused_table(asked, reporting.rows("refusals", since_ns=since_ns)),
        rejected_table(asked, reporting.rows("rejections", since_ns=since_ns)),
    )


def _by_zone(reporting: Reporting, since_ns: int) -> Table:
    return table(
        "recent-zones",
        "By zone",
        ("zone", "wearers", "sinks", "passed", "of them refused", "stopped"),
        reporting.rows("passed_by_zone", since_ns=since_ns),
        lambda row: (
            zone(row["zone"]),
            number(row["wearers"]),
            number(row["sinks"]),
            number(row["passed"]),
            number(row["passed_refused"]),
            number(row["stopped"]),
        ),
        none="Nothing that this role is shown.",
    )


def _lag(reporting: Reporting, since_ns: int) -> Table:
    # A store that a replay made follows no log: its events were never with a broker.
    rows = reporting.rows("published_after", since_ns=since_ns) if _follows_a_log(reporting) else []
    return table(
        "recent-lag",
        "From the broker to a published epoch",
        ("topic", "events", "median, s", "longest, s"),
        rows,
        lambda row: (
            Cell(row["topic"]),
            number(row["events"]),
            number(row["median_s"]),
            number(row["most_s"]),
        ),
        none="No event of this time came from a broker.",
    )


def _follows_a_log(reporting: Reporting) -> bool:
    return bool(reporting.asked.store.sql("SELECT cluster FROM store WHERE cluster <> ''").to_dicts())
