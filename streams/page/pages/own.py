"""What is held of a wearer, told to that person: recipients, retention, zones, models, consents, refusals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import UNSET

from streams.page.pictures.links import Links
from streams.page.showing import (
    Block,
    Cell,
    Facts,
    Notice,
    Shown,
    Table,
    event,
    moment,
    number,
    table,
    zone,
)
from streams.page.viewing import Asked
from streams.policy.plain import WORDS
from streams.queries.own import Own


def page(asked: Asked) -> Shown:
    """Show the data of a wearer: to the wearer, and to the privacy officer."""
    held = asked.store.own(asked.path["wearer"])
    notice = Notice(
        "The store has no words and no sensor values. `sightline rights export --as access` writes all of "
        "this with every row, and with the values that are still on the topics."
    )
    return Shown(
        title=f"Data of wearer {held.wearer}",
        blocks=(notice, *own_blocks(held, asked.links)),
        plain=held.to_dict(),
    )


def own_blocks(held: Own, links: Links) -> Iterator[Block]:
    """Blocks of an answer."""
    yield Facts(
        "facts",
        "What is held",
        (
            ("by", Cell(held.controller)),
            ("under the policy", Cell(held.policy)),
            ("devices", Cell(", ".join(held.devices))),
            ("events", number(sum(row.events for row in held.streams))),
            ("rows in which somebody else is masked", number(held.masked)),
        ),
    )
    yield table(
        "recipients",
        "Who got it, and what for",
        ("recipient", "what it is", "purpose", "region", "run by", "events", "kept from it", "latest"),
        held.recipients.rows,
        lambda row: (
            Cell(row.sink),
            Cell(row.about),
            Cell(_in_words(row.purpose)),
            Cell(row.region),
            Cell(row.run_by),
            number(row.events),
            number(row.stopped),
            moment(None if row.latest is UNSET else row.latest),
        ),
    )
    yield table(
        "due",
        "How long it may be used",
        ("until", "zone", "days", "events"),
        held.due.rows,
        lambda row: (Cell(row.on), zone(row.zone), number(row.retention_days), number(row.events)),
        more=held.due.more,
    )
    yield table(
        "zones",
        "Zones of the policy",
        ("zone", "why", "may be used for", "days", "events"),
        held.zones.rows,
        lambda row: (
            zone(row.zone),
            Cell(row.reason),
            Cell("; ".join(map(_in_words, row.purposes))),
            Cell(", ".join(map(str, row.retention_days))),
            number(row.events),
        ),
        more=held.zones.more,
    )
    yield table(
        "models",
        "Model versions that learned from it",
        ("model", "examples", "fitted again by"),
        held.models.rows,
        lambda row: (
            event(row.model, links),
            number(row.examples),
            Cell("" if row.retrain_by is UNSET else row.retrain_by),
        ),
        more=held.models.more,
    )
    yield from _said_and_refused(held)
    yield from _streams_and_rows(held)


def _in_words(purpose: str) -> str:
    """A purpose as a wearer reads it; the JSON beside the page has the term."""
    return WORDS.get(purpose, purpose)


def _said_and_refused(held: Own) -> Iterator[Block]:
    yield table(
        "consents",
        "Consents",
        ("device", "number", "status", "purposes", "at"),
        held.consents.rows,
        lambda row: (
            Cell(row.device),
            number(None if row.number is UNSET else row.number),
            Cell(row.status),
            Cell("; ".join(map(_in_words, row.purposes))),
            moment(row.at),
        ),
        more=held.consents.more,
    )
    yield table(
        "refusals",
        "What was refused",
        ("stage", "outcome", "rule", "zone", "batches", "events"),
        held.refusals.rows,
        lambda row: (
            Cell(row.stage),
            Cell(row.outcome),
            Cell(row.rule),
            Cell(row.zone),
            number(row.batches),
            number(row.events),
        ),
        more=held.refusals.more,
    )


def _streams_and_rows(held: Own) -> Iterator[Block]:
    yield table(
        "streams",
        "Streams",
        ("device", "stream", "kind", "made by", "events", "from", "until"),
        held.streams.rows,
        lambda row: (
            Cell(row.source),
            Cell(row.stream),
            Cell(row.kind),
            Cell("the device" if row.captured else "derived"),
            number(row.events),
            moment(row.since),
            moment(row.until),
        ),
        more=held.streams.more,
    )
    yield table(
        "held",
        "Rows of the store",
        ("table", "rows", "not shown", "over"),
        held.held.rows,
        lambda row: (Cell(row.table), number(row.rows), number(row.not_shown), number(row.expired)),
    )
    yield table(
        "withheld",
        "What is not handed out",
        ("zone", "rule", "events"),
        held.withheld.rows,
        lambda row: (zone(row.zone), Cell(row.rule), number(row.events)),
        none="Nothing.",
    )


def words_table(words: Sequence[Mapping[str, Any]]) -> Table:
    """What was said, answered and learned, with its words; all of it."""
    return Table(
        "words",
        "Words",
        ("time", "event", "kind", "zone", "says"),
        tuple(
            (
                moment(row["t"]),
                Cell(row["id"], css="id"),
                Cell(row["kind"]),
                zone(row["zone"]),
                Cell("; ".join(f"{name}: {_said(values)}" for name, values in row["says"].items())),
            )
            for row in words
        ),
        none="No topic was read, or none has any.",
    )


def _said(values: Sequence[Any]) -> str:
    return ", ".join("" if value is None else str(value) for value in values)
