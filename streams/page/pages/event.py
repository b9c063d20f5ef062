"""One event: what it was made of, what became of it, where it went, and why; and the rows behind a count."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import to_builtins

from streams import limits
from streams.page.drawing.svg import drawn
from streams.page.pages.remedies import refusals
from streams.page.pictures.event import Reaches, event_picture
from streams.page.pictures.statements import statement
from streams.page.pictures.turns import fed_by
from streams.page.showing import (
    Block,
    Cell,
    Drawing,
    Facts,
    Notice,
    Shown,
    Table,
    moment,
    number,
    table,
    verdict,
    zone,
)
from streams.page.showing import event as event_cell
from streams.page.viewing import Asked, RefusedError
from streams.queries.answers import Ancestors, MetModel, ReachedRow, ToldDecision, Why, WhyStored
from streams.queries.descendants import Descendants

#: Hops that an address may ask for: beyond, a drawing says nothing any more.
HOPS_MAX = 12
_WALKED = ("hop", "id", "events", "zones", "of", "operator", "directness", "declassifier")


def identity_of(asked: Asked) -> str:
    """Return the id in the path."""
    return "/".join(asked.path[part] for part in ("source", "stream", "number"))


def page(asked: Asked) -> Shown:
    """Show the event of the path, with `up` hops of what it was made of and `down` of what was made of it."""
    return shown_event(asked, identity_of(asked), f"{identity_of(asked)}")


def shown_event(asked: Asked, identity: str, title: str) -> Shown:
    """Show an event."""
    store, links = asked.store, asked.links
    up, down = asked.whole("up", 1, HOPS_MAX), asked.whole("down", 1, HOPS_MAX)
    why = store.why(identity)
    before: Ancestors | None = None
    after: Descendants | None = None
    if isinstance(why, WhyStored):
        before = store.ancestors(identity)
        after = store.descendants(identity, depth=down + 1)
    ancestors = () if before is None else before.ancestors.rows
    descendants = () if after is None else after.descendants.rows
    cut = event_picture(
        why,
        Reaches(
            ancestors=ancestors,
            descendants=descendants,
            models=() if before is None else before.models,
            up=up,
            down=down,
        ),
        links,
    )
    more = (0 if before is None else before.ancestors.more, 0 if after is None else after.descendants.more)
    missing = cut.left_out + sum(more)
    left_out = (
        f"This drawing is cut: at least {missing:,} boxes are left out, because it has "
        f"{limits.PAGE_BOXES_MAX:,} at most, and a walk {limits.ANSWER_ROWS_MAX:,} rows."
        if missing
        else ""
    )
    explained, explanations = refusals(store, why.decisions.rows)
    blocks: list[Block] = [
        *_rejected(why),
        Drawing("path", "Where it came from, and where it went", drawn(cut.picture, asked.looks), left_out),
        *_facts(asked, why),
        *explained,
        _decisions(why.decisions.rows, why.decisions.more),
        _walk(asked, "made-of", "What it was made of", ancestors, more[0]),
        _walk(
            asked,
            "made-of-it",
            "What was made of it",
            [row for row in descendants if row.hop <= down],
            more[1],
        ),
        *_models(asked, () if before is None else before.models),
        *(
            Notice(f"The walk to what was made of it ended {sentence}.")
            for sentence in (() if after is None else after.stopped)
        ),
    ]
    return Shown(
        title=title,
        blocks=tuple(blocks),
        plain={
            "why": why.to_dict(),
            "ancestors": None if before is None else before.to_dict(),
            "descendants": None if after is None else after.to_dict(),
            "refusals": explanations,
        },
    )


def records(asked: Asked) -> Shown:
    """Show the events behind a count of an event's page: those of one hop, one way, in one stream."""
    identity, links = identity_of(asked), asked.links
    way, hop, stream = asked.word("way") or "up", asked.whole("hop", 1, HOPS_MAX), asked.word("stream")
    if asked.word("of"):
        return _learned(asked, identity, asked.word("of"))
    if way not in {"up", "down"}:
        raise RefusedError(400, "Wrong address", "way: found another word, expected up or down")
    if way == "up":
        walked: Iterable[ReachedRow] = asked.store.ancestors(identity).ancestors
    else:
        walked = asked.store.descendants(identity, depth=hop).descendants
    rows = [row for row in walked if row.hop == hop and stream in {"", f"{row.source}/{row.stream}"}]
    whose = f" of {stream}" if stream else ""
    side = "made of it" if way == "down" else "that it was made of"
    return Shown(
        title=f"{identity}: the events{whose} {side}",
        blocks=(
            Facts(
                "about",
                "",
                (
                    ("event", event_cell(identity, links)),
                    ("hop", number(hop)),
                    ("events", number(sum(row.events for row in rows))),
                ),
            ),
            _walk(asked, "records", "Events", rows, 0),
        ),
        plain={"id": identity, "way": way, "hop": hop, "stream": stream, "records": to_builtins(rows)},
    )


