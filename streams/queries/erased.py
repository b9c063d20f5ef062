"""Whether a store has applied an erasure."""

from __future__ import annotations

from pathlib import Path

from msgspec import UNSET

from streams.queries.reads import logged_reads
from streams.queries.store import Store


def erased_rows(store: Path, number: int) -> int | None:
    """Rows that an erasure took out of a store; None if the newest epoch does not say that it is finished.

    It is finished when no file on disk has rows of the wearer.
    """
    with Store.open(store) as opened:
        rows = opened.query("erased", {"number": number}).rows
    return int(rows[0][0]) if rows else None


def erasures_left(store: Path) -> list[int]:
    """Numbers of the erasures that the newest epoch applied and of which files of before may have rows still.

    The writer deletes these when readers of older epochs have left them.
    """
    with Store.open(store) as opened:
        left = opened.sql("SELECT number FROM erasures WHERE absent_ns = 0 ORDER BY number")
    return [number for (number,) in left.rows]


def erased_lines(store: Path, number: int) -> int:
    """Lines of a store's audit log in which an erasure has its mark in place of names.

    UnavailableError if the log cannot be read.
    """
    with Store.open(store) as opened:
        reads, _ = logged_reads(opened)
    return sum(read.erased is not UNSET and number in read.erased for read in reads)
