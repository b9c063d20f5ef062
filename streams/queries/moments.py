"""Moments of a store's past: kept epochs, found by number or by time of publication."""

from __future__ import annotations

from typing import NamedTuple

from streams.errors import InputError
from streams.events.headers import rfc3339
from streams.queries.spread import time_ns
from streams.queries.store import Store


class Moment(NamedTuple):
    """An epoch that can be asked about, and its time of publication by the writer's clock."""

    epoch: int
    published_ns: int


def moments(store: Store) -> list[Moment]:
    """Epochs that are kept, oldest first; questions about them are answered exactly."""
    # Imported here, because questions about the present do not need NumPy.
    import numpy as np  # noqa: PLC0415

    from streams.lineage.retention import retained  # noqa: PLC0415

    rows = store.query("epochs").rows
    # Retention went by these times too: if the clock was set back, the highest time so far counts.
    published_ns = np.maximum.accumulate(np.array([row[1] for row in rows], np.int64))
    return [Moment(*row) for row, kept in zip(rows, retained(published_ns), strict=True) if kept]


def look_back(store: Store, text: str, option: str) -> None:
    """Let a store answer as of a moment; where `text` is empty, it goes on with the newest epoch.

    InputError as in `moment_at`.
    """
    if text:
        store.look_back(moment_at(store, text, option).epoch)


def moment_at(store: Store, text: str, option: str) -> Moment:
    """The kept epoch with a number, or the newest one at a time in RFC 3339.

    InputError names the `option`: the text is malformed, the epoch is not kept (the nearest ones are named),
    or the time is before the first epoch.
    """
    kept = moments(store)
    first, last = kept[0], kept[-1]
    if text.isascii() and text.isdigit():
        number = int(text[:19])
        for moment in kept:
            if moment.epoch == number:
                return moment
        before = max((moment for moment in kept if moment.epoch < number), default=first)
        after = min((moment for moment in kept if moment.epoch > number), default=last)
        near = " and ".join(_told(moment) for moment in dict.fromkeys((before, after)))
        raise InputError(
            f"{option}: epoch {number} is not kept by {store.directory}, which goes up to epoch "
            f"{last.epoch}; nearest to it is kept {near}"
        )
    at_ns = time_ns(text, option)
    # Answers show times in microseconds, so compare in microseconds.
    until = [moment for moment in kept if moment.published_ns // 1000 * 1000 <= at_ns]
    if not until:
        raise InputError(
            f"{option}: found a time before the first epoch that {store.directory} keeps, expected "
            f"{rfc3339(first.published_ns)} or later: that is {_told(first)}"
        )
    return until[-1]


def _told(moment: Moment) -> str:
    return f"epoch {moment.epoch} ({rfc3339(moment.published_ns)})"
