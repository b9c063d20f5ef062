"""Statements over the views of the store, a file each in `sql/`, that only the page needs, under the role."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def statement(name: str) -> str:
    """Return the statement of a file, without its ending."""
    return (files(__package__) / "sql" / f"{name}.sql").read_text(encoding="utf-8")
