"""Questions of `sightline ask` about how far data went."""

from __future__ import annotations

import click

from streams import limits
from streams.cli import graph
from streams.cli.asking import MODELS, Drawn, Form, asked, asking, say_answer
from streams.cli.output import Stores
from streams.queries.between import between
from streams.queries.card import card as card_of
from streams.queries.descendants import descendants as made_of
from streams.queries.reach import reach as reach_of
from streams.queries.role import Role
from streams.queries.spread import Bounds, time_ns
from streams.queries.withdraw import withdrawal

_LEARNED = ("id", "learned_from", "examples", "wearers", "whose", "accuracy", "answers", "trained")


@click.command()
@click.argument("identity", metavar="ID")
@click.option(
    "--depth",
    type=click.IntRange(min=1, max=limits.WALK_HOPS_MAX),
    default=limits.WALK_HOPS_MAX,
    help="Hops to go at most.",
)
@click.option("--until", default="", metavar="TIME", help="Leave out what was captured later (RFC 3339).")
@click.option(
    "--through-models",
    is_flag=True,
    help="Go on through models: a line for each generation of the loop.",
)
@asking(drawn=True)
def descendants(
    identity: str, depth: int, until: str, stores: Stores, role: Role, form: Drawn, *, through_models: bool
) -> None:
    """Say everything that was made of event ID, hop by hop, up to the models that learned from it."""
    bounds = Bounds(depth, time_ns(until, "--until") if until else 0)
    say_answer(
        asked(stores, role, lambda opened: made_of(opened, identity, bounds, through_models=through_models)),
        form,
        {
            "descendants": ("hop", "id", "events", "zones", "of", "operator", "declassifier"),
            "models": ("hop", *MODELS, "answers"),
            "generations": ("generation", "events", "models"),
        },
        graph.of_descendants,
        walk="descendants",
    )


@click.command()
@click.argument("identity", metavar="ID")
@click.argument("to", metavar="TO")
@asking()
@click.pass_context
def reached(context: click.Context, identity: str, to: str, stores: Stores, role: Role, form: Form) -> None:
    """Say whether event ID reached event TO, and on which way.

    Exits with 1 if it did not, or if the walk was stopped before that was known.
    """
    answer = asked(stores, role, lambda opened: between(opened, identity, to))
    carried = f"`sightline ask loop {identity}` says how far it was carried"
    then = [] if answer.answer.reached else [carried]
    say_answer(answer, form, {"way": ("id", "operator", "declassifier", "zones")}, then=then)
    context.exit(0 if answer.answer.reached else 1)


@click.command()
@click.argument("identity", metavar="ID")
@asking()
def card(identity: str, stores: Stores, role: Role, form: Form) -> None:
    """Show the card of model version ID (such as training/intent-model/3).

    What it is and may be used for, what it was made of, how it was judged, what its run looked at.
    """
    say_answer(
        asked(stores, role, lambda opened: card_of(opened, identity)),
        form,
        {
            "assets": ("kind", "name", "licence", "examples", "digest"),
            "checks": ("name", "subject", "examples", "judged", "percent", "percent_max", "outcome"),
        },
    )


@click.command()
@click.argument("name", metavar="ABOUT")
@asking()
def reach(name: str, stores: Stores, role: Role, form: Form) -> None:
    """Say how far data of a wearer (w1) or a model version (training/intent-model/3) reached.

    What was made of it, models that learned from it and their answers; apart from that the second order:
    examples of others made with those models or on their answers, and models that learned from them. What
    may differ is what no lineage leads to, and may be otherwise if the wearer had never been there.
    """
    say_answer(
        asked(stores, role, lambda opened: reach_of(opened, name)),
        form,
        {"models": _LEARNED, "second_models": _LEARNED},
    )


#: What a withdrawal does not do at once.
_THEN = (
    "These are the decisions so far, repeated without the consent. A withdrawal stops further use: no later",
    "run learns from the examples, and nobody goes back to these models, but the one that serves goes on",
    "until another is promoted. What is stored stays.",
)


@click.command()
@click.argument("name", metavar="WEARER")
@click.option("--what-if", is_flag=True, required=True, help="Only say what would come of it.")
@click.option("--purpose", default="", help="For this purpose alone, such as ai:ModelTraining.")
@asking()
def withdraw(name: str, purpose: str, stores: Stores, role: Role, form: Form, *, what_if: bool) -> None:
    """Say what would stop if WEARER withdrew her consent; `sightline consent withdraw` does it.

    The decisions so far that depended on her consent are repeated without it: *stopped* are the events that
    would have been refused.
    """
    if not what_if:
        raise click.UsageError("only --what-if is answered here; `sightline consent withdraw` withdraws")
    say_answer(
        asked(stores, role, lambda opened: withdrawal(opened, name, purpose)),
        form,
        {"sinks": ("sink", "purpose", "stopped", "passed"), "models": _LEARNED},
        then=_THEN,
    )


REACHING = (descendants, reached, card, reach, withdraw)
