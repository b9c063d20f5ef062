"""Search: by an id, or by wearer, zone, kind, subject and time."""

from __future__ import annotations

from streams.errors import InputError, MalformedError
from streams.events.identity import EventId
from streams.events.shipped import SHIPPED
from streams.page.showing import Block, Cell, Field, Form, Notice, Shown, event, moment, number, table, zone
from streams.page.viewing import EPOCH, Asked, RefusedError

FILTERS = ("wearer", "zone", "kind", "subject", "since", "until")


def page(asked: Asked) -> Shown:
    """Show the event with the id `q`, or runs of events by the filters; `q` may be the value of one."""
    text = asked.word("q").strip()
    filters = {name: asked.word(name).strip() for name in FILTERS}
    if text:
        if (identity := _identity(text)) is not None:
            return _single(asked, identity)
        filters[_filter_of(asked, text)] = text
    blocks: list[Block] = [_form(asked, filters)]
    plain: dict[str, object] = {"filters": {name: value for name, value in filters.items() if value}}
    if any(filters.values()):
        try:
            result = asked.store.find(**filters)
        except InputError as error:
            raise RefusedError(400, "Cannot be searched for", str(error)) from None
        plain |= result.to_dict()
        if isinstance(result.says, str):
            blocks.append(Notice(result.says))
        blocks.append(
            table(
                "runs",
                f"{result.events:,} events",
                ("first", "events", "kind", "zone", "wearer", "from", "until"),
                result.runs.rows,
                lambda run: (
                    event(run.id, asked.links),
                    number(run.events),
                    Cell(run.kind),
                    zone(run.zone),
                    Cell(run.wearer, asked.links.to(f"/wearer/{run.wearer}") if run.wearer else ""),
                    moment(run.since),
                    moment(run.until),
                ),
                more=result.runs.more,
                none="None that this role is shown.",
            )
        )
    return Shown(title="Search", blocks=tuple(blocks), plain=plain)


def _identity(text: str) -> str | None:
    try:
        return str(EventId.parse(text))
    except MalformedError:
        return None


def _single(asked: Asked, identity: str) -> Shown:
    """An event by its id. An id that is hidden is not there, in the words of any question."""
    asked.store.why(identity)
    return Shown(
        title="Search",
        blocks=(
            _form(asked, {}),
            table("runs", "1 event", ("event",), [identity], lambda each: (event(each, asked.links),)),
        ),
        plain={"id": identity},
    )


def _filter_of(asked: Asked, text: str) -> str:
    """Return which filter a word is for: a zone of the policy, a kind of event, or else a wearer."""
    if text in asked.looks.places or text == "unconfigured":
        return "zone"
    if text in SHIPPED or "_" in text:
        return "kind"
    return "wearer"


def _form(asked: Asked, filters: dict[str, str]) -> Form:
    zones = ("", *sorted(asked.looks.places))
    kept = ((EPOCH, asked.word(EPOCH)),) if asked.word(EPOCH) else ()
    choices = {"zone": zones, "subject": ("", "wearer", "bystander", "minor")}
    labels = {"since": "captured since", "until": "captured until"}
    return Form(
        "filters",
        "By wearer, zone, kind, subject and time",
        "/search",
        tuple(
            Field(name, labels.get(name, name), filters.get(name, ""), choices.get(name, ()))
            for name in FILTERS
        ),
        "Search",
        kept,
    )
