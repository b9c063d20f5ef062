"""`sightline page`: the store in a browser, under a role."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from msgspec import to_builtins

from streams import settings
from streams.cli.measuring import exported, measured
from streams.cli.output import store_option
from streams.cli.staying import stays
from streams.connection.address import broker_option
from streams.errors import InputError, PendingError
from streams.extras import require
from streams.listening import LOOPBACK
from streams.moving import moving
from streams.printing import say
from streams.queries.asking import open_store
from streams.queries.role import Role
from streams.readiness import Ready
from streams.settings.kafka import Broker


def _roles(_context: click.Context, _parameter: click.Parameter, texts: tuple[str, ...]) -> tuple[Role, ...]:
    return tuple(dict.fromkeys(Role.of(text) for text in texts)) or (Role.of(settings.ROLE),)


@click.command("page")
@store_option
@click.option(
    "--role",
    "roles",
    metavar="ROLE",
    multiple=True,
    callback=_roles,
    help="Who looks: analyst, privacy-officer or wearer:ID. Each of several gets a link of its own."
    f"  [default: {settings.ROLE}]",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="Port; 0 is any free one."
)
@click.option(
    "--allow-host",
    "names",
    metavar="NAME",
    multiple=True,
    help="A further name under which browsers may ask for the page.",
)
@click.option(
    "--export",
    "out",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    help="Write the pages of a finished store into this new directory instead, for one role.",
)
@broker_option(
    "A Kafka that the live page asks for the lag of agents and store.  [default: none]", default=None
)
@measured
@stays
def command(
    store: Path,
    roles: tuple[Role, ...],
    host: str,
    port: int,
    names: tuple[str, ...],
    out: Path | None,
    broker: Broker | None,
    metrics_port: int | None,
    metrics_host: str,
    ready_fd: int | None,
    ready_file: Path | None,
) -> None:
    """Show the store in a browser: an answer's path, the loop, zones, refusals, requirements, wearers, live.

    Prints a link for each role, with a token that is valid until the page stops. Ctrl-C stops it. It can be
    started before the writer has published anything.
    """
    require("page")
    if out is not None:
        _export(store, roles, out)
        return
    # Only this command needs a web server.
    from streams.page.access import TOKEN, Keys  # noqa: PLC0415
    from streams.page.app import application  # noqa: PLC0415
    from streams.page.serving import bound, serve  # noqa: PLC0415
    from streams.page.viewing import looks_of  # noqa: PLC0415

    try:
        for role in roles:
            with open_store(store, role=role) as opened:
                # Loads what would make the first viewer wait.
                opened.moments()
                looks_of(opened)
                opened.sql("SELECT 1")
    except PendingError as error:
        say(f"{error}; until then the page says so", err=True)
    if "/" in "".join(names) or "" in names:
        raise InputError("--allow-host: found no name of a host, expected one such as page.example")
    if host not in LOOPBACK:
        say(
            f"the page listens on {host}: who reaches it and has a link is shown what the link's role is "
            "shown, and the connection is not encrypted",
            err=True,
        )
    with (
        Ready(ready_fd, ready_file) as ready,
        bound(host, port) as listening,
        exported("page", metrics_host, metrics_port),
    ):
        own = listening.getsockname()[1]
        keys = Keys.drawn(roles, own)
        hosts = (*LOOPBACK, host.lower(), *(name.lower() for name in names))

        def told() -> None:
            shown = f"[{host}]" if ":" in host else host if host != "0.0.0.0" else "127.0.0.1"  # noqa: S104
            for token, role in keys.tokens.items():
                say(f"{role}: http://{shown}:{own}/?{TOKEN}={token}")
            ready.say()

        serve(application(store, keys, hosts, _lag_of(broker)), [listening], told)


def _export(store: Path, roles: tuple[Role, ...], out: Path) -> None:
    from streams.page.exporting import export  # noqa: PLC0415 - as above

    if len(roles) != 1:
        raise InputError(f"--export: found {len(roles)} roles, expected one; export once for each")
    with moving("exporting") as show:
        written = export(store, roles[0], out, show)
    beyond = f"; {written.beyond:,} links lead beyond them" if written.beyond else ""
    say(f"{out}: {written.pages:,} pages of epoch {written.epoch:,} for {roles[0]}, index.html first{beyond}")


def _lag_of(broker: Broker | None) -> Callable[[Mapping[int, int]], Sequence[Mapping[str, Any]]] | None:
    """What the live page asks for the lag of agents and store; None without a broker."""
    if broker is None:
        return None
    # Without a named broker, no client of Kafka is loaded.
    from streams.cli.status import lag_of  # noqa: PLC0415

    return lambda offsets: [to_builtins(row) for row in asyncio.run(lag_of(broker, offsets))]
