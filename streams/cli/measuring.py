"""Options of the commands whose process shows its numbers to Prometheus."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import reduce
from typing import TypeVar

import click

from streams import metrics
from streams.listening import LOOPBACK
from streams.metrics.declared import Process
from streams.printing import say

T = TypeVar("T", bound=Callable[..., None])
_OPTIONS = (
    click.option(
        "--metrics-port",
        type=click.IntRange(0, 65535),
        metavar="PORT",
        help="Answer Prometheus at http://127.0.0.1:PORT/metrics; 0 is any free port.",
    ),
    click.option(
        "--metrics-host",
        default=LOOPBACK[0],
        show_default=True,
        metavar="HOST",
        help="Address to listen on for Prometheus.",
    ),
)


def measured(command: T) -> T:
    """Add the options `--metrics-port` and `--metrics-host` to a command."""
    return reduce(lambda made, option: option(made), reversed(_OPTIONS), command)


@contextlib.contextmanager
def exported(process: Process, host: str, port: int | None) -> Iterator[None]:
    """Show the numbers of this process at a port while the block runs; without a port, do nothing.

    UnavailableError if the port is taken.
    """
    metrics.begin(process)
    if port is None:
        if host != LOOPBACK[0]:
            raise click.UsageError("--metrics-host says where --metrics-port listens; give that one too")
        yield
        return
    # Loads the Prometheus client, which nothing else needs.
    from streams.metrics.exposition import serving  # noqa: PLC0415

    if host not in LOOPBACK:
        say(
            f"the metrics are shown on {host} to whoever reaches it, and the connection is not encrypted",
            err=True,
        )
    with serving(host, port, metrics.PROCESS) as (_, own):
        shown = f"[{host}]" if ":" in host else host
        say(f"metrics on http://{shown}:{own}/metrics")
        yield
