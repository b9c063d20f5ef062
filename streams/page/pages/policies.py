"""The policies of the store: versions, texts, and what one says and decides otherwise than another."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from streams import limits
from streams.errors import InputError
from streams.page.pictures.statements import statement
from streams.page.showing import (
    Block,
    Cell,
    Facts,
    Field,
    Form,
    Notice,
    Shown,
    Table,
    Text,
    moment,
    number,
    table,
    verdict,
    zone,
)
from streams.page.viewing import EPOCH, Asked, RefusedError
from streams.queries.differing import OverStore


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
    difference, over = "", None
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
        over = _over(asked, version, against)
        blocks += _decided_otherwise(asked, version, against, over)
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
            "over": None if over is None else over.to_dict(),
        },
    )


def _over(asked: Asked, version: str, against: str) -> OverStore | None:
    """What `version` decides otherwise over this store; None if the address does not ask for it.

    RefusedError 400 if the role is shown more rows than a page compares.
    """
    if not asked.whole("over", 0, 1):
        return None
    try:
        return asked.store.differing(version, against, rows_max=limits.PAGE_OVER_ROWS_MAX)
    except InputError as error:
        raise RefusedError(400, "Too much for a page", str(error)) from None


def _decided_otherwise(asked: Asked, version: str, against: str, over: OverStore | None) -> Iterable[Block]:
    """Yield what the newer policy decides otherwise, by zone and sink; or a link that has it computed."""
    heading = f"What {version} decides otherwise over this store"
    if over is None:
        href = asked.links.to("/policies", "decided-otherwise", version=version, against=against, over=1)
        yield Facts("over", heading, (("over this store", Cell("compare every decision", href)),))
        return
    if list(over.decided_by) != [over.old]:
        yield Notice(
            f"{against} did not decide alone here: compared is what {', '.join(over.decided_by)} decided."
        )
    pairs = [
        ("decisions about events", number(over.decided)),
        ("of these differ", number(sum(way.count for way in over.flows))),
        *((f"not judged: {each.reason}", number(each.count)) for each in over.not_judged),
    ]
    yield Facts("over", heading, tuple(pairs))
    yield table(
        "decided-otherwise",
        "By zone and sink",
        ("sink", "zone", "new zone", "verdict", "new verdict", "new rule", "decisions", "kinds"),
        over.flows,
        lambda way: (
            Cell(way.sink),
            zone(way.zone),
            zone(way.new_zone),
            verdict(way.verdict),
            verdict(way.new_verdict),
            Cell(way.new_rule),
            number(way.count),
            Cell(f"{way.kinds} kinds" if isinstance(way.kinds, int) else ", ".join(way.kinds)),
        ),
        none="No decision differs.",
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
