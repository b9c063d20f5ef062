"""The door to a terminal: what is printed or logged is text, whatever somebody else wrote into it.

Control codes move the cursor and set the title, marks of direction reverse what stands behind them, and what
has no width hides. All of it is shown as an escape, and so never obeyed.
"""

from __future__ import annotations

import json
import logging
import sys
import unicodedata
from types import TracebackType

import click

#: Unicode's control and format characters (the marks of direction and those without width are among these),
#: surrogates, and what ends a line or a paragraph.
_HIDDEN = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))


def printable(text: str) -> str:
    r"""Return the text on one line, with control and invisible characters as escapes: \x1b, \u202e."""
    if text.isprintable():
        return text
    return "".join(_escape(each) if unicodedata.category(each) in _HIDDEN else each for each in text)


def printable_json(text: str) -> str:
    """Return one line of JSON that means the same and has no control or invisible character in it."""
    if text.isprintable():
        return text
    return "".join(json.dumps(one)[1:-1] if unicodedata.category(one) in _HIDDEN else one for one in text)


def say(line: str = "", *, err: bool = False) -> None:
    """Print one line, made printable: no text in it can look like two."""
    click.echo(printable(line), err=err)


def say_json(text: str) -> None:
    """Print one line of JSON, made printable."""
    click.echo(printable_json(text))


def log_to_stderr(form: str = "%(message)s") -> None:
    """Write warnings and errors to stderr, a record a line, each made printable."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Printable(form))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])


class _Printable(logging.Formatter):
    """Formats records of which no message can look like two."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        return printable(super().formatMessage(record))

    def formatException(  # noqa: N802 - logging's name
        self,
        ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None],
    ) -> str:
        return "\n".join(map(printable, super().formatException(ei).split("\n")))


def _escape(character: str) -> str:
    code = ord(character)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
