"""`sightline policy`: check, show, try, explain, compare, decide again, publish; the notice."""

from __future__ import annotations

import click

from streams.cli.policy.decided import explain, recheck, shadow
from streams.cli.policy.differing import diff
from streams.cli.policy.files import check, show, test
from streams.cli.policy.notice import notice
from streams.cli.policy.publishing import publish


@click.group("policy")
def command() -> None:
    """Say what a policy means, try it, ask why it decided so, and put another one in force."""


for subcommand in (check, show, test, notice, explain, diff, recheck, shadow, publish):
    command.add_command(subcommand)
