"""`sightline keys`: the keys of sealed values."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import get_args

import click

from streams import clock
from streams.cli.output import emit_facts, emit_json, emit_rows, json_option, keys_option
from streams.cli.staying import stays
from streams.connection.address import broker_option
from streams.errors import InputError
from streams.events.headers import rfc3339
from streams.extras import require
from streams.listening import LOOPBACK
from streams.printing import say
from streams.readiness import Ready
from streams.sealing.asked import PATH, check_principal
from streams.sealing.key_rows import Release, State
from streams.sealing.key_store import KeyStore
from streams.sealing.tokens import token_in
from streams.settings.kafka import Broker


@click.group("keys")
def command() -> None:
    """Look at the keys under which glasses.examples is sealed, hand them out, and renew what wraps them."""


@command.command()
@keys_option
@json_option
def show(*, keys: Path, as_json: bool) -> None:
    """Count the keys by state, and list who asked for keys. No key is shown, and no wearer.

    A key is of one wearer, one retention and one day. Retention destroys the keys of days that are over
    (expired), an erasure those of a wearer (erased); what they sealed cannot be read from then on.
    """
    with contextlib.closing(KeyStore(keys)) as store:
        counts, due, releases = store.counts(), store.due(clock.now_ns()), store.releases()
        facts = {
            "key_store": store.id.hex(),
            **{state: counts.get(state, 0) for state in get_args(State)},
            "due": due,
        }
    rows = [
        {"at": rfc3339(at_ns), **dict(zip(Release._fields[1:], others, strict=True))}
        for at_ns, *others in releases
    ]
    if as_json:
        emit_json({**facts, "releases": rows})
        return
    emit_facts({name.replace("_", " "): value for name, value in facts.items()})
    if rows:
        say()
        emit_rows(rows)


def _principals(
    _context: click.Context, _parameter: click.Parameter, texts: tuple[str, ...]
) -> dict[str, Path]:
    named = dict[str, Path]()
    for text in texts:
        name, parted, file = text.partition("=")
        check_principal(name)
        if not parted or not file or name in named:
            raise InputError(
                "--principal: found no name and file, or one name twice, expected NAME=FILE such as"
                " study-7=study-7.token"
            )
        named[name] = Path(file)
    return named


@command.command()
@broker_option("HOST:PORT of the Kafka whose policy in force decides.")
@keys_option
@click.option(
    "--principal",
    "principals",
    metavar="NAME=FILE",
    multiple=True,
    required=True,
    callback=_principals,
    help="Who may ask, and the file of its token, which is made if absent and which it alone may read.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8766, show_default=True, help="Port; 0 is any free one."
)
@click.option(
    "--allow-remote",
    is_flag=True,
    help="Listen on an address that other machines reach, behind something that encrypts.",
)
@stays
def serve(
    *,
    broker: Broker,
    keys: Path,
    principals: dict[str, Path],
    host: str,
    port: int,
    allow_remote: bool,
    ready_fd: int | None,
    ready_file: Path | None,
) -> None:
    """Hand out keys to other programs of this machine, each for a purpose that the policy gives it.

    A program names itself, a sink and the keys of sealed values; `keys_for` of that sink in the policy in
    force decides, and the release is written down first (`sightline keys show`). Ctrl-C stops it.
    """
    require("page")
    if host not in LOOPBACK and not allow_remote:
        raise InputError(
            f"--host: found {host}, expected an address of this machine alone ({', '.join(LOOPBACK)}),"
            " because keys travel on it unencrypted; --allow-remote listens there all the same"
        )
    # Only this command needs a web server.
    from streams.page.serving import bound, serve  # noqa: PLC0415
    from streams.sealing.service import application  # noqa: PLC0415
    from streams.worker.in_force import InForce  # noqa: PLC0415

    tokens = {name: token_in(file) for name, file in principals.items()}
    if len(set(tokens.values())) < len(tokens):
        raise InputError("--principal: found one token in two files, expected each to have its own")
    with (
        contextlib.closing(KeyStore(keys)) as store,
        Ready(ready_fd, ready_file) as ready,
        bound(host, port) as listening,
    ):
        # Before anybody asks: whether there is a broker and a policy.
        asyncio.run(InForce(broker).policy())

        def told() -> None:
            shown = f"[{host}]" if ":" in host else host
            say(f"keys: http://{shown}:{listening.getsockname()[1]}{PATH}")
            ready.say()

        serve(application(store, tokens, InForce(broker).policy), [listening], told)


@command.command()
@keys_option
@json_option
def renew(*, keys: Path, as_json: bool) -> None:
    """Wrap all keys under a new key-encryption key, and destroy the old one.

    What a disk or a backup still has of destroyed keys cannot be read from then on. It is safe while workers
    run. A worker does it by itself whenever retention destroyed something.
    """
    with contextlib.closing(KeyStore(keys)) as store:
        count = store.renew()
    if as_json:
        emit_json({"renewed": count})
    else:
        say(f"{count:,} keys are under a new key-encryption key; the old one is destroyed")
