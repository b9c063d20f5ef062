"""`sightline requirements`: how all requirements of a policy stand, a line each."""

from __future__ import annotations

import click

from streams.cli.asking import Form, asked, asking, say_answer
from streams.cli.output import Stores
from streams.cli.requirement import policy_option
from streams.policy.load import load
from streams.queries.requirement import requirements
from streams.queries.role import Role


@click.command("requirements")
@policy_option
@asking()
def command(policy: str, stores: Stores, role: Role, form: Form) -> None:
    """List the requirements of a policy: how much is enforced, what breaks each, what changed in a day."""
    draft = load(policy) if policy else None
    say_answer(
        asked(stores, role, lambda opened: requirements(opened, draft), group=""),
        form,
        {
            "requirements": (
                "requirement",
                "owner",
                "concerned",
                "enforced_percent",
                "enforced_percent_before",
                "violations",
                "violations_last_day",
                "changed",
            )
        },
    )
