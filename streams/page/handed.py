"""What is handed to a person as one page that needs nothing beside it (GDPR, Article 15)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from streams.page import rendering
from streams.page.app import static
from streams.page.pages.own import own_blocks, words_table
from streams.page.report.reporting import Within
from streams.page.showing import Block, Cell, Facts, table
from streams.page.viewing import looks_of
from streams.queries.asking import OpenStore
from streams.queries.own import Own
from streams.queries.role import Role
from streams.queries.store import Store


def handed_page(
    store: Store, role: Role, about: Mapping[str, Any], held: Own, words: Sequence[Mapping[str, Any]]
) -> bytes:
    """HTML of all that is handed out; `about` has the facts of the export, and what it left out."""
    names = ("law", "wearer", "made", "role")
    blocks: list[Block] = [
        Facts("about", "This file", tuple((name, Cell(str(about[name]))) for name in names)),
        *own_blocks(held, Within()),
        words_table(words),
        table(
            "left-out",
            "What is not in it, and why",
            ("of", "why", "events"),
            list(about["left_out"]),
            lambda row: (
                Cell(row["of"]),
                Cell(row["reason"]),
                Cell(f"{row['events']:,}" if row["events"] else "", css="number"),
            ),
        ),
    ]
    title = f"Data of wearer {held.wearer}"
    return rendering.alone(title, blocks, looks_of(OpenStore(store, role)), static("page.css").decode())
