"""Statements over the views of the store, a file each in `sql/`, that only the page needs, under the role.

`$since_ns` in one is the time from which on it counts what was decided.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files


def statement(name: str, *, since_ns: int = 0) -> str:
    """Return the statement of a file, without its ending, about decisions from `since_ns` on."""
    return _text(name).replace("$since_ns", str(int(since_ns)))


@cache
def _text(name: str) -> str:
    return (files(__package__) / "sql" / f"{name}.sql").read_text(encoding="utf-8")
