"""The log of `glasses.lineage` that a store was filled from, by its ids."""

from __future__ import annotations

from pathlib import Path

from streams.errors import InputError
from streams.events.record import LogId
from streams.snapshots.epochs.hot import Hot
from streams.topology import LINEAGE


def follow(hot: Hot, path: Path, log_id: LogId) -> str:
    """Check that the offsets of the store in `path` belong to the log that is read, and record its id.

    Return a sentence for the operator if the store did not name its log before; otherwise it is empty.

    Raises
    ------
    InputError
        The offsets belong to another log.
    """
    known = hot.log_id()
    if log_id.other_than(known):
        raise InputError(
            f"{path}: the store was filled from another log of {LINEAGE}: found {log_id}, expected "
            f"{known}. The topic was deleted and made again, or this is another broker. Use the one that "
            "the store belongs to, or another store; to go on in this store with the new log from its "
            "beginning, add --adopt"
        )
    learned = LogId(known.cluster or log_id.cluster, known.topic or log_id.topic)
    if learned == known:
        return ""
    hot.keep_log(learned)
    if not hot.offsets(LINEAGE):
        return ""
    return (
        f"{path}: the store did not say which log its offsets belong to; from now on it is "
        f"{learned}. If it was filled from another one, start with --adopt"
    )
