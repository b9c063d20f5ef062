"""`sightline ledger`: compare the devices' journals with every topic and the published store."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from streams.cli.extending import kinds_option
from streams.cli.output import Stores, emit_json, json_option, stores_option
from streams.connection.address import broker_option
from streams.events.kinds import Kinds
from streams.ledger import lines, run_ledger
from streams.printing import say
from streams.sealing.key_store import KeyStore
from streams.sealing.keys import Keys
from streams.settings.kafka import Broker


@click.command("ledger")
@click.argument("journal", type=click.Path(exists=True, path_type=Path))
@broker_option("Kafka whose topics are compared too.  [default: the store alone]", default=None)
@stores_option
@click.option(
    "--erased",
    multiple=True,
    metavar="DEVICE",
    help="A device whose wearer was erased; nothing of it is compared. May be given several times.",
)
@click.option(
    "--keys",
    type=click.Path(path_type=Path, file_okay=False),
    help="Key store of what is sealed. Without it sealed values are not opened, and sealed events are "
    "compared by their numbers; it is said how many.",
)
@kinds_option
@json_option
@click.pass_context
def command(
    context: click.Context,
    journal: Path,
    broker: Broker | None,
    stores: Stores,
    erased: tuple[str, ...],
    keys: Path | None,
    kinds: Kinds,
    *,
    as_json: bool,
) -> None:
    """Count what is missing, twice or out of order, from JOURNAL to the topics and the store.

    JOURNAL is a file or a directory. The count is right about what has been drained: a batch that is still on
    its way is missing. Exits with 1 unless all is clean. Kinds of the store that are not known here are
    counted like any other, and named.
    """
    with contextlib.ExitStack() as stack:
        key_store = None if keys is None else stack.enter_context(contextlib.closing(KeyStore(keys)))
        keyring = None if key_store is None else Keys(key_store)
        result = run_ledger(journal, broker, stores, erased=erased, keyring=keyring)
    unknown = sorted(set(result["kinds"]) - kinds.keys())
    if as_json:
        emit_json({**result, "kinds_unknown": unknown})
    else:
        if unknown:
            say(f"kinds     {', '.join(unknown)}: not known here; --extend names the package that has them")
        for line in lines(result):
            say(line)
    context.exit(0 if result["clean"] else 1)
