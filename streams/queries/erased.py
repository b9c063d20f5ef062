"""Whether a store has applied an erasure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from streams.queries.store import Store


def erased_rows(stores: Sequence[Path], number: int) -> int | None:
    """Rows that an erasure took out of stores; None if one of them has not finished it.

    It is finished when no file on disk has rows of the wearer.
    """
    with Store.open(stores) as opened:
        rows = opened.query("erased", {"number": number}).rows
    return sum(row[0] for row in rows) if rows else None
