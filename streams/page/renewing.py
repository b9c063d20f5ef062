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


class _Look(Struct, frozen=True, kw_only=True):
    """What a look at the store told, and until when no other is due."""

    read: _Read
    now: live.Now
    until_s: float


class LivePages:
    """The live page of one store, for every role.

    Those who look under one role share a page for PAGE_LIVE_REFRESH_S. After that, lag is asked for, and the
    store is looked at: it is read again if it has a new epoch, and alerts are judged. After a look that took
    long there is none for longer, so that looking costs the same share of a core whatever the store. What is
    missing is counted less often, by the same rule, because that needs the whole store. Usable from several
    threads.

    Parameters
    ----------
    lag
        What says how far agents and store are behind; None if no broker was named.
    """

    def __init__(self, directory: Path, lag: Lag | None) -> None:
        self._directory, self._lag = directory.resolve(), lag
        self._looking = threading.Lock()
        self._pages: dict[Role, tuple[float, Prepared]] = {}
        self._looks: dict[Role, _Look] = {}
        self._watchers: dict[Role, Watcher] = {}

    def page(self, role: Role) -> Prepared:
        """Return the page; RefusedError or a SightlineError says why there is none."""
        with self._looking:
            until_s, page = self._pages.get(role, (0.0, None))
            if page is None or clock.monotonic_s() >= until_s:
                page = self._made(role)
                self._pages[role] = (clock.monotonic_s() + limits.PAGE_LIVE_REFRESH_S, page)
            return page

    def _made(self, role: Role) -> Prepared:
        look, links = self._looks.get(role), Links({})
        if look is None or clock.monotonic_s() >= look.until_s:
            look = self._looks[role] = self._looked(role, look)
            now = look.now
        else:
            # Whoever is no longer granted the role is not shown what was read under it before.
            grants.require(self._directory, role)
            lag, away = self._lag_now(look.read.current.offsets)
            now = replace(look.now, lag=lag, away=away)
        return Prepared(
            shown=live.shown(now, links),
            bar=look.read.bar,
            path="/live",
            query={},
            links=links,
            looks=look.read.looks,
        )

    def _looked(self, role: Role, last: _Look | None) -> _Look:
        """Look at the store, and ask for lag before alerts are judged, some of which need it."""
        began_s = clock.monotonic_s()
        read = self._read(role, None if last is None else last.read)
        asked_s = clock.monotonic_s()
        lag, away = self._lag_now(read.current.offsets)
        answered_s = clock.monotonic_s()
        watcher = self._watchers.get(role)
        if watcher is None:
            watcher = self._watchers[role] = Watcher(self._directory, role, Thresholds())
        now = live.Now(
            looked_ns=clock.now_ns(),
            current=read.current,
            missing=read.missing,
            lag=lag,
            away=away,
            turn=watcher.look(_positions(lag)),
            not_judged=watcher.not_judged("no --broker was named" if self._lag is None else ""),
        )
        ended_s = clock.monotonic_s()
        # Waiting for a broker takes no time of a core.
        took_s = ended_s - began_s - (answered_s - asked_s)
        return _Look(
            read=read,
            now=now,
            until_s=ended_s + _rest_s(took_s, limits.PAGE_LIVE_REST, limits.PAGE_LIVE_REFRESH_S),
        )

    def _read(self, role: Role, known: _Read | None) -> _Read:
        """Read the newest epoch, unless it is the known one."""
        # Before the store is opened: what is published in between is then read at the next look.
        catalog = _Catalog.newest(self._directory)
        if known is not None and catalog is not None and catalog == known.catalog:
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
                until_s = ended_s + _rest_s(
                    ended_s - began_s, limits.PAGE_MISSING_REST, limits.PAGE_MISSING_REFRESH_S
                )
            bar = view.bar()
        return _Read(
            catalog=catalog,
            current=current,
            missing=missing,
            missing_hidden=hidden,
            missing_until_s=until_s,
            bar=replace(bar, hidden={**hidden, **bar.hidden}),
            looks=looks,
        )

    def _lag_now(self, offsets: Mapping[int, int]) -> tuple[LagRows, str]:
        """Lag by agent and partition, and what is to say where the broker is away."""
        if self._lag is None:
            return (), ""
        try:
            return self._lag(offsets), ""
        except UnavailableError as error:
            return (), str(error)


def _rest_s(took_s: float, times: float, least_s: float) -> float:
    return max(min(took_s * times, limits.PAGE_REST_S_MAX), least_s)


def _positions(lag: LagRows) -> dict[Reader, Position] | None:
    positions = {
        Reader(row["agent"], row["topic"], row["partition"]): Position(
            row["next_offset"], row["end_offset"], row["records"]
        )
        for row in lag
    }
    return positions or None
