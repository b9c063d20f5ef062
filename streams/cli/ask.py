"""`sightline ask`: questions about events and wearers, answered from the published store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar, get_args

import click
from msgspec import Struct

from streams.cli import graph
from streams.cli.output import (
    emit_facts,
    emit_hidden,
    emit_json,
    emit_left_out,
    emit_table,
    json_option,
    role_option,
    store_option,
)
from streams.printing import say
from streams.queries.answers import Answer
from streams.queries.asking import OpenStore, open_store
from streams.queries.role import Role

AnswerT = TypeVar("AnswerT", bound=Answer)
Form = Literal["table", "json"]
Drawn = Literal["table", "json", "dot", "mermaid"]
_MODELS = ("id", "examples", "wearers", "whose", "accuracy", "zone", "trained")


def _asking(*, drawn: bool = False) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The options of every question, which is given store, role and form; `drawn` can be a picture."""
    pictures = "; dot and mermaid are text that Graphviz and Markdown draw" if drawn else ""
    form_option = click.option(
        "--format",
        "form",
        type=click.Choice(get_args(Drawn if drawn else Form)),
        default="table",
        show_default=True,
        help=f"How to answer{pictures}.",
    )

    def options(question: Callable[..., None]) -> Callable[..., None]:
        @wraps(question)
        def asked(*about: Any, as_json: bool, form: Drawn, **given: Any) -> None:
            question(*about, form="json" if as_json else form, **given)

        return store_option(role_option(form_option(json_option(asked))))

    return options


@click.group("ask")
def command() -> None:
    """Ask where an event came from, why it is where it is, where it went, if it is ours; what is missing.

    Also what is held of a wearer.
    """


@command.command()
@click.argument("identity", metavar="ID")
@click.option(
    "--through-models",
    is_flag=True,
    help="Go on through models into what they learned from: a line for each generation.",
)
@click.option("--all", "every", is_flag=True, help="With --through-models: every event, not a line each.")
@_asking(drawn=True)
def ancestors(
    identity: str, store: Path, role: Role, form: Drawn, *, through_models: bool, every: bool
) -> None:
    """Say everything that event ID (such as g1/answer/17) was made of, hop by hop."""
    if every and not through_models:
        raise click.UsageError("--all says more of --through-models: name that as well")
    if through_models and not every:
        _say(
            _asked(store, role, lambda opened: opened.generations(identity)),
            form,
            {"generations": ("id", "hop", *_MODELS[1:], "answers")},
            graph.of_generations,
        )
        return
    _say(
        _asked(
            store,
            role,
            lambda opened: opened.ancestors(identity, through_models=through_models),
        ),
        form,
        {
            "ancestors": ("hop", "id", "events", "zones", "of", "operator", "declassifier"),
            "models": _MODELS,
        },
        graph.of_ancestors,
    )


@command.command()
@click.argument("identity", metavar="ID")
@_asking(drawn=True)
def why(identity: str, store: Path, role: Role, form: Drawn) -> None:
    """Say why event ID is in its zone, what was decided about it, and what it was made of.

    Of one that was refused: by which rule, why, where and when.
    """
    _say(
        _asked(store, role, lambda opened: opened.why(identity)),
        form,
        {
            "rejected": ("stage", "outcome", "rule", "reason", "zone", "t"),
            "decisions": ("sink", "purpose", "verdict", "passed", "rule", "attributes"),
            "parents": ("id", "events", "zones", "operator", "declassifier"),
        },
        graph.of_why,
    )


@command.command()
@click.argument("identity", metavar="ID")
@click.argument("digest")
@_asking()
@click.pass_context
def genuine(context: click.Context, identity: str, digest: str, store: Path, role: Role, form: Form) -> None:
    """Say whether an agent wrote a record: ID is its ce_id, DIGEST the XXH3-128 of its value in hexadecimal.

    Exits with 1 if none did, with 2 if the role is not shown enough to be told. docs/topics.md says how to
    make the digest.
    """
    answer = _asked(store, role, lambda opened: opened.genuine(identity, digest))
    _say(answer, form, {})
    context.exit(0 if answer.answer.genuine else 1)


