"""The prompt of `sightline sql`: history, completion of names, statements over several lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import get_args

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from streams import files, settings
from streams.cli.output import Stores
from streams.cli.statements import ORDERS, Mode, Session, finished, split
from streams.errors import InputError, SightlineError
from streams.printing import say
from streams.queries.role import Role
from streams.queries.store import Store

_NAMES = """
SELECT table_name AS name, comment FROM (
    SELECT view_name AS table_name, comment, schema_name, internal FROM duckdb_views()
    UNION ALL SELECT table_name, comment, schema_name, internal FROM duckdb_tables())
WHERE schema_name = 'main' AND NOT internal
UNION ALL SELECT column_name, any_value(comment) FROM duckdb_columns()
WHERE schema_name = 'main' AND NOT internal GROUP BY column_name"""


class Names(Completer):
    """Completes views and columns, and shows their comments; in a line that begins with a dot, orders."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        """Yield the names that begin like the word before the cursor."""
        del complete_event
        before = document.text_before_cursor.lstrip()
        if before.startswith("."):
            order, space, word = before.partition(" ")
            known = ORDERS if not space else get_args(Mode) if order == ".mode" else ()
            word, words = word if space else order, dict.fromkeys(known, "")
        else:
            word = document.get_word_before_cursor()
            words = dict(self._names) if word.strip() else {}
        yield from (
            Completion(name, -len(word), display_meta=meta)
            for name, meta in words.items()
            if name.startswith(word.lower())
        )


def names(stores: Stores, role: Role) -> dict[str, str]:
    """Views, tables and columns of the newest epoch with their comments, in the order of the alphabet."""
    with Store.open(stores, role) as opened:
        rows = opened.sql(_NAMES).rows
    return {name: comment or "" for name, comment in sorted(rows)}


def converse(session: Session, stores: Stores, role: Role) -> None:
    """Ask for statements and run them until the end of the input; errors are printed."""
    asking: PromptSession[str] = PromptSession(
        "sightline> ",
        history=_history(),
        completer=Names(names(stores, role)),
        complete_while_typing=False,
        multiline=True,
        prompt_continuation="      ...> ",
        key_bindings=_keys(),
    )
    say("Each statement reads the newest epoch and ends with a semicolon; .help says more, Tab completes.")
    while True:
        try:
            text = asking.prompt()
        except KeyboardInterrupt:
            continue
        except EOFError:
            return
        try:
            if text.lstrip().startswith("."):
                if not session.order(text):
                    return
                continue
            for statement in split(text)[0]:
                session.run(statement)
        except SightlineError as error:
            say(str(error), err=True)
        except KeyboardInterrupt:
            say("stopped", err=True)


def _keys() -> KeyBindings:
    """Key bindings: Enter runs a finished text, and otherwise begins a new line."""
    keys = KeyBindings()

    @keys.add("enter")
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if finished(buffer.text):
            buffer.validate_and_handle()
        else:
            buffer.insert_text("\n")

    return keys


def _history() -> History:
    """History in a file of the user; only in memory if the file cannot be used."""
    path = settings.CACHE / "sql-history"
    try:
        files.make_directory(path.parent)
        files.append(path).close()
    except InputError:
        return InMemoryHistory()
    return FileHistory(str(path))
