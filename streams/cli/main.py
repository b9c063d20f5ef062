"""The `sightline` command; `streams.ends` has its exit codes."""

from __future__ import annotations

import importlib
from datetime import tzinfo

import click

from streams import logs, settings
from streams.cli.times import time_zone_option
from streams.ends import Commands
from streams.settings.file import options_of

#: Command name to module; each module has a click command called `command`. Modules are imported on first
#: use, so that `sightline sql` does not wait for Faust or scikit-learn.
COMMANDS = {
    name: f"streams.cli.{name}"
    for name in (
        "demo",
        "broker",
        "worker",
        "snapshots",
        "replay",
        "evaluate",
        "ledger",
        "status",
        "ask",
        "requirements",
        "requirement",
        "inventory",
        "sql",
        "watch",
        "page",
        "report",
        "export",
        "policy",
        "models",
        "review",
        "training",
        "keys",
        "rights",
        "pair",
        "consent",
        "topics",
        "topology",
        "settings",
    )
}


class LazyGroup(Commands):
    """Finds its commands in `COMMANDS`."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Command names in the order of the README."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import the module of a command."""
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(COMMANDS[cmd_name]).command
        return command if isinstance(command, click.Command) else None


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="sightline")
@time_zone_option
@click.pass_context
def main(context: click.Context, time_zone: tzinfo | None) -> None:  # noqa: ARG001 - see `streams.cli.times`
    """Follow every record of AI glasses: its policy zone, what was made of it, where the loop carried it."""
    logs.to_stderr("sightline")
    logs.unconnected()
    options_of(settings.FILE, context, "sightline", settings.SHARED)
