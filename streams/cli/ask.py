"""`sightline ask`: questions about events, answered from the published store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

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
from streams.queries import questions
from streams.queries.role import Role
from streams.queries.store import Store


@click.group("ask")
def command() -> None:
    """Ask where an event came from, why it is where it is, where it went, if it is ours; what is missing."""


@command.command()
@click.argument("identity", metavar="ID")
@click.option("--through-models", is_flag=True, help="Go on through models into what they learned from.")
@store_option
@role_option
@json_option
def ancestors(identity: str, through_models: bool, store: Path, role: Role, as_json: bool) -> None:
    """Say everything that event ID (such as g1/answer/17) was made of, hop by hop."""
    answer = _asked(
        store, role, lambda opened: questions.ancestors(opened, identity, through_models=through_models)
    )
    _say(
        answer,
        as_json,
        {
            "ancestors": ("hop", "id", "events", "zones", "of", "operator", "declassifier"),
            "models": ("id", "examples", "wearers", "accuracy", "zone", "trained"),
        },
    )


@command.command()
@click.argument("identity", metavar="ID")
@store_option
@role_option
@json_option
def why(identity: str, store: Path, role: Role, as_json: bool) -> None:
    """Say why event ID is in its zone, what was decided about it, and what it was made of."""
    answer = _asked(store, role, lambda opened: questions.why(opened, identity))
    _say(
        answer,
        as_json,
        {
            "rejected": ("stage", "reason", "rule", "zone"),
            "decisions": ("sink", "purpose", "verdict", "passed", "rule", "attributes"),
            "parents": ("id", "events", "zones", "operator", "declassifier"),
        },
    )


@command.command()
@click.argument("identity", metavar="ID")
@click.argument("digest")
@store_option
@role_option
@json_option
@click.pass_context
def genuine(
    context: click.Context, identity: str, digest: str, store: Path, role: Role, *, as_json: bool
) -> None:
    """Say whether an agent wrote a record: ID is its ce_id, DIGEST the XXH3-128 of its value in hexadecimal.

    Exits with 1 if none did, with 2 if the role is not shown enough to be told. docs/topics.md says how to
    make the digest.
    """
    answer = _asked(store, role, lambda opened: questions.genuine(opened, identity, digest))
    _say(answer, as_json, {})
    context.exit(0 if answer["genuine"] else 1)


@command.command()
@click.argument("identity", metavar="ID")
@store_option
@role_option
@json_option
def loop(identity: str, store: Path, role: Role, as_json: bool) -> None:
    """Say where the loop carried event ID: feedback, examples, models, and the answers that those gave."""
    answer = _asked(store, role, lambda opened: questions.loop(opened, identity))
    _say(
        answer,
        as_json,
        {"generations": ("id", "learned_from_it", "examples", "accuracy", "answers", "trained")},
    )


@command.command()
@store_option
@role_option
@json_option
def missing(store: Path, role: Role, as_json: bool) -> None:
    """Say which numbers of captured streams are missing, and which data, as others have their numbers."""
    answer = _asked(store, role, questions.missing)
    _say(
        answer,
        as_json,
        {
            "missing": ("source", "stream", "first", "count"),
            "collisions": ("source", "stream", "first", "count"),
            "streams": ("source", "stream", "kind", "highest", "stored"),
            "not_shown_whole": ("source", "stream", "kind"),
        },
    )


@command.command()
@store_option
@role_option
@json_option
def creep(store: Path, role: Role, as_json: bool) -> None:
    """Say how labels change round the loop.

    It shows the distinct ones and the purposes they permit, by generation and hop.
    """
    answer = _asked(store, role, questions.creep)
    _say(
        answer,
        as_json,
        {"creep": ("generation", "hop", "events", "distinct_labels", "mean_purposes", "fewest_purposes")},
    )


def _asked(store: Path, role: Role, question: Callable[[Store], dict[str, Any]]) -> dict[str, Any]:
    """Answer a question under a role.

    What it shows of restricted zones is recorded before anything is printed.
    """
    context = click.get_current_context()
    with Store.open(store, role) as opened:
        answer = question(opened)
        emit_left_out(opened.left_out)
        opened.record(f"ask {context.info_name} {context.params.get('identity', '')}".rstrip())
        return {**answer, "role": str(role), "hidden": opened.hidden}


def _say(answer: dict[str, Any], as_json: bool, tables: dict[str, Sequence[str]]) -> None:
    """Print an answer: facts first, then what has facts of its own, then a table for each list.

    `tables` has the columns to show of each.
    """
    if as_json:
        emit_json(answer)
        return
    emit_hidden(answer["role"], answer["hidden"])
    facts = {
        name: value
        for name, value in answer.items()
        if name not in {*tables, "role", "hidden"} and not name.endswith("_more")
    }
    groups = {name: value for name, value in facts.items() if isinstance(value, dict) and name != "offsets"}
    emit_facts({name: value for name, value in facts.items() if name not in groups})
    for name, group in groups.items():
        say()
        say(name.replace("_", " "))
        emit_facts(group)
    for name, columns in tables.items():
        if answer[name]:
            say()
            say(name.replace("_", " "))
            emit_table(columns, [[row[column] for column in columns] for row in answer[name]])
            if answer.get(f"{name}_more"):
                say(f"and {answer[f'{name}_more']:,} more; `sightline sql` can list them")
