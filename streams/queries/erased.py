"""Whether a store has applied an erasure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from msgspec import UNSET

from streams.queries.reads import logged_reads
from streams.queries.store import Store


def erased_rows(stores: Sequence[Path], number: int) -> int | None:
    """Rows that an erasure took out of stores; None if one of them has not finished it.

    It is finished when no file on disk has rows of the wearer.
    """
    with Store.open(stores) as opened:
        rows = opened.query("erased", {"number": number}).rows
    return sum(row[0] for row in rows) if rows else None


def erased_lines(store: Path, number: int) -> int:
    """Lines of a store's audit log in which an erasure has its mark in place of names.

    UnavailableError if the log cannot be read.
    """
    with Store.open(store) as opened:
        reads, _ = logged_reads(opened)
    return sum(read.erased is not UNSET and number in read.erased for read in reads)
