"""`sightline requirement`: how one requirement of a policy stands over what was decided."""

from __future__ import annotations

import click

from streams.cli.asking import Form, asked, asking, say_answer
from streams.cli.output import Stores
from streams.policy.load import load
from streams.queries.requirement import requirement
from streams.queries.role import Role

policy_option = click.option(
    "--policy",
    default="",
    metavar="FILE",
    help="A policy file or the name of a shipped one, published or not.  [default: what decided last]",
)


@click.command("requirement")
@click.argument("name")
@policy_option
@asking()
def command(name: str, policy: str, stores: Stores, role: Role, form: Form) -> None:
    """Say what requirement NAME concerns, where it is enforced, what breaks it, what enforcing would stop."""
    draft = load(policy) if policy else None
    say_answer(
        asked(stores, role, lambda opened: requirement(opened, name, draft), group=""),
        form,
        {
            "streams": ("stream", "sources", "events"),
            "flows": ("zone", "sink", "purpose", "checked", "holds", "passed", "events"),
            "enforcing_stops": ("zone", "sink", "purpose", "by_requirement", "by_all"),
            "open_violations": ("t", "id", "events", "zone", "sink", "purpose", "checked", "policy_version"),
        },
    )
