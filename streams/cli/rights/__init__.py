"""`sightline rights`: the rights of the people whose data it is."""

from __future__ import annotations

import click

from streams.cli.rights.due import due
from streams.cli.rights.erase import erase, show


@click.group("rights")
def command() -> None:
    """Rights of the people whose data it is: what was erased, and how far an erasure is."""


for _subcommand in (erase, show, due):
    command.add_command(_subcommand)
