"""`sightline sql`: SELECTs on the published store, one as an argument or several from a prompt or stdin."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import get_args

import click

from streams import files, limits
from streams.cli.output import (
    Stores,
    emit_csv,
    emit_hidden,
    emit_json,
    emit_left_out,
    emit_markdown,
    emit_table,
    json_option,
    role_option,
    stating,
    stores_option,
)
from streams.cli.statements import Mode, Session, split
from streams.errors import InputError
from streams.printing import say
from streams.queries.role import Role
from streams.queries.store import Store


@click.command("sql")
@click.argument("statement", required=False)
@stores_option
@role_option
@json_option
@click.option(
    "--format",
    "form",
    type=click.Choice(get_args(Mode)),
    default="table",
    show_default=True,
    help="How to answer.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help=(
        "Write the answers into this file; "
        "only what the policies let into the sink `export` leaves the store."
    ),
)
@click.option(
    "--rows",
    type=click.IntRange(min=1),
    default=limits.ANSWER_ROWS_MAX,
    show_default=True,
    help="Rows to show at most.",
)
def command(
    statement: str | None, stores: Stores, role: Role, as_json: bool, form: Mode, rows: int, out: Path | None
) -> None:
    """Run one SELECT on the newest epoch; `sightline sql "SHOW TABLES"` lists what there is.

    Without STATEMENT, a terminal gets a prompt; otherwise statements, each ended by a semicolon, come from
    stdin.
    """
    asking = replace(role, exporting=out is not None)
    session = Session(
        "json" if as_json else form, lambda text, mode: answer(stores, asking, text, mode, rows)
    )
    if out is not None:
        with _written(out):
            session.run(statement) if statement is not None else _from_stdin(session)
    elif statement is not None:
        session.run(statement)
    elif sys.stdin.isatty():
        from streams.cli.prompt import converse  # noqa: PLC0415 - only the prompt needs it

        converse(session, stores, role)
    else:
        _from_stdin(session)


@contextmanager
def _written(path: Path) -> Iterator[None]:
    """Redirect printed output to `path`: completely and readable only by its owner, or not at all.

    InputError if `path` cannot be written.
    """
    with files.written(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", write_through=True)
        with redirect_stdout(text):
            yield
        text.detach()


def _from_stdin(session: Session) -> None:
    """Run the statements on stdin in order, up to the first error."""
    waiting, ran = "", False
    for line in sys.stdin:
        if not waiting.strip() and line.startswith("."):
            if not session.order(line):
                return
            ran = True
            continue
        statements, waiting = split(waiting + line)
        for text in statements:
            session.run(text)
        ran = ran or bool(statements)
    if waiting.strip():
        session.run(waiting)
    elif not ran:
        raise InputError(
            "sql: found no statement on stdin, expected one or more that only read, each ended by a "
            "semicolon; or name one as an argument"
        )


def answer(stores: Stores, role: Role, text: str, mode: Mode, rows: int) -> None:
    """Run one statement and print its result.

    Each statement opens the newest epoch, because the files of old epochs are deleted.
    """
    with Store.open(stores, role) as opened:
        answered = opened.sql(text, rows)
        epochs, hidden, left_out = opened.epochs, opened.hidden, opened.left_out
    emit_left_out(left_out)
    if mode == "json":
        plain = {
            "epoch": next(iter(epochs.values())),
            "columns": answered.columns,
            "rows": answered.rows,
            "more": answered.more,
            "role": str(role),
            "hidden": hidden,
        }
        emit_json(stating(plain, epochs))
        return
    emit_hidden(str(role), hidden)
    {"csv": emit_csv, "markdown": emit_markdown, "table": emit_table}[mode](answered.columns, answered.rows)
    if answered.more:
        say(f"{answered.more:,} more rows; --rows shows more", err=True)
