"""The share of a store: which partitions of `glasses.lineage` it holds, if it is one of several stores.

A store has one share for life, because a reader of several stores must know that no row is in two of them,
and what is in none.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from streams.errors import InputError
from streams.events.partitions import spelled
from streams.snapshots.epochs.hot import Hot
from streams.topology import LINEAGE


def hold(hot: Hot, path: Path, partitions: Sequence[int] | None, count: int) -> tuple[int, ...] | None:
    """Check that a store may hold some partitions, and record them if it is new; return what is to be read.

    Parameters
    ----------
    path
        The store's directory, for messages.
    partitions
        The share that is asked for; None for all partitions.
    count
        Number of partitions of the topic; it is not used if `partitions` is None.

    Raises
    ------
    InputError
        The topic has no such partition, or the store holds others; nothing was recorded.
    """
    known = _known(hot)
    asked = None if partitions is None else tuple(sorted(partitions))
    if asked is not None and asked[-1] >= count:
        raise InputError(
            f"{path}: found partition {asked[-1]} in --partitions {spelled(asked)}, expected partitions of "
            f"{LINEAGE}, which has 0 to {count - 1}"
        )
    # All partitions are no share: such a store can be read alone.
    wanted = None if asked is None or len(asked) == count else asked
    if known != wanted and (known is not None or _has_begun(hot)):
        holds = "every partition" if known is None else f"partitions {spelled(known)}"
        again = "without --partitions" if known is None else f"with --partitions {spelled(known)}"
        raise InputError(
            f"{path}: the store holds {holds} of {LINEAGE}, found "
            f"{'no --partitions' if asked is None else f'--partitions {spelled(asked)}'}, expected the same "
            f"as before. Start again {again}, or begin a new store"
        )
    if wanted is not None:
        with hot.transaction():
            hot.connection.execute(
                "UPDATE store SET partitions = ?, partition_count = ?", [list(wanted), count]
            )
    return wanted


def _known(hot: Hot) -> tuple[int, ...] | None:
    """Share that is recorded; None for all partitions."""
    # A store of before there were shares has no such columns.
    hot.connection.execute("ALTER TABLE store ADD COLUMN IF NOT EXISTS partitions INTEGER[]")
    hot.connection.execute("ALTER TABLE store ADD COLUMN IF NOT EXISTS partition_count INTEGER")
    (partitions,) = hot.only_row("SELECT partitions FROM store")
    return None if partitions is None else tuple(partitions)


def _has_begun(hot: Hot) -> bool:
    """Whether the store has taken in anything."""
    return bool(hot.newest().number or hot.rows() or hot.offsets(LINEAGE))
