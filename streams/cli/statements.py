"""Input of `sightline sql`: statements that end with a semicolon, and orders that begin with a dot."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal, cast, get_args

from streams.errors import InputError
from streams.printing import say

Mode = Literal["table", "csv", "json", "markdown"]
ORDERS = (".help", ".mode", ".quit")
HELP = """\
SELECT ... ;    run a statement (also WITH, FROM, SHOW, DESCRIBE): the store can only be read
SHOW TABLES;    lists the views; DESCRIBE events; the columns of one
.mode [MODE]    how to answer: table, csv, json or markdown
.help           this
.quit           leave; so does Ctrl-D, and Ctrl-C clears the line"""
#: Parts in which a semicolon does not end a statement: quoted texts and names, dollar quotes, comments, even
#: if they are not closed.
_OPAQUE = re.compile(
    r"""'(?:[^']|'')*(?:'|$) | "(?:[^"]|"")*(?:"|$) | \$(\w*)\$.*?(?:\$\1\$|$) | """
    r"""--[^\n]*(?:\n|$) | /\*.*?(?:\*/|$)""",
    re.DOTALL | re.VERBOSE,
)
_BLANK = re.compile(r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)*", re.DOTALL)


def split(text: str) -> tuple[list[str], str]:
    """Return the non-empty statements of `text` that end with a semicolon, and the rest after them."""
    statements, begin, at = [], 0, 0
    while at < len(text):
        opaque = _OPAQUE.match(text, at)
        if opaque is not None:
            at = opaque.end()
            continue
        at += 1
        if text[at - 1] == ";":
            statements.append(text[begin:at].strip())
            begin = at
    rest = text[begin:]
    return [statement for statement in statements if not _BLANK.fullmatch(statement[:-1])], (
        "" if _BLANK.fullmatch(rest) else rest
    )


def finished(text: str) -> bool:
    """Whether a typed text is complete: an order, or statements that end with a semicolon, or empty."""
    return text.lstrip().startswith(".") or not split(text)[1]


class Session:
    """The output format of a session, and the function that runs its statements."""

    def __init__(self, mode: Mode, answer: Callable[[str, Mode], None]) -> None:
        self.mode, self._answer = mode, answer

    def run(self, text: str) -> None:
        """Run one statement; InputError if it does not only read."""
        self._answer(text, self.mode)

    def order(self, line: str) -> bool:
        """Run an order; return whether the session continues. InputError if the order is unknown."""
        name, *words = line.split()
        if name == ".quit" and not words:
            return False
        if name == ".help" and not words:
            for text in HELP.splitlines():
                say(text)
        elif name == ".mode" and not words:
            say(self.mode)
        elif name == ".mode" and len(words) == 1 and words[0] in get_args(Mode):
            self.mode = cast("Mode", words[0])
        else:
            raise InputError(
                f"sql: found the order {line.strip()!r}, expected .mode {'|'.join(get_args(Mode))}, "
                ".help or .quit"
            )
        return True
