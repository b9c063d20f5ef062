"""Moments of a store's past: kept epochs, found by number or by time of publication."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from streams.errors import InputError
from streams.events.headers import rfc3339
from streams.queries.extent import APART, own
from streams.queries.spread import time_ns
from streams.queries.store import Store


class Moment(NamedTuple):
    """An epoch that can be asked about, and its time of publication by the writer's clock."""

    epoch: int
    published_ns: int


def moments(store: Store) -> list[list[Moment]]:
    """Epochs of each store that are kept, oldest first; questions about them are answered exactly."""
    # Imported here, because questions about the present do not need NumPy.
    import numpy as np  # noqa: PLC0415

    from streams.lineage.retention import retained  # noqa: PLC0415

    rows_by_place: list[list[Moment]] = [[] for _ in store.parts]
    for epoch, published_ns in store.query("epochs").rows:
        rows_by_place[epoch // APART].append(Moment(own(epoch), published_ns))
    kept = []
    for rows in rows_by_place:
        # Retention went by these times too: if the clock was set back, the highest time so far counts.
        times_ns = np.maximum.accumulate(np.array([row.published_ns for row in rows], np.int64))
        kept.append([row for row, is_kept in zip(rows, retained(times_ns), strict=True) if is_kept])
    return kept


def look_back(store: Store, text: str, option: str) -> None:
    """Let a store answer as of a moment; where `text` is empty, it goes on with the newest epoch.

    InputError as in `moments_at`.
    """
    if text:
        store.look_back(*(moment.epoch for moment in moments_at(store, text, option)))


def moments_at(store: Store, text: str, option: str) -> tuple[Moment, ...]:
    """The kept epoch with a number, or of each store the newest one at a time in RFC 3339.

    InputError names the `option`: the text is malformed, the epoch is not kept (the nearest ones are named),
    the time is before the first epoch of a store, or a number is given for several stores.
    """
    if text.isascii() and text.isdigit():
        if len(store.parts) > 1:
            raise InputError(
                f"{option}: found epoch {text[:19]} for {len(store.parts)} stores, expected a time in RFC "
                "3339, because each store counts its own epochs"
            )
        return (_numbered(store, moments(store)[0], int(text[:19]), option),)
    at_ns = time_ns(text, option)
    return tuple(
        _at(part.directory, kept, at_ns, option)
        for part, kept in zip(store.parts, moments(store), strict=True)
    )


def _numbered(store: Store, kept: Sequence[Moment], number: int, option: str) -> Moment:
    first, last = kept[0], kept[-1]
    for moment in kept:
        if moment.epoch == number:
            return moment
    before = max((moment for moment in kept if moment.epoch < number), default=first)
    after = min((moment for moment in kept if moment.epoch > number), default=last)
    near = " and ".join(_told(moment) for moment in dict.fromkeys((before, after)))
    raise InputError(
        f"{option}: epoch {number} is not kept by {store.parts[0].directory}, which goes up to epoch "
        f"{last.epoch}; nearest to it is kept {near}"
    )


def _at(directory: Path, kept: Sequence[Moment], at_ns: int, option: str) -> Moment:
    # Answers show times in microseconds, so compare in microseconds.
    until = [moment for moment in kept if moment.published_ns // 1000 * 1000 <= at_ns]
    if not until:
        raise InputError(
            f"{option}: found a time before the first epoch that {directory} keeps, expected "
            f"{rfc3339(kept[0].published_ns)} or later: that is {_told(kept[0])}"
        )
    return until[-1]


def _told(moment: Moment) -> str:
    return f"epoch {moment.epoch} ({rfc3339(moment.published_ns)})"
