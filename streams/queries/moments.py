"""Moments of a store's past: epochs by their number or by when they were published."""

from __future__ import annotations

from typing import NamedTuple

from streams.errors import InputError
from streams.events.headers import rfc3339
from streams.queries.spread import time_ns
from streams.queries.store import Store


class Moment(NamedTuple):
    """An epoch that can be asked about, and when it was published, by the writer's clock."""

    epoch: int
    published_ns: int


def moments(store: Store) -> list[Moment]:
    """Epochs that the store answers exactly, oldest first."""
    # Questions about the present do without NumPy.
    import numpy as np  # noqa: PLC0415

    from streams.lineage.retention import retained  # noqa: PLC0415

    rows = store.query("epochs").rows
    # A clock that was set back does not take labels back: what is retained goes by them.
    published_ns = np.maximum.accumulate(np.array([row[1] for row in rows], np.int64))
    return [Moment(*row) for row, kept in zip(rows, retained(published_ns), strict=True) if kept]


def moment_at(store: Store, text: str, option: str) -> Moment:
    """The epoch of a number, or the newest that was published up to a time in RFC 3339.

    InputError names the `option` that has it: another form, an epoch that is not kept (the nearest are
    named), or a time before the first.
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
    # Times are told to the microsecond.
    until = [moment for moment in kept if moment.published_ns // 1000 * 1000 <= at_ns]
    if not until:
        raise InputError(
            f"{option}: found a time before the first epoch that {store.directory} keeps, expected "
            f"{rfc3339(first.published_ns)} or later: that is {_told(first)}"
        )
    return until[-1]


def _told(moment: Moment) -> str:
    return f"epoch {moment.epoch} ({rfc3339(moment.published_ns)})"
