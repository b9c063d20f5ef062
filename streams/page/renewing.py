"""The live page of a store: looked at every few seconds by many, read only where there is something new."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from streams import clock, limits
from streams.errors import SightlineError, UnavailableError
from streams.page.drawing.zones import Looks
from streams.page.pages import live
from streams.page.pictures.links import Links
from streams.page.preparing import Prepared
from streams.page.viewing import Bar, Lag, LagRows, looks_of, viewed
from streams.queries import grants
from streams.queries.current import Current
from streams.queries.missing import Missing
from streams.queries.newest import newest_catalog
from streams.queries.role import Role
from streams.watching.reading import Position, Reader
from streams.watching.thresholds import Thresholds
from streams.watching.watcher import Watcher


class _Catalog(NamedTuple):
    """A catalog's file, which no other file is, not even one of another store at the same place."""

    path: Path
    inode: int
    modified_ns: int

    @classmethod
    def newest(cls, directory: Path) -> _Catalog | None:
        """Return that of the store's newest epoch; None if it cannot be told."""
        try:
            path = newest_catalog(directory)
            status = path.stat()
        except (SightlineError, OSError):
            return None
        return cls(path, status.st_ino, status.st_mtime_ns)


class _Read(Struct, frozen=True, kw_only=True):
    """What the live page of a role shows of an epoch, and until when what is missing need not be counted."""

    catalog: _Catalog | None
    current: Current
    missing: Missing
    missing_hidden: Mapping[str, str]
    missing_until_s: float
    bar: Bar
    looks: Looks


class LivePages:
    """The live page of one store, for every role.

    Those who look under one role share a page for PAGE_LIVE_REFRESH_S; for longer if making it took long, so
    that it costs the same share of a core whatever the store. After that, lag and alerts are asked for, and
    the store is read again if it has a new epoch. What is missing is counted less often, by the same rule,
    because that needs the whole store. Usable from several threads.

    Parameters
    ----------
    lag
        What says how far agents and store are behind; None if no broker was named.
    """

    def __init__(self, directory: Path, lag: Lag | None) -> None:
        self._directory, self._lag = directory.resolve(), lag
        self._looking = threading.Lock()
        self._pages: dict[Role, tuple[float, Prepared]] = {}
        self._reads: dict[Role, _Read] = {}
        self._watchers: dict[Role, Watcher] = {}

    def page(self, role: Role) -> Prepared:
        """Return the page; RefusedError or a SightlineError says why there is none."""
        with self._looking:
            until_s, page = self._pages.get(role, (0.0, None))
            began_s = clock.monotonic_s()
            if page is None or began_s >= until_s:
                page = self._looked(role)
                ended_s = clock.monotonic_s()
                rest_s = _rest_s(ended_s - began_s, limits.PAGE_LIVE_REFRESH_S)
                self._pages[role] = (ended_s + rest_s, page)
            return page

    def _looked(self, role: Role) -> Prepared:
        read, links = self._read(role), Links({})
        lag, away = self._lag_now(read.current.offsets)
        watcher = self._watchers.get(role)
        if watcher is None:
            watcher = self._watchers[role] = Watcher(self._directory, role, Thresholds())
        now = live.Now(
            current=read.current,
            missing=read.missing,
            lag=lag,
            away=away,
            turn=watcher.look(_positions(lag)),
            not_judged=watcher.not_judged("no --broker was named" if self._lag is None else ""),
        )
        return Prepared(
            shown=live.shown(now, links), bar=read.bar, path="/live", query={}, links=links, looks=read.looks
        )

    def _read(self, role: Role) -> _Read:
        """Read the newest epoch, unless it was read already."""
        known = self._reads.get(role)
        # Before the store is opened: what is published in between is then read at the next look.
        catalog = _Catalog.newest(self._directory)
        if known is not None and catalog is not None and catalog == known.catalog:
            # Whoever is no longer granted the role is not shown what was read before.
            grants.require(self._directory, role)
            return known
        with viewed(self._directory, role, "") as view:
            looks, current = looks_of(view.store), view.store.current()
            if (
                known is not None
                and known.current.epoch < current.epoch
                and clock.monotonic_s() < known.missing_until_s
            ):
                missing, hidden, until_s = known.missing, known.missing_hidden, known.missing_until_s
            else:
                before = dict(view.store.hidden)
                began_s = clock.monotonic_s()
                missing = view.store.missing()
                ended_s = clock.monotonic_s()
                hidden = {name: word for name, word in view.store.hidden.items() if name not in before}
                until_s = ended_s + _rest_s(ended_s - began_s, limits.PAGE_MISSING_REFRESH_S)
            bar = view.bar()
        self._reads[role] = _Read(
            catalog=catalog,
            current=current,
            missing=missing,
            missing_hidden=hidden,
            missing_until_s=until_s,
            bar=replace(bar, hidden={**hidden, **bar.hidden}),
            looks=looks,
        )
        return self._reads[role]

    def _lag_now(self, offsets: Mapping[int, int]) -> tuple[LagRows, str]:
        """Lag by agent and partition, and what is to say where the broker is away."""
        if self._lag is None:
            return (), ""
        try:
            return self._lag(offsets), ""
        except UnavailableError as error:
            return (), str(error)


def _rest_s(took_s: float, least_s: float) -> float:
    return max(min(took_s * limits.PAGE_LIVE_REST, limits.PAGE_LIVE_REST_S_MAX), least_s)


def _positions(lag: LagRows) -> dict[Reader, Position] | None:
    positions = {
        Reader(row["agent"], row["topic"], row["partition"]): Position(
            row["next_offset"], row["end_offset"], row["records"]
        )
        for row in lag
    }
    return positions or None
