"""Every stream and kind, where it lies and where it goes, and what is unlabelled."""

from __future__ import annotations

from streams.page.pictures.statements import statement
from streams.page.showing import Cell, Shown, moment, number, table
from streams.page.viewing import Asked


def page(asked: Asked) -> Shown:
    """Show what there is of each stream, and into which sinks it went."""
    streams = asked.store.sql(statement("inventory")).to_dicts()
    flows = asked.store.sql(statement("flows")).to_dicts()
    links = asked.links
    return Shown(
        title="Inventory",
        blocks=(
            table(
                "streams",
                "Streams",
                (
                    "kind",
                    "stream",
                    "topic",
                    "devices",
                    "events",
                    "zones",
                    "unlabelled",
                    "policies",
                    "last seen",
                ),
                streams,
                lambda row: (
                    Cell(row["kind"], links.to("/search", kind=row["kind"])),
                    Cell(row["stream"]),
                    Cell(row["topic"]),
                    number(row["devices"]),
                    number(row["events"]),
                    Cell(", ".join(row["zones"])),
                    number(row["unlabelled"] or 0),
                    Cell(", ".join(row["policies"]), css="id"),
                    moment(row["last_seen"]),
                ),
                none="None that this role is shown.",
            ),
            table(
                "flows",
                "Where they go",
                ("stream", "sink", "purpose", "passed", "stopped"),
                flows,
                lambda row: (
                    Cell(row["stream"]),
                    Cell(row["sink"], links.to("/zones", "decisions", sink=row["sink"])),
                    Cell(row["purpose"]),
                    number(row["passed"] or 0),
                    number(row["stopped"] or 0),
                ),
                none="Nowhere that this role is shown.",
            ),
        ),
        plain={"streams": streams, "flows": flows},
    )
