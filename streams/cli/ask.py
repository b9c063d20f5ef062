"""`sightline ask`: questions about events, wearers, models and the whole store, from the published epoch."""

from __future__ import annotations

from typing import get_args

import click

from streams.cli import graph
from streams.cli.asking import MODELS, Drawn, Form, Questions, asked, asking, say_answer
from streams.cli.looking import LOOKING
from streams.cli.output import Stores
from streams.cli.reaching import REACHING
from streams.queries import questions
from streams.queries.creep import creep as creep_in
from streams.queries.generations import generations
from streams.queries.loop import loop as carried_by_loop
from streams.queries.missing import missing as missing_in
from streams.queries.role import Role
from streams.queries.superseded import superseded as superseded_in
from streams.queries.usage import UsageBy
from streams.queries.usage import usage as usage_of
from streams.queries.wearer import wearer as held_of


@click.group("ask", cls=Questions)
def command() -> None:
    """Ask where data came from, why it is where it is, where it went, and whose it is."""


@command.command()
@click.argument("identity", metavar="ID")
@click.option(
    "--through-models",
    is_flag=True,
    help="Go on through models into what they learned from: a line for each generation.",
)
@click.option("--all", "every", is_flag=True, help="With --through-models: every event, not a line each.")
@asking(drawn=True)
def ancestors(
    identity: str, stores: Stores, role: Role, form: Drawn, *, through_models: bool, every: bool
) -> None:
    """Say everything that event ID (such as g1/answer/17) was made of, hop by hop."""
    if every and not through_models:
        raise click.UsageError("--all says more of --through-models: name that as well")
    if through_models and not every:
        say_answer(
            asked(stores, role, lambda opened: generations(opened, identity)),
            form,
            {"generations": ("id", "hop", *MODELS[1:], "answers")},
            graph.of_generations,
        )
        return
    say_answer(
        asked(
            stores,
            role,
            lambda opened: questions.ancestors(opened, identity, through_models=through_models),
        ),
        form,
        {
            "ancestors": ("hop", "id", "events", "zones", "of", "operator", "declassifier"),
            "models": MODELS,
        },
        graph.of_ancestors,
        walk="ancestors",
    )


@command.command()
@click.argument("identity", metavar="ID")
@asking(drawn=True)
def why(identity: str, stores: Stores, role: Role, form: Drawn) -> None:
    """Say why event ID is in its zone, what was decided about it, and what it was made of.

    Of one that was refused: by which rule, why, where and when.
    """
    say_answer(
        asked(stores, role, lambda opened: questions.why(opened, identity)),
        form,
        {
            "rejected": ("stage", "outcome", "rule", "reason", "zone", "t"),
            "decisions": ("sink", "purpose", "verdict", "passed", "rule", "attributes"),
            "parents": ("id", "events", "zones", "operator", "declassifier"),
        },
        graph.of_why,
        walk="parents",
    )


@command.command()
@click.argument("identity", metavar="ID")
@click.argument("digest")
@asking()
@click.pass_context
def genuine(
    context: click.Context, identity: str, digest: str, stores: Stores, role: Role, form: Form
) -> None:
    """Say whether an agent wrote a record: ID is its ce_id, DIGEST the XXH3-128 of its value in hexadecimal.

    Exits with 1 if none did, with 2 if the role is not shown enough to be told. docs/topics.md says how to
    make the digest.
    """
    answer = asked(stores, role, lambda opened: questions.genuine(opened, identity, digest))
    say_answer(answer, form, {})
    context.exit(0 if answer.answer.genuine else 1)


@command.command()
@click.argument("identity", metavar="ID")
@asking(drawn=True)
def loop(identity: str, stores: Stores, role: Role, form: Drawn) -> None:
    """Say where the loop carried event ID: feedback, examples, models, and the answers that those gave."""
    say_answer(
        asked(stores, role, lambda opened: carried_by_loop(opened, identity)),
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
                "declined",
            ),
            "refused": ("stage", "outcome", "rule", "reason", "zone", "t"),
        },
        graph.of_loop,
    )


@command.command()
@asking()
def missing(stores: Stores, role: Role, form: Form) -> None:
    """Say which numbers of captured streams are missing, and which data, as others have their numbers.

    Of missing numbers, how many came in a batch that nobody could read: `ask why` says what was wrong.
    """
    say_answer(
        asked(stores, role, missing_in),
        form,
        {
            "missing": ("source", "stream", "first", "count", "malformed"),
            "collisions": ("source", "stream", "first", "count"),
            "lost": ("topic", "partition", "first", "last", "since"),
            "streams": ("source", "stream", "kind", "highest", "stored", "rejected"),
            "not_shown_whole": ("source", "stream", "kind"),
        },
    )


@command.command()
@asking()
def superseded(stores: Stores, role: Role, form: Form) -> None:
    """Say which derived events were replaced since samples came late, and which answers relied on them."""
    say_answer(
        asked(stores, role, superseded_in),
        form,
        {"superseded": ("id", "by", "answers"), "answers": ("id", "cites", "now")},
    )


@command.command()
@asking()
def creep(stores: Stores, role: Role, form: Form) -> None:
    """Say how labels change round the loop.

    It shows the distinct ones and the purposes they permit, by generation and hop.
    """
    say_answer(
        asked(stores, role, creep_in),
        form,
        {"creep": ("generation", "hop", "events", "distinct_labels", "mean_purposes", "fewest_purposes")},
    )


@command.command()
@click.option(
    "--by",
    type=click.Choice(get_args(UsageBy)),
    default="version",
    show_default=True,
    help="Count by this: model version, zone, wearer, or day (UTC).",
)
@asking()
def usage(by: UsageBy, stores: Stores, role: Role, form: Form) -> None:
    """Say how many answers were given, and what people said of them.

    Feedback confirms an answer, corrects it (another intent was meant), denies it (it was wrong), or is
    unclear. A declined version answers in shadow: nobody hears it, and feedback judges it too.
    """
    say_answer(
        asked(stores, role, lambda opened: usage_of(opened, by)),
        form,
        {
            "usage": (
                "of",
                "answers",
                "feedback",
                "choices",
                "confirmed",
                "corrected",
                "denied",
                "unclear",
                "right_percent",
                "shadow_judged",
                "shadow_right_percent",
                "served_right_percent",
            )
        },
    )


@command.command()
@click.argument("name", metavar="WEARER")
@asking()
def wearer(name: str, stores: Stores, role: Role, form: Form) -> None:
    """Say what is held of WEARER (such as w1): streams, zones, sinks, answers, models, what was refused."""
    say_answer(
        asked(stores, role, lambda opened: held_of(opened, name)),
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


for _question in (*REACHING, *LOOKING):
    command.add_command(_question)
