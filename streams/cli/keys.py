"""`sightline keys`: the keys of sealed values."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import get_args

import click

from streams import clock
from streams.cli.output import emit_facts, emit_json, emit_rows, json_option, keys_option
from streams.events.headers import rfc3339
from streams.printing import say
from streams.sealing.key_rows import State
from streams.sealing.key_store import KeyStore, Release


@click.group("keys")
def command() -> None:
    """Look at the keys under which glasses.examples is sealed, and renew what wraps them."""


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
