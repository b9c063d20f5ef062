"""What is held of a wearer, where it went, how far it reached, and what she asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from streams.page.drawing.timeline import drawn_timeline
from streams.page.pages.event import model_table
from streams.page.pictures.held import wearer_timeline
from streams.page.showing import (
    Block,
    Cell,
    Drawing,
    Facts,
    Notice,
    Shown,
    event,
    moment,
    number,
    table,
    verdict,
    zone,
)
from streams.page.viewing import Asked
from streams.queries.find import FoundRun
from streams.queries.wearer import Wearer

#: Kinds of event by which a wearer says what may become of the data.
_REQUESTS = ("consent_change", "erasure_request")


def page(asked: Asked) -> Shown:
    """Show a wearer; a wearer who asks is shown nobody else."""
    store, links, name = asked.store, asked.links, asked.path["wearer"]
    held = store.wearer(name)
    reach = store.reach(name)
    timeline = wearer_timeline(store, name, asked.looks, links)
    requests = [run for kind in _REQUESTS for run in store.find(wearer=name, kind=kind).runs]
    reached = {
        "derived": number(sum(reach.derived.values())),
        "examples": number(reach.examples),
        "models that learned from them": number(len(reach.models) + reach.models.more),
        "answers of these models": number(reach.answers),
        "examples of others made with those models": number(reach.second_examples),
        "models that learned from those": number(len(reach.second_models) + reach.second_models.more),
    }
    blocks: list[Block] = [
        Facts(
            "facts",
            "What is held",
            (
                ("events", number(held.events, links.to("/search", wearer=name))),
                ("answers given", number(held.answers_given)),
                ("examples", number(held.examples)),
                *(
                    [("your data", Cell("all of it, and who got it", links.to(f"/wearer/{name}/data")))]
                    if asked.role.name != "analyst"
                    else []
                ),
            ),
        ),
        *(
            [Drawing("time", "Consents and zones over time", drawn_timeline(timeline, asked.looks))]
            if timeline
            else []
        ),
        Facts("reach", "How far it reached", tuple(reached.items())),
        *(Notice(sentence) for sentence in reach.stopped),
        *_tables(asked, held, requests),
        model_table(asked, reach.models.rows),
    ]
    return Shown(
        title=f"Wearer {name}",
        blocks=tuple(blocks),
        plain={"wearer": held.to_dict(), "reach": reach.to_dict(), "requests": [run.id for run in requests]},
    )


def _tables(asked: Asked, held: Wearer, requests: Sequence[FoundRun]) -> Iterable[Block]:
    links = asked.links
    yield table(
        "requests",
        "What the wearer said and asked for",
        ("event", "kind", "time"),
        requests,
        lambda run: (event(run.id, links), Cell(run.kind), moment(run.since)),
        none="Nothing that this role is shown.",
    )
    yield table(
        "sinks",
        "Where it went",
        ("sink", "purpose", "verdict", "events"),
        held.sinks.rows,
        lambda row: (
            Cell(row.sink, links.to("/zones", "decisions", sink=row.sink)),
            Cell(row.purpose),
            verdict(row.verdict, passed=row.passed),
            number(row.events),
        ),
        more=held.sinks.more,
    )
    yield table(
        "zones",
        "Zones",
        ("zone", "events", "kinds", "from", "until"),
        held.zones.rows,
        lambda row: (
            zone(row.zone),
            number(row.events, links.to("/search", wearer=held.wearer, zone=row.zone)),
            number(row.kinds),
            moment(row.since),
            moment(row.until),
        ),
        more=held.zones.more,
    )
    yield table(
        "streams",
        "Streams",
        ("source", "stream", "kind", "events", "from", "until"),
        held.streams.rows,
        lambda row: (
            Cell(row.source),
            Cell(row.stream),
            Cell(row.kind),
            number(row.events),
            moment(row.since),
            moment(row.until),
        ),
        more=held.streams.more,
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
            zone(row.zone) if row.zone else Cell(""),
            number(row.batches),
            number(row.events),
        ),
        more=held.refusals.more,
        none="Nothing that this role is shown.",
    )
