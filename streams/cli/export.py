"""`sightline export`: lineage as a file of a standard that other tools read, or anonymised."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import click

from streams.cli.output import (
    Stores,
    emit_facts,
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
from streams.queries.standards.writing import Exported, Standard, write_standard
from streams.queries.store import Store

if TYPE_CHECKING:
    from streams.queries.anonymised import AnonymisedExport

Form = Literal[Standard, "anonymised"]


@click.command()
@click.argument("form", type=click.Choice(get_args(Form)))
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
def command(form: Form, file: Path, stores: Stores, role: Role, as_of: str, *, as_json: bool) -> None:
    """Write lineage into a new FILE: as events of OpenLineage, as PROV-JSON of the W3C, or as GraphML.

    Or write what wearers told their glasses, at which kind of place and when, anonymised: under tokens, as
    FILE.parquet or FILE.csv, with a receipt beside it that says how anonymous it is. Below the bounds of the
    policy it is refused.

    It holds what the policies let the role take out (the sink `export`), which is on record before the file
    is there. A file that is there already is not replaced.
    """
    with moving("opening the store") as show, Store.open(stores, replace(role, exporting=True)) as opened:
        look_back(opened, as_of, "--as-of")
        question = asked_as(f"export {form} {file}", {"--as-of": as_of})
        exported = (
            _anonymised(opened, file, question, show)
            if form == "anonymised"
            else write_standard(opened, form, file, question, show)
        )
        hidden, left_out, named = opened.hidden, opened.left_out, opened.named
        epochs = opened.epochs
    emit_left_out(left_out)
    if as_json:
        emit_json({**stating(exported.to_dict(), epochs), "role": str(role), "hidden": hidden})
        return
    emit_hidden(str(role), hidden)
    if isinstance(exported, Exported):
        say(
            f"{file}: {exported.edges:,} edges between single events, all that {role} may take out of "
            f"{named if len(epochs) > 1 else f'epoch {exported.epoch}'}; {exported.bytes / 1e6:.1f} MB"
        )
        return
    facts = stating(exported.to_dict(), epochs)
    emit_facts({name: value for name, value in facts.items() if name != "measured_as"})
    say()
    emit_facts(exported.measured_as)


def _anonymised(opened: Store, file: Path, question: str, show: Callable[[str], None]) -> AnonymisedExport:
    # Arrow is for who asks this.
    from streams.queries.anonymised import write_anonymised  # noqa: PLC0415

    return write_anonymised(opened, file, question, show)
