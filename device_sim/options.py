"""Options that several commands share, with the same names and bounds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

import click

from streams import settings, topology
from streams.connection.address import broker_option
from streams.events.extensions import extended

DEVICES_MAX = 1000
#: Encoding of sensor data: JSON, MessagePack, or one for odd and the other for even devices.
ENCODINGS = ("json", "binary", "mixed")
PARTITIONS_MAX = 1024
SPEEDS = (1, 10, 20)  #: scenario time against wall time

Command = TypeVar("Command", bound=Callable[..., Any])


class Option(Protocol):
    """Adds one option to a command."""

    def __call__(self, command: Command, /) -> Command:
        """Return the command with the option."""


def scenario(default: str, help_text: str) -> Option:
    """`--scenario`: the scenario to play."""
    return click.option("--scenario", default=default, show_default=True, help=help_text)


def devices(default: int, help_text: str) -> Option:
    """`--devices`: number of devices."""
    return click.option(
        "--devices",
        type=click.IntRange(1, DEVICES_MAX),
        default=default,
        show_default=True,
        help=help_text,
    )


def first() -> Option:
    """`--first`: number of the first device."""
    return click.option(
        "--first",
        type=click.IntRange(1),
        default=1,
        show_default=True,
        help="Number of the first device.",
    )


def speed(default: int) -> Option:
    """`--speed`: scenario time against wall time."""
    return click.option(
        "--speed",
        type=click.Choice(SPEEDS),
        default=default,
        show_default=True,
        help="Scenario time against wall time.",
    )


def seed(help_text: str) -> Option:
    """`--seed`: seed of random numbers."""
    return click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help=help_text)


def faults(help_text: str) -> Option:
    """`--faults/--no-faults`: whether links and clocks have errors."""
    return click.option("--faults/--no-faults", default=True, show_default=True, help=help_text)


def encoding() -> Option:
    """`--encoding`: encoding of sensor data."""
    return click.option(
        "--encoding",
        type=click.Choice(ENCODINGS),
        default="json",
        show_default=True,
        help=(
            "What sensors sample: JSON, or binary columns (MessagePack); mixed: every second device binary."
            " What wearers do is JSON."
        ),
    )


def duration_s(default: float | None, help_text: str) -> Option:
    """`--duration-s`: when to end."""
    return click.option(
        "--duration-s",
        type=click.FloatRange(0, min_open=True),
        default=default,
        show_default=default is not None,
        help=help_text,
    )


def journal(help_text: str) -> Option:
    """`--journal`: directory of the devices' journals."""
    return click.option(
        "--journal", type=click.Path(file_okay=False, path_type=Path), required=True, help=help_text
    )


def broker() -> Option:
    """`--broker`: address of Kafka."""
    return broker_option("HOST:PORT.")


def partitions() -> Option:
    """`--partitions`: partition count of the topics."""
    return click.option(
        "--partitions",
        type=click.IntRange(1, PARTITIONS_MAX),
        default=topology.PARTITIONS_DEFAULT,
        show_default=True,
    )


def kinds() -> Option:
    """`--extend`: packages whose kinds of event the journals may hold."""
    return click.option(
        "--extend",
        "kinds",
        multiple=True,
        default=settings.EXTEND,
        callback=lambda _context, _parameter, names: extended(names),
        metavar="PACKAGE",
        help="A package whose kinds of event the journals hold too, by the name that `import` takes; looked"
        " for among what is installed, then in the current directory. May be given several times.",
    )
