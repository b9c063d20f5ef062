"""`sightline page`: the store in a browser, under a role."""

from __future__ import annotations

from pathlib import Path

import click

from streams import settings
from streams.cli.output import store_option
from streams.cli.staying import stays
from streams.errors import InputError
from streams.extras import require
from streams.printing import say
from streams.queries.asking import open_store
from streams.queries.role import Role
from streams.readiness import Ready


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
@stays
def command(
    store: Path,
    roles: tuple[Role, ...],
    host: str,
    port: int,
    names: tuple[str, ...],
    ready_fd: int | None,
    ready_file: Path | None,
) -> None:
    """Show the store in a browser: an answer's path, the loop, zones, refusals, requirements, wearers, live.

    Prints a link for each role, with a token that is valid until the page stops. Ctrl-C stops it.
    """
    require("page")
    # Only this command needs a web server.
    from streams.page.access import LOOPBACK, TOKEN, Keys  # noqa: PLC0415
    from streams.page.app import application  # noqa: PLC0415
    from streams.page.serving import bound, serve  # noqa: PLC0415

    for role in roles:
        open_store(store, role=role).close()
    if "/" in "".join(names) or "" in names:
        raise InputError("--allow-host: found no name of a host, expected one such as page.example")
    with Ready(ready_fd, ready_file) as ready, bound(host, port) as listening:
        own = listening.getsockname()[1]
        keys = Keys.drawn(roles, own)
        hosts = (*LOOPBACK, host.lower(), *(name.lower() for name in names))

        def told() -> None:
            shown = f"[{host}]" if ":" in host else host
            for token, role in keys.tokens.items():
                say(f"{role}: http://{shown}:{own}/?{TOKEN}={token}")
            ready.say()

        serve(application(store, keys, hosts), [listening], told)
