"""Options of the commands that run until they are stopped: log format, and where to report *ready*."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import TypeVar

import click

from streams import logs

T = TypeVar("T", bound=Callable[..., None])


def _log(_context: click.Context, _parameter: click.Parameter, form: logs.Form) -> None:
    logs.to_stderr("sightline", form)


_OPTIONS = (
    click.option(
        "--log",
        type=click.Choice(logs.LINES),
        default="text",
        show_default=True,
        expose_value=False,
        callback=_log,
        help="Form of the lines on standard error: time, level, agent, partition, message.",
    ),
    click.option(
        "--ready-fd",
        type=click.IntRange(min=0),
        metavar="N",
        help="Write READY=1 to this open descriptor once ready, and close it.",
    ),
    click.option(
        "--ready-file",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="A file that is there as long as the process is ready.",
    ),
)


def stays(command: T) -> T:
    """Add the options `--log`, `--ready-fd` and `--ready-file` to a command."""
    return reduce(lambda made, option: option(made), reversed(_OPTIONS), command)
