"""`sightline sql`: one SELECT on the published store."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from streams import limits
from streams.cli.output import emit_csv, emit_json, emit_table, json_option, store_option
from streams.queries.store import Store


@click.command("sql")
@click.argument("statement")
@store_option
@json_option
@click.option("--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True, help="How to answer.")
@click.option("--rows", type=click.IntRange(min=1), default=limits.ANSWER_ROWS_MAX, show_default=True, help="Rows to show at most.")
def command(statement: str, store: Path, as_json: bool, form: Literal["table", "json", "csv"], rows: int) -> None:
    """Run one SELECT on the newest epoch; `sightline sql "SHOW TABLES"` lists what there is."""
    with Store.open(store) as opened:
        answer = opened.sql(statement, rows)
        epoch = opened.epoch
    if as_json or form == "json":
        emit_json({"epoch": epoch, "columns": answer.columns, "rows": answer.rows, "more": answer.more})
        return
    (emit_csv if form == "csv" else emit_table)(answer.columns, answer.rows)
    if answer.more:
        click.echo(f"{answer.more:,} more rows; --rows shows more", err=True)
