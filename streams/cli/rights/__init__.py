"""`sightline rights`: the rights of the people whose data it is."""

from __future__ import annotations

import click

from streams.cli.rights.erase import erase, show


@click.group("rights")
def command() -> None:
    """Rights of the people whose data it is: what was erased, and how far an erasure is."""


command.add_command(erase)
command.add_command(show)
