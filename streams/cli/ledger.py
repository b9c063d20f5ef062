"""`sightline ledger`: what the devices say they sent, against every topic and the published store."""

from __future__ import annotations

from pathlib import Path

import click

from streams.cli.output import emit_json, json_option, store_option
from streams.connection.address import ADDRESS
from streams.connection.settings import Broker
from streams.ledger import lines, run_ledger
from streams.printing import say


@click.command("ledger")
@click.argument("journal", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--broker",
    type=ADDRESS,
    help="Kafka whose topics are compared too.  [default: the store alone]",
)
@store_option
@json_option
@click.pass_context
def command(
    context: click.Context, journal: Path, broker: Broker | None, store: Path, *, as_json: bool
) -> None:
    """Count what is missing, twice or out of order, from JOURNAL to the topics and the store.

    JOURNAL is a file or a directory. The count is right about what has been drained: a batch that is still on
    its way is missing. Exits with 1 unless all is clean.
    """
    result = run_ledger(journal, broker, store)
    if as_json:
        emit_json(result)
    else:
        for line in lines(result):
            say(line)
    context.exit(0 if result["clean"] else 1)
