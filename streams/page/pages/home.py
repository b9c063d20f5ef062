"""The first page: the newest answer, one hop each way, and what else there is."""

from __future__ import annotations

from streams.page.pages.event import newest_answer, shown_event
from streams.page.pictures.statements import statement
from streams.page.showing import Cell, Notice, Shown, moment, number, table, zone
from streams.page.viewing import Asked


def page(asked: Asked) -> Shown:
    """Show the newest answer that the role is shown, and which wearers and zones there are."""
    identity = newest_answer(asked)
    links = asked.links
    held = asked.store.sql(statement("held")).to_dicts()
    listed = table(
        "held",
        "What there is",
        ("wearer", "zone", "events", "kinds", "last captured"),
        held,
        lambda row: (
            Cell(row["wearer"] or "nobody's", links.to(f"/wearer/{row['wearer']}") if row["wearer"] else ""),
            zone(row["zone"]),
            number(row["events"], links.to("/search", wearer=row["wearer"], zone=row["zone"])),
            number(row["kinds"]),
            moment(row["until"]),
        ),
        none="Nothing that this role is shown.",
    )
    if not identity:
        notice = Notice("There is no answer yet that this role is shown.")
        return Shown(title="Newest answer", blocks=(notice, listed), plain={"held": held})
    answer = shown_event(asked, identity, f"Newest answer: {identity}")
    return Shown(
        title=answer.title,
        blocks=(*answer.blocks[:2], listed, *answer.blocks[2:]),
        plain={**answer.plain, "held": held},
    )