@command.command()
@click.argument("identity", metavar="ID")
@_asking(drawn=True)
def loop(identity: str, store: Path, role: Role, form: Drawn) -> None:
    """Say where the loop carried event ID: feedback, examples, models, and the answers that those gave."""
    _say(
        _asked(store, role, lambda opened: opened.loop(identity)),
        form,
        {
            "generations": (
                "id",
                "learned_from_it",
                "examples",
                "wearers",
                "whose",
                "accuracy",
                "answers",
                "trained",
            )
        },
        graph.of_loop,
    )


@command.command()
@_asking()
def missing(store: Path, role: Role, form: Form) -> None:
    """Say which numbers of captured streams are missing, and which data, as others have their numbers.

    Of missing numbers, how many came in a batch that nobody could read: `ask why` says what was wrong.
    """
    _say(
        _asked(store, role, OpenStore.missing),
        form,
        {
            "missing": ("source", "stream", "first", "count", "rejected"),
            "collisions": ("source", "stream", "first", "count"),
            "lost": ("topic", "partition", "first", "last", "since"),
            "streams": ("source", "stream", "kind", "highest", "stored", "rejected"),
            "not_shown_whole": ("source", "stream", "kind"),
        },
    )


@command.command()
@_asking()
def creep(store: Path, role: Role, form: Form) -> None:
    """Say how labels change round the loop.

    It shows the distinct ones and the purposes they permit, by generation and hop.
    """
    _say(
        _asked(store, role, OpenStore.creep),
        form,
        {"creep": ("generation", "hop", "events", "distinct_labels", "mean_purposes", "fewest_purposes")},
    )


@command.command()
@click.argument("name", metavar="WEARER")
@_asking()
def wearer(name: str, store: Path, role: Role, form: Form) -> None:
    """Say what is held of WEARER (such as w1): streams, zones, sinks, answers, models, what was refused."""
    _say(
        _asked(store, role, lambda opened: opened.wearer(name)),
        form,
        {
            "streams": ("source", "stream", "kind", "events", "since", "until"),
            "zones": ("zone", "events", "kinds", "since", "until"),
            "sinks": ("sink", "purpose", "verdict", "passed", "events"),
            "answers": ("model", "answers"),
            "models": ("model", "examples"),
            "refusals": ("stage", "outcome", "rule", "zone", "batches", "events"),
        },
    )


class _Shown(Struct, Generic[AnswerT], frozen=True):
    """An answer, the role that it is shown to, and in bands how much that role is not shown."""

    answer: AnswerT
    role: str
    hidden: Mapping[str, str]


def _asked(store: Path, role: Role, question: Callable[[OpenStore], AnswerT]) -> _Shown[AnswerT]:
    """Answer a question under a role, and say beside it what is in nobody's answer."""
    with open_store(store, role=role) as opened:
        answer = question(opened)
        emit_left_out(opened.left_out)
        return _Shown(answer, opened.role, opened.hidden)


def _say(
    shown: _Shown[AnswerT],
    form: Drawn,
    tables: dict[str, Sequence[str]],
    draw: Callable[[AnswerT], graph.Graph] | None = None,
) -> None:
    """Print an answer: facts first, then what has facts of its own, then a table for each list.

    `tables` has the columns to show of each; `draw` makes a picture of it.
    """
    plain = shown.answer.to_dict()
    if form == "json":
        emit_json({**plain, "role": shown.role, "hidden": shown.hidden})
        return
    emit_hidden(shown.role, shown.hidden)
    if draw is not None and form != "table":
        (graph.emit_dot if form == "dot" else graph.emit_mermaid)(draw(shown.answer))
        return
    facts = {
        name: value for name, value in plain.items() if name not in tables and not name.endswith("_more")
    }
    groups = {name: value for name, value in facts.items() if isinstance(value, dict) and name != "offsets"}
    emit_facts({name: value for name, value in facts.items() if name not in groups})
    for name, group in groups.items():
        if group:
            say()
            say(name.replace("_", " "))
            emit_facts(group)
    for name, columns in tables.items():
        rows = plain.get(name)
        if rows and isinstance(rows, Sequence):
            say()
            say(name.replace("_", " "))
            emit_table(columns, [[row[column] for column in columns] for row in rows])
            if more := plain.get(f"{name}_more"):
                say(f"and {more:,} more; `sightline sql` can list them")
