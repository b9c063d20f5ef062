"""`sightline rights`: the rights of the people whose data it is, and the proof."""

from __future__ import annotations

import click

from streams.cli.rights.bystander import bystander
from streams.cli.rights.consent import consent
from streams.cli.rights.due import due
from streams.cli.rights.erase import erase, show
from streams.cli.rights.export import export
from streams.cli.rights.requests import requests
from streams.cli.rights.verifying import verify


@click.group("rights")
def command() -> None:
    """Do for a wearer what the law says: consents, retention, own data, erasure, and its proof."""


for _subcommand in (bystander, consent, due, erase, export, requests, show, verify):
    command.add_command(_subcommand)
