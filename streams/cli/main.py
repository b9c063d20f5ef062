"""The `sightline` command and its exit codes.

They are 0 success, 1 the check failed, 2 wrong arguments or files, 3 could not run.
"""

from __future__ import annotations

import importlib
from typing import Any

import click

from streams.errors import SightlineError
from streams.printing import printable, say

#: Command name to module; each module has a click command called `command`. Loaded when asked for, because
#: `sightline sql` need not wait for Faust or scikit-learn to be imported.
COMMANDS = {
    name: f"streams.cli.{name}"
    for name in (
        "demo",
        "broker",
        "worker",
        "snapshots",
        "replay",
        "ledger",
        "ask",
        "sql",
        "policy",
        "pair",
        "consent",
        "topics",
        "topology",
    )
}


class LazyGroup(click.Group):
    """Finds its commands in `COMMANDS` and turns our errors into one sentence on stderr and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Command names in the order of the README."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a command's module when it is asked for."""
        if cmd_name not in COMMANDS:
            return None
        found = importlib.import_module(COMMANDS[cmd_name]).command
        return found if isinstance(found, click.Command) else None

    def invoke(self, ctx: click.Context) -> Any:
        """Run; a `SightlineError` becomes its sentence and its exit code."""
        try:
            return super().invoke(ctx)
        except SightlineError as error:
            say(f"sightline: {error}", err=True)
            ctx.exit(error.exit_code)
        except click.ClickException as error:
            error.message = printable(error.message)
            raise


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="sightline")
def main() -> None:
    """Follow every record of AI glasses: its policy zone, what was made of it, where the loop carried it."""
