"""`sightline sql`: SELECTs on the published store: one as an argument, several from a prompt or from stdin."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import get_args

import click

from streams import limits
from streams.cli.output import emit_csv, emit_json, emit_markdown, emit_table, json_option, store_option
from streams.cli.statements import Mode, Session, split
from streams.errors import InputError
from streams.queries.store import Store


@click.command("sql")
@click.argument("statement", required=False)
@store_option
@json_option
@click.option("--format", "form", type=click.Choice(get_args(Mode)), default="table", show_default=True, help="How to answer.")
@click.option("--rows", type=click.IntRange(min=1), default=limits.ANSWER_ROWS_MAX, show_default=True, help="Rows to show at most.")
def command(statement: str | None, store: Path, as_json: bool, form: Mode, rows: int) -> None:
    """Run one SELECT on the newest epoch; `sightline sql "SHOW TABLES"` lists what there is.

    Without STATEMENT, a terminal gets a prompt; otherwise statements, each ended by a semicolon, come from stdin.
    """
    session = Session("json" if as_json else form, lambda text, mode: answer(store, text, mode, rows))
    if statement is not None:
        session.run(statement)
    elif sys.stdin.isatty():
        from streams.cli.prompt import converse  # noqa: PLC0415 - only who types waits for it to be imported

        converse(session, store)
    else:
        _from_stdin(session)


def _from_stdin(session: Session) -> None:
    """Run what stdin holds, in order; the first error ends it."""
    waiting, found = "", False
    for line in sys.stdin:
        if not waiting.strip() and line.startswith("."):
            if not session.order(line):
                return
            found = True
            continue
        statements, waiting = split(waiting + line)
        for text in statements:
            session.run(text)
        found = found or bool(statements)
    if waiting.strip():
        session.run(waiting)
    elif not found:
        raise InputError("sql: found no statement on stdin, expected one or more that only read, each ended by a semicolon; or name one as "
                         "an argument")


def answer(store: Path, text: str, mode: Mode, rows: int) -> None:
    """Run one statement and print what it gives. The newest epoch is opened for each, since old ones are swept away."""
    with Store.open(store) as opened:
        found = opened.sql(text, rows)
        epoch = opened.epoch
    if mode == "json":
        emit_json({"epoch": epoch, "columns": found.columns, "rows": found.rows, "more": found.more})
        return
    {"csv": emit_csv, "markdown": emit_markdown, "table": emit_table}[mode](found.columns, found.rows)
    if found.more:
        click.echo(f"{found.more:,} more rows; --rows shows more", err=True)