def _learned(asked: Asked, identity: str, of: str) -> Shown:
    """Examples that a model version was the first to learn from, made on the answers of version `of`."""
    asked.store.why(identity)
    rows = [
        row["id"] for row in asked.store.sql(statement("fed")).to_dicts() if fed_by(row) == (identity, of)
    ]
    return Shown(
        title=f"{identity}: what it was the first to learn from the answers of {of}",
        blocks=(
            table("records", "Examples", ("example",), rows, lambda row: (event_cell(row, asked.links),)),
        ),
        plain={"id": identity, "of": of, "records": rows},
    )


def _rejected(why: Why) -> Iterable[Block]:
    if not isinstance(why, WhyStored):
        yield Notice(why.says, "refused")


def _facts(asked: Asked, why: Why) -> Iterable[Block]:
    if not isinstance(why, WhyStored):
        return
    links = asked.links
    pairs: dict[str, Cell] = {
        "kind": Cell(why.kind),
        "zone": zone(why.zone, links.to("/search", zone=why.zone)),
        "rule": Cell(why.rule),
        "wearer": Cell(why.wearer, links.to(f"/wearer/{why.wearer}") if why.wearer else ""),
        "captured": moment(why.t_first),
        "until": moment(why.t_last if why.t_last != why.t_first else None),
        "policy": Cell(why.policy_version, links.to("/policies", version=why.policy_version), "id"),
        "consent": number(why.consent) if why.consent else Cell(""),
        "session": Cell(why.session),
        "origin": Cell(why.origin),
        "situation": event_cell(why.situation, links) if isinstance(why.situation, str) else Cell(""),
        "model": event_cell(why.model.id, links) if isinstance(why.model, MetModel) else Cell(""),
        "record": Cell(f"{why.topic}, partition {why.partition}, offset {why.offset}" if why.topic else ""),
        "digest": Cell(why.digest, css="id"),
        "published": Cell(f"epoch {why.published_in_epoch:,}"),
    }
    yield Facts("facts", "What it is", tuple((name, cell) for name, cell in pairs.items() if cell.text))
    yield Facts(
        "label",
        "What may be done with it",
        tuple((name, Cell(text)) for name, text in why.label_says.items() if text),
    )


def _decisions(decisions: Sequence[ToldDecision], more: int) -> Table:
    return table(
        "decisions",
        "Decisions",
        ("sink", "purpose", "verdict", "rule", "zone", "policy", "consent"),
        decisions,
        lambda row: (
            Cell(row.sink),
            Cell(row.purpose),
            verdict(row.verdict, passed=row.passed),
            Cell(row.rule),
            zone(row.zone),
            Cell(row.policy_version, css="id"),
            Cell(row.consent_state),
        ),
        more=more,
        none="None that this role is shown.",
    )


def _walk(asked: Asked, name: str, heading: str, rows: Sequence[ReachedRow], more: int) -> Table:
    return table(
        name,
        heading,
        _WALKED,
        rows,
        lambda row: (
            number(row.hop),
            event_cell(row.id, asked.links),
            number(row.events),
            zone(row.zones[0]) if len(row.zones) == 1 else Cell(", ".join(row.zones)),
            Cell(row.of, css="id"),
            Cell(row.operator),
            Cell(row.directness),
            Cell(row.declassifier),
        ),
        more=more,
        none="Nothing that this role is shown.",
    )


def _models(asked: Asked, models: Sequence[MetModel]) -> Iterable[Block]:
    if models:
        yield model_table(asked, models)


def model_table(asked: Asked, models: Sequence[Any]) -> Table:
    """Return model versions as a table."""
    return table(
        "models",
        "Models",
        ("model", "examples", "wearers", "whose", "accuracy", "zone", "trained"),
        models,
        lambda row: (
            event_cell(row.id, asked.links),
            number(row.examples),
            number(row.wearers),
            Cell(", ".join(row.whose)),
            number(row.accuracy),
            zone(row.zone),
            moment(row.trained),
        ),
    )


def newest_answer(asked: Asked) -> str:
    """Return the id of the newest answer that the role is shown; empty if there is none."""
    rows = asked.store.sql(statement("newest_answer")).to_dicts()
    return str(rows[0]["id"]) if rows else ""
