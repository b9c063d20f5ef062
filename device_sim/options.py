"""Options that several commands take which play the glasses: the same names and bounds in each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

import click

from streams import settings, topology
from streams.connection.address import ADDRESS

DEVICES_MAX = 1000
#: How what sensors sample is sent: as JSON, as MessagePack, or the one by odd and the other by even devices.
ENCODINGS = ("json", "binary", "mixed")
PARTITIONS_MAX = 1024
SPEEDS = (1, 10, 20)  #: scenario time against wall time

Command = TypeVar("Command", bound=Callable[..., Any])


class Option(Protocol):
    """Adds one option to a command."""

    def __call__(self, command: Command, /) -> Command:
        """Return the command with the option."""


def scenario(default: str, help_text: str) -> Option:
    """`--scenario`: what the glasses live through."""
    return click.option("--scenario", default=default, show_default=True, help=help_text)


def devices(default: int, help_text: str) -> Option:
    """`--devices`: how many glasses."""
    return click.option(
        "--devices",
        type=click.IntRange(1, DEVICES_MAX),
        default=default,
        show_default=True,
        help=help_text,
    )


def speed(default: int) -> Option:
    """`--speed`: how much faster than the clock a scenario passes."""
    return click.option(
        "--speed",
        type=click.Choice(SPEEDS),
        default=default,
        show_default=True,
        help="Scenario time against wall time.",
    )


def seed(help_text: str) -> Option:
    """`--seed`: what chance is drawn from."""
    return click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help=help_text)


def faults(help_text: str) -> Option:
    """`--faults/--no-faults`: whether links and clocks are bad."""
    return click.option("--faults/--no-faults", default=True, show_default=True, help=help_text)


def encoding() -> Option:
    """`--encoding`: how what sensors sample is sent."""
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
    """`--journal`: where the devices keep what they sent."""
    return click.option(
        "--journal", type=click.Path(file_okay=False, path_type=Path), required=True, help=help_text
    )


def broker() -> Option:
    """`--broker`: the Kafka that is written to."""
    return click.option(
        "--broker", type=ADDRESS, default=settings.BROKER, show_default=True, help="HOST:PORT."
    )


def partitions() -> Option:
    """`--partitions`: of the topics on that broker."""
    return click.option(
        "--partitions",
        type=click.IntRange(1, PARTITIONS_MAX),
        default=topology.PARTITIONS_DEFAULT,
        show_default=True,
    )
