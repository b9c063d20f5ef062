"""`sightline export`: lineage as a file of a standard that other tools read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from streams.cli.output import (
    Stores,
    emit_hidden,
    emit_json,
    emit_left_out,
    json_option,
    role_option,
    stating,
    stores_option,
)
from streams.moving import moving
from streams.printing import say
from streams.queries.audit import asked_as
from streams.queries.moments import look_back
from streams.queries.role import Role
from streams.queries.standards.writing import STANDARDS, Standard, write_standard
from streams.queries.store import Store


@click.command()
@click.argument("standard", type=click.Choice(STANDARDS))
@click.argument("file", type=click.Path(path_type=Path))
@stores_option
@role_option
@click.option(
    "--as-of",
    default="",
    metavar="TIME|EPOCH",
    help="As the store was then, under today's roles; the newest epoch if left out.",
)
@json_option
def command(standard: Standard, file: Path, stores: Stores, role: Role, as_of: str, *, as_json: bool) -> None:
    """Write lineage into a new FILE: as events of OpenLineage, as PROV-JSON of the W3C, or as GraphML.

    It holds what the policies let the role take out (the sink `export`), which is on record before the file
    is there. A file that is there already is not replaced.
    """
    with moving("opening the store") as show, Store.open(stores, replace(role, exporting=True)) as opened:
        look_back(opened, as_of, "--as-of")
        question = asked_as(f"export {standard} {file}", {"--as-of": as_of})
        exported = write_standard(opened, standard, file, question, show)
        hidden, left_out, named = opened.hidden, opened.left_out, opened.named
        epochs = opened.epochs
    emit_left_out(left_out)
    if as_json:
        emit_json({**stating(exported.to_dict(), epochs), "role": str(role), "hidden": hidden})
        return
    emit_hidden(str(role), hidden)
    say(
        f"{file}: {exported.edges:,} edges between single events, all that {role} may take out of "
        f"{named if len(epochs) > 1 else f'epoch {exported.epoch}'}; {exported.bytes / 1e6:.1f} MB"
    )
