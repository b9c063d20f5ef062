"""What holds data and where it flows: declared against observed, what is undeclared or unlabelled first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TypeVar

from msgspec import UNSET, UnsetType

from streams.page.pictures.links import Links
from streams.page.showing import Block, Cell, Facts, Notice, Shown, Table, moment, number, table, zone
from streams.page.viewing import Asked
from streams.queries.answers import Bounded
from streams.queries.flows import LINEAGE_OF_ALL, DataFlow
from streams.queries.inventory import Inventory
from streams.queries.listed import ListedKind, ListedModel, ListedStream, ListedTopic

RowT = TypeVar("RowT")
_FLOW = ("of", "how", "to", "by", "zones", "events", "stopped", "latest", "reason")
_KIND = ("kind", "schema", "digest", "categories", "nature", "sensitivity", "owner", "topics", "days kept")
_STREAM = ("kind", "stream", "topic", "devices", "events", "zones", "unlabelled", "policies", "last seen")
_TOPIC = ("topic", "holds", "written by", "read by", "days kept", "kinds", "events", "last seen")
_MODEL = ("model", "zone", "sensitivity", "examples", "wearers", "accuracy", "trained", "retrain by")
#: How flows stand, in words for a reader.
_STANDINGS = {
    "undeclared": "undeclared",
    "former": "no longer declared",
    "unobserved": "declared, not observed",
    "hidden": "declared, not shown",
    "declared": "declared and observed",
}


def page(asked: Asked) -> Shown:
    """Show the inventory, held against the policy that tagged last."""
    answer = asked.store.inventory()
    links = asked.links
    blocks: list[Block] = []
    if answer.flows_undeclared:
        blocks.append(
            Notice(f"{answer.flows_undeclared:,} flows were observed that nobody declared.", "refused")
        )
    if not answer.reads_are_known:
        blocks.append(Notice("Who read lineage is told to the privacy officer alone.", "hidden-by-policy"))
    blocks += [
        _summary(answer),
        _flows("undeclared", "Undeclared flows", answer.undeclared, links, ()),
        _shown(
            "unlabelled",
            "Without a label",
            ("thing", "name", "why"),
            answer.unlabelled,
            lambda row: (Cell(row.thing), Cell(row.name), Cell(row.why)),
        ),
        _flows("flows", "Where data flows", answer.flows, links, ("standing",)),
        _shown("kinds", "Kinds", (*_KIND, "events", "last seen"), answer.kinds, partial(_kind, links)),
        _shown("streams", "Streams", _STREAM, answer.streams, partial(_stream, links)),
        _shown(
            "columns",
            "Columns",
            ("kind", "column", "type", "unit", "packed", "categories"),
            answer.columns,
            lambda row: map(
                Cell, (row.kind, row.column, row.type, row.unit, row.packed, ", ".join(row.categories))
            ),
        ),
        *_holding(answer, links),
    ]
    return Shown(title="Inventory", blocks=tuple(blocks), plain=answer.to_dict())


def _holding(answer: Inventory, links: Links) -> Iterable[Block]:
    """Yield what holds data: zones, topics, tables, models and files; and the words of the policy."""
    yield _shown(
        "zones",
        "Zones",
        ("zone", "rank", "mode", "owner", "restricted", "days kept", "events", "last seen"),
        answer.zones,
        lambda row: (
            zone(row.zone, links.to("/zones", zone=row.zone)),
            number(row.rank),
            Cell(row.mode),
            Cell(row.owner),
            Cell("yes" if row.restricted else "no"),
            number(row.retention_days),
            number(row.events),
            _moment(row.last_seen),
        ),
    )
    yield _shown("topics", "Topics", _TOPIC, answer.topics, _topic)
    yield _shown(
        "tables",
        "Tables of the store",
        ("table", "holds", "columns", "shown to", "rows", "bytes"),
        answer.tables,
        lambda row: (
            Cell(row.table),
            Cell(row.says),
            number(row.columns),
            Cell(", ".join(row.shown_to)),
            _number(row.rows),
            _number(row.bytes),
        ),
    )
    yield _shown("models", "Models", _MODEL, answer.models, partial(_model, links))
    yield _shown(
        "files",
        "Files",
        ("file", "holds", "files", "bytes", "kept", "last written"),
        answer.files,
        lambda row: (
            Cell(row.file),
            Cell(row.holds),
            _number(row.files),
            _number(row.bytes),
            Cell(row.retention),
            _moment(row.last_seen),
        ),
    )
    yield _shown(
        "words",
        f"Words of the policy in the {answer.vocabulary}",
        ("word", "list", "term", "same", "sensitivity", "why a word of its own"),
        answer.words,
        lambda row: (
            Cell(row.word),
            Cell(row.list),
            Cell(row.term or "none"),
            Cell("yes" if row.exact else "wider" if row.term else "no"),
            Cell(row.sensitivity),
            Cell(row.says),
        ),
    )


def _summary(answer: Inventory) -> Facts:
    return Facts(
        "summary",
        "Declared against observed",
        (
            ("policy", Cell(answer.policy)),
            ("owner", Cell(answer.owner)),
            ("undeclared flows", number(answer.flows_undeclared, "#undeclared")),
            ("things without a label", number(answer.things_unlabelled, "#unlabelled")),
            ("flows no longer declared", number(answer.flows_former)),
            ("flows declared and not observed", number(answer.flows_unobserved)),
            ("flows declared and not shown", number(answer.flows_hidden)),
            ("flows declared and observed", number(answer.flows_declared)),
        ),
    )


def _shown(
    name: str,
    heading: str,
    columns: Sequence[str],
    rows: Bounded[RowT],
    cells: Callable[[RowT], Iterable[Cell]],
) -> Table:
    return table(name, heading, columns, rows.rows, cells, more=rows.more)


def _flows(name: str, heading: str, rows: Bounded[DataFlow], links: Links, before: Sequence[str]) -> Table:
    def cells(row: DataFlow) -> Iterable[Cell]:
        if before:
            yield Cell(_STANDINGS[row.standing])
        yield Cell(row.of, "" if row.of in ("", LINEAGE_OF_ALL) else links.to("/search", kind=row.of))
        yield Cell(row.how)
        crossing = row.how == "crosses into" and row.events
        yield Cell(row.to, links.to("/zones", "decisions", sink=row.to) if crossing else "")
        yield from (Cell(row.by), Cell(", ".join(row.zones)), number(row.events), number(row.stopped))
        yield from (_moment(row.latest), Cell(row.reason or ""))

    return _shown(name, heading, (*before, *_FLOW), rows, cells)


def _kind(links: Links, row: ListedKind) -> Iterable[Cell]:
    yield Cell(row.kind, links.to("/search", kind=row.kind) if row.events else "")
    yield from (Cell(row.schema or "not known"), Cell(row.digest or "", css="id"))
    yield from (Cell(", ".join(row.categories)), Cell(row.nature), Cell(row.sensitivity), Cell(row.owner))
    yield from (Cell(", ".join(row.topics)), Cell(" to ".join(map(str, row.retention_days))))
    yield from (number(row.events), _moment(row.last_seen))


def _stream(links: Links, row: ListedStream) -> Iterable[Cell]:
    yield from (Cell(row.kind, links.to("/search", kind=row.kind)), Cell(row.stream), Cell(row.topic))
    yield from (number(row.devices), number(row.events), Cell(", ".join(row.zones)), number(row.unlabelled))
    yield from (Cell(", ".join(row.policies), css="id"), moment(row.last_seen))


def _topic(row: ListedTopic) -> Iterable[Cell]:
    kept = row.retention_days
    yield from (
        Cell(row.topic),
        Cell(row.holds),
        Cell(", ".join(row.written_by)),
        Cell(", ".join(row.read_by)),
    )
    yield Cell("the last of each key") if isinstance(kept, UnsetType) else number(kept)
    yield from (Cell(", ".join(row.kinds)), number(row.events), _moment(row.last_seen))


def _model(links: Links, row: ListedModel) -> Iterable[Cell]:
    yield from (Cell(row.model, links.event(row.model), "id"), zone(row.zone), Cell(row.sensitivity))
    yield from (number(row.examples), number(row.wearers), number(row.accuracy))
    yield from (moment(row.trained), moment(row.retrain_by))


def _moment(text: str | UnsetType) -> Cell:
    return moment(None if text is UNSET else str(text))


def _number(value: float | UnsetType) -> Cell:
    return number(None if isinstance(value, UnsetType) else value)
