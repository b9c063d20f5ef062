"""The `device-sim` command; `streams.ends` has its exit codes."""

from __future__ import annotations

import click

from streams import logs, settings
from streams.ends import Commands
from streams.settings.file import options_of


class DeviceCommands(Commands):
    """The commands of the simulated glasses."""

    program = "device-sim"

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Command names, in the order of the alphabet."""
        return _commands().list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Find a command by its name; None where there is none of it."""
        return _commands().get_command(ctx, cmd_name)


def _commands() -> click.Group:
    # NumPy and the Kafka client take a second to load. They are loaded while a command runs, so that Ctrl-C
    # meanwhile ends it as it does later.
    from device_sim.commands import commands  # noqa: PLC0415

    return commands


@click.group(cls=DeviceCommands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="sightline")
@click.pass_context
def main(context: click.Context) -> None:
    """Play recordings as AI glasses."""
    # Its Kafka client stays silent: the link says once what that says at every attempt.
    logs.to_stderr("device-sim")
    logs.unconnected()
    options_of(settings.FILE, context, "device-sim", settings.SHARED)


if __name__ == "__main__":
    main()
