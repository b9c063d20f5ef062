"""The policies of the store: versions, texts, and what one says otherwise than another."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from streams.page.pictures.statements import statement
from streams.page.showing import Block, Cell, Field, Form, Shown, Table, Text, moment, number, table
from streams.page.viewing import EPOCH, Asked, RefusedError


def page(asked: Asked) -> Shown:
    """Show all versions, and the text of `version`, or how it differs from the text of `against`."""
    rows = asked.store.sql(statement("policies")).to_dicts()
    decided = {
        row["policy_version"]: row["events"] for row in asked.store.sql(statement("decided_by")).to_dicts()
    }
    texts = {row["version"]: row["text"] or "" for row in rows}
    version, against = asked.word("version"), asked.word("against")
    for name in (version, against):
        if name and name not in texts:
            raise RefusedError(
                404, "Not shown", "version: this epoch has no such policy; /policies lists them"
            )
    version = version or (rows[-1]["version"] if rows else "")
    blocks: list[Block] = [versions_table(asked, rows, decided)]
    difference = ""
    if len(rows) > 1:
        choices = tuple(texts)
        kept = ((EPOCH, asked.word(EPOCH)),) if asked.word(EPOCH) else ()
        blocks.append(
            Form(
                "compare",
                "Compare",
                "/policies",
                (
                    Field("version", "version", version, choices),
                    Field("against", "against", against, ("", *choices)),
                ),
                "Compare",
                kept,
            )
        )
    if against:
        difference = differing(texts, version, against)
        blocks.append(difference_text("difference", version, against, difference))
    if version:
        blocks.append(Text("text", f"Text of {version}", texts[version]))
    return Shown(
        title="Policies",
        blocks=tuple(blocks),
        plain={
            "policies": [{**row, "events_decided": decided.get(row["version"], 0)} for row in rows],
            "version": version,
            "against": against,
            "difference": difference,
        },
    )


def versions_table(asked: Asked, rows: Sequence[Mapping[str, Any]], decided: Mapping[str, int]) -> Table:
    """Return rows of the statement `policies` as a table, with how many events each `decided`."""
    return table(
        "versions",
        "Versions",
        ("version", "name", "published", "first in epoch", "events decided"),
        rows,
        lambda row: (
            Cell(row["version"], asked.links.to("/policies", version=row["version"]), "id"),
            Cell(row["name"]),
            moment(row["published"]),
            number(row["epoch"]),
            number(decided.get(row["version"], 0)),
        ),
    )


def differing(texts: Mapping[str, str], version: str, against: str) -> str:
    """Return the lines in which the text of a version differs from another; empty if none does."""
    lines = difflib.unified_diff(
        texts[against].splitlines(), texts[version].splitlines(), against, version, lineterm=""
    )
    return "\n".join(lines)


def difference_text(name: str, version: str, against: str, difference: str) -> Text:
    """Return the lines of `differing` as they stand."""
    words = difference or "Both texts are the same."
    return Text(name, f"What {version} says otherwise than {against}", words)
