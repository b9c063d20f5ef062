"""What went from which zone into which sink, over time, and by which decisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from streams.page.drawing.matrix import drawn_matrix
from streams.page.pictures.crossed import crossing_matrix
from streams.page.pictures.statements import statement
from streams.page.showing import (
    Block,
    Cell,
    Drawing,
    Facts,
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

_CHOSEN = ("zone", "sink")


def page(asked: Asked) -> Shown:
    """Show the crossings as a matrix, and the decisions behind them, of a `zone` or `sink` if it is named."""
    links, query = asked.links, asked.query
    chosen = {name: asked.word(name) for name in _CHOSEN if asked.word(name)}
    matrix = crossing_matrix(asked.store, asked.looks, links)
    every = asked.store.sql(statement("crossed_rules")).to_dicts()
    rows = [row for row in every if all(row[name] == value for name, value in chosen.items())]
    of = " ".join(f"{name} {value}" for name, value in chosen.items())
    crossings = asked.store.crossings(zone=query.get("zone", ""), sink=query.get("sink", ""), every="minute")
    blocks: list[Block] = [
        Drawing("matrix", "From zone into sink", drawn_matrix(matrix, asked.looks)),
        *(
            [Facts("chosen", "", (("shown below", Cell(f"{of}; all of it", links.to("/zones"))),))]
            if chosen
            else []
        ),
        decided_table(asked, rows, f"Decisions of {of}" if of else "Decisions"),
        table(
            "over-time",
            "By the minute",
            ("from", "zone", "sink", "purpose", "verdict", "wearers", "events"),
            crossings.crossings.rows,
            lambda row: (
                moment(row.t),
                zone(row.zone),
                Cell(row.sink),
                Cell(row.purpose),
                verdict(row.verdict, passed=row.passed),
                number(row.wearers),
                number(row.events),
            ),
            more=crossings.crossings.more,
        ),
    ]
    return Shown(
        title="Zones and crossings", blocks=tuple(blocks), plain={"decisions": rows, **crossings.to_dict()}
    )


def decided_table(
    asked: Asked, rows: Sequence[Mapping[str, Any]], heading: str, name: str = "decisions"
) -> Table:
    """Return rows of the statement `crossed_rules` as a table."""
    return table(
        name,
        heading,
        ("zone", "sink", "purpose", "verdict", "rule", "policy", "events", "for example", "latest"),
        rows,
        lambda row: (
            zone(row["zone"], asked.links.to("/zones", "decisions", zone=row["zone"])),
            Cell(row["sink"], asked.links.to("/zones", "decisions", sink=row["sink"])),
            Cell(row["purpose"]),
            verdict(row["verdict"], passed=row["passed"]),
            Cell(row["rule"]),
            Cell(row["policy_version"], asked.links.to("/policies", version=row["policy_version"]), "id"),
            number(row["events"]),
            event(row["id"], asked.links),
            moment(row["latest"]),
        ),
        none="None that this role is shown.",
    )
