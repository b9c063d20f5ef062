"""The only place that prints. Whatever others wrote into a text, it is shown as text and never interpreted.

Control codes move the cursor and set the title, direction marks reverse the text after them, and characters
without width are invisible. All of them are shown as escapes.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.tree import Tree

#: Unicode categories that are escaped: control, format (including direction marks and characters without
#: width), surrogates, and line and paragraph separators.
_HIDDEN = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))


def printable(text: str) -> str:
    r"""Return the text on one line, with control and invisible characters as escapes: \x1b, \u202e."""
    if text.isprintable():
        return text
    return "".join(_escape(each) if unicodedata.category(each) in _HIDDEN else each for each in text)


def printable_json(text: str) -> str:
    """Return an equivalent line of JSON without control or invisible characters."""
    if text.isprintable():
        return text
    return "".join(json.dumps(each)[1:-1] if unicodedata.category(each) in _HIDDEN else each for each in text)


def say(line: str = "", *, err: bool = False) -> None:
    """Print one printable line; no text in it can look like two lines."""
    click.echo(printable(line), err=err)


def say_exactly(text: str) -> None:
    """Print a text unchanged to a file or a pipe; on a terminal line by line, made printable."""
    if sys.stdout.isatty():
        for line in text.splitlines():
            say(line)
    else:
        click.echo(text.encode(), nl=False)


def say_tree(tree: Tree) -> None:
    """Print a tree of printable texts; in ASCII if the terminal's encoding lacks the line characters."""
    from rich.console import Console  # noqa: PLC0415 - whoever has a tree waits for it

    Console(highlight=False).print(tree)


def say_json(text: str) -> None:
    """Print one line of JSON, made printable."""
    click.echo(printable_json(text))


def _escape(character: str) -> str:
    code = ord(character)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
