"""What ran: versions, times, counts; and the policies that it ran under."""

from __future__ import annotations

from importlib.metadata import version

from streams import limits
from streams.page.pages.policies import difference_text, differing, versions_table
from streams.page.pictures.statements import statement
from streams.page.report.reporting import Reporting
from streams.page.showing import Block, Cell, Facts, Notice, Section, Text, moment, number, table
from streams.queries.asking import OpenStore


def ran(reporting: Reporting) -> Section:
    """Return the section about what ran, in which versions, from when to when."""
    totals, published = reporting.rows("totals")[0], reporting.rows("publishing")[0]
    (store,) = reporting.asked.store.sql("SELECT version FROM store").to_dicts()
    decided = reporting.rows("decided_between")[0]
    models = reporting.rows("models")
    kinds = reporting.rows("kinds")
    blocks: tuple[Block, ...] = (
        Facts(
            "ran-facts",
            "Versions, times and counts",
            (
                ("Sightline that wrote this", Cell(version("sightline"))),
                ("version of the store", number(store["version"])),
                ("epochs published", number(published["epochs"])),
                ("the first", moment(published["since"])),
                ("the last", moment(published["until"])),
                ("captured from, by the devices' clocks", moment(totals["since"])),
                ("captured until", moment(totals["until"])),
                ("decided from", Cell(decided["since"] or "", css="moment")),
                ("decided until", Cell(decided["until"] or "", css="moment")),
                ("devices", number(totals["devices"])),
                ("wearers", number(totals["wearers"])),
                ("streams", number(totals["streams"])),
                ("events captured", number(totals["captured"])),
                ("events derived", number(totals["derived"])),
                ("generations of the model", number(len(models))),
                ("accuracy of the newest", number(models[-1]["accuracy"] if models else None)),
            ),
        ),
        table(
            "kinds",
            "Kinds of event",
            ("kind", "topic", "devices", "events", "zones", "latest"),
            kinds,
            lambda row: (
                Cell(row["kind"]),
                Cell(row["topic"]),
                number(row["devices"]),
                number(row["events"]),
                number(row["zones"]),
                moment(row["until"]),
            ),
            none="None that this role is shown.",
        ),
        table(
            "operators",
            "Operators",
            ("operator", "version", "loosens by", "sources", "edges"),
            reporting.rows("operators"),
            lambda row: (
                Cell(row["operator"]),
                number(row["version"]),
                Cell(row["declassifier"]),
                number(row["devices"]),
                number(row["edges"]),
            ),
            none="None that this role is shown.",
        ),
    )
    return Section("ran", "What ran", blocks)


def texts_shown(store: OpenStore) -> list[str]:
    """Versions of policies whose text, or whose difference from the next, is in a report; oldest first."""
    rows = store.sql(statement("policies")).to_dicts()
    return [row["version"] for row in rows if row["text"]][-limits.REPORT_POLICIES_MAX :]


def policies(reporting: Reporting) -> Section:
    """Return the section with the text of the newest policy, and how those before differ from the next."""
    rows = reporting.rows("policies")
    decided = {row["policy_version"]: row["events"] for row in reporting.rows("decided_by")}
    texts = {row["version"]: row["text"] for row in rows if row["text"]}
    shown = texts_shown(reporting.asked.store)
    blocks: list[Block] = [versions_table(reporting.asked, rows, decided)]
    if shown:
        newest = shown[-1]
        blocks.append(Text(f"policy-{newest}", f"Text of {newest}", texts[newest]))
        for before, after in zip(shown[-2::-1], shown[:0:-1], strict=True):
            difference = differing(texts, after, before)
            blocks.append(difference_text(f"policy-{before}", after, before, difference))
    if len(texts) > len(shown):
        blocks.append(Notice(f"{len(texts) - len(shown):,} earlier texts are left out."))
    return Section("policies", "Policies", tuple(blocks))
