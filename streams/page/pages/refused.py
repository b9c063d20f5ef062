"""What was refused, by which rule, and what would change it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from streams.page.pages.remedies import refusals
from streams.page.pictures.statements import statement
from streams.page.showing import (
    Block,
    Cell,
    Notice,
    Shown,
    Table,
    event,
    moment,
    number,
    table,
    verdict,
    zone,
)
from streams.page.viewing import Asked


def page(asked: Asked) -> Shown:
    """Show refusals by all that the decision looked at; of one event `id` also what would change each."""
    store, identity = asked.store, asked.word("id")
    rows = store.sql(statement("refusals")).to_dicts()
    rejected = store.sql(statement("rejections")).to_dicts()
    explained: tuple[Block, ...] = ()
    explanations: object = []
    if identity:
        decided = store.decisions(identity).decisions.rows
        explained, explanations = refusals(store, decided)
        if not explained:
            explained = (Notice(f"{identity}: this role is shown no refusal of it."),)
    blocks = (*explained, refused_table(asked, rows), rejected_table(asked, rejected))
    return Shown(
        title=f"Why {identity} was refused" if identity else "Refusals",
        blocks=blocks,
        plain={"refusals": rows, "rejected": rejected, "explained": explanations},
    )


def refused_table(asked: Asked, rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return rows of the statement `refusals` as a table."""
    links = asked.links
    return table(
        "refusals",
        "Decisions that refused",
        ("why", "sink", "purpose", "zone", "verdict", "rule", "policy", "consent", "events", "latest"),
        rows,
        lambda row: (
            Cell(row["id"], links.to("/refusals", id=row["id"]), "id"),
            Cell(row["sink"], links.to("/zones", "decisions", sink=row["sink"], zone=row["zone"])),
            Cell(row["purpose"]),
            zone(row["zone"]),
            verdict(row["verdict"], passed=row["passed"]),
            Cell(row["rule"]),
            Cell(row["policy_version"], links.to("/policies", version=row["policy_version"]), "id"),
            Cell(row["consent_state"]),
            number(row["events"]),
            moment(row["latest"]),
        ),
        none="None that this role is shown.",
    )


def rejected_table(asked: Asked, rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return rows of the statement `rejections` as a table."""
    return table(
        "rejected",
        "Not taken, or not made",
        ("stage", "outcome", "rule", "reason", "zone", "batches", "events", "for example", "latest"),
        rows,
        lambda row: (
            Cell(row["stage"]),
            Cell(row["outcome"]),
            Cell(row["rule"]),
            Cell(row["reason"] or ""),
            zone(row["zone"]) if row["zone"] else Cell(""),
            number(row["batches"]),
            number(row["events"]),
            event(row["id"], asked.links),
            moment(row["latest"]),
        ),
        none="None that this role is shown.",
    )
