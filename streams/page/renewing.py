"""The live page of a store: asked for every few seconds by many, and made from as few looks as will do."""

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
from streams.page.viewing import Bar, Lag, LagRows, View, looks_of, viewed
from streams.queries import grants
from streams.queries.missing import Missing
from streams.queries.moments import Moment
from streams.queries.newest import newest_catalog
from streams.queries.role import Role
from streams.watching.reading import Position, Reader
from streams.watching.thresholds import Thresholds
from streams.watching.watcher import Watcher


class LivePages:
    """The live page of one store, for every role. Usable from several threads.

    Those who look under one role share a page for PAGE_LIVE_REFRESH_S. After that, lag is asked for, and the
    store is looked at: what is current, and which alerts stand. After a look that took long, the next is
    later, so that looking costs about the same share of a core whatever the store. What is missing is counted
    less often still, because that needs the whole store.

    Parameters
    ----------
    lag
        What says how far agents and store are behind; None if no broker was named.
    """

    def __init__(self, directory: Path, lag: Lag | None) -> None:
        self._directory, self._lag = directory, lag
        self._adding = threading.Lock()
        self._pages: dict[Role, _LivePage] = {}

    def page(self, role: Role) -> Prepared:
        """Return the page; RefusedError or another SightlineError says why there is none."""
        with self._adding:
            page = self._pages.get(role)
            if page is None:
                page = self._pages[role] = _LivePage(self._directory, role, self._lag)
        return page.made()


class _Place(NamedTuple):
    """The directory of a store, by what no other directory has."""

    device: int
    inode: int

    @classmethod
    def of(cls, directory: Path) -> _Place | None:
        """None if there is no epoch to read."""
        path = directory.resolve()
        try:
            newest_catalog(path)
            status = path.stat()
        except (SightlineError, OSError):
            return None
        return cls(status.st_dev, status.st_ino)


class _Counted(Struct, frozen=True, kw_only=True):
    """What is missing, what was hidden and left out for that, and until when it need not be counted again."""

    missing: Missing
    hidden: Mapping[str, str]
    left_out: tuple[str, ...]
    took_s: float
    until_s: float


class _Look(Struct, frozen=True, kw_only=True):
    """What a look at a store told, and until when no other is due."""

    place: _Place | None
    now: live.Now
    bar: Bar
    looks: Looks
    counted: _Counted
    watcher: Watcher
    until_s: float


class _LivePage:
    """The live page for one role."""

    def __init__(self, directory: Path, role: Role, lag: Lag | None) -> None:
        self._directory, self._role, self._lag = directory, role, lag
        self._making = threading.Lock()
        self._page: Prepared | None = None
        self._until_s = 0.0
        self._look: _Look | None = None

    def made(self) -> Prepared:
        """Return the page; while one thread makes it anew, others get the one before."""
        # Whoever is no longer granted the role is not shown what was read under it before.
        grants.require(self._directory.resolve(), self._role)
        page = self._page
        if page is not None and clock.monotonic_s() < self._until_s:
            return page
        if page is None:
            self._making.acquire()
        elif not self._making.acquire(blocking=False):
            return page
        try:
            page = self._page
            if page is None or clock.monotonic_s() >= self._until_s:
                page = self._anew()
                self._until_s = clock.monotonic_s() + limits.PAGE_LIVE_REFRESH_S
            self._page = page
        except BaseException:
            # What was shown before is not known to be true any more.
            self._page = None
            raise
        else:
            return page
        finally:
            self._making.release()

    def _anew(self) -> Prepared:
        look, place = self._look, _Place.of(self._directory)
        if look is not None and place != look.place:
            # Another store lies there now, or none, of which nothing is known.
            look = self._look = None
        if look is None or clock.monotonic_s() >= look.until_s:
            look = self._look = self._looked(place, look)
            now = look.now
        else:
            lag, away = self._lag_now(look.now.current.offsets)
            now = replace(look.now, lag=lag, away=away)
        links = Links({})
        return Prepared(
            shown=live.shown(now, links), bar=look.bar, path="/live", query={}, links=links, looks=look.looks
        )

    def _looked(self, place: _Place | None, last: _Look | None) -> _Look:
        """Look at the store, and ask for lag before alerts are judged, some of which need it."""
        began_s, apart_s = clock.monotonic_s(), 0.0
        with viewed(self._directory, self._role, "") as view:
            if last is not None and Moment(last.bar.epoch, last.bar.published_ns) not in view.moments:
                # A copy of another store was put into this directory.
                last = None
            looks, current = looks_of(view.store), view.store.current()
            if last is not None and clock.monotonic_s() < last.counted.until_s:
                counted = last.counted
            else:
                counted = _counted(view)
                apart_s += counted.took_s
            bar = view.bar()
        asked_s = clock.monotonic_s()
        lag, away = self._lag_now(current.offsets)
        apart_s += clock.monotonic_s() - asked_s
        watcher = (
            Watcher(self._directory.resolve(), self._role, Thresholds()) if last is None else last.watcher
        )
        now = live.Now(
            looked_ns=clock.now_ns(),
            current=current,
            missing=counted.missing,
            lag=lag,
            away=away,
            turn=watcher.look(_positions(lag)),
            not_judged=watcher.not_judged("no --broker was named" if self._lag is None else ""),
        )
        ended_s = clock.monotonic_s()
        # Counting has a rest of its own, and waiting for a broker takes no time of a core.
        rest_s = _rest_s(
            ended_s - began_s - apart_s,
            limits.PAGE_LIVE_REST,
            limits.PAGE_LIVE_REFRESH_S,
            limits.PAGE_LIVE_REST_S_MAX,
        )
        return _Look(
            place=place,
            now=now,
            bar=_with(bar, counted),
            looks=looks,
            counted=counted,
            watcher=watcher,
            until_s=ended_s + rest_s,
        )

    def _lag_now(self, offsets: Mapping[int, int]) -> tuple[LagRows, str]:
        """Lag by agent and partition, and what is to say where the broker is away."""
        if self._lag is None:
            return (), ""
        try:
            return self._lag(offsets), ""
        except UnavailableError as error:
            return (), str(error)


def _counted(view: View) -> _Counted:
    """Count what is missing."""
    before, began_s = dict(view.store.hidden), clock.monotonic_s()
    missing = view.store.missing()
    ended_s = clock.monotonic_s()
    took_s = ended_s - began_s
    rest_s = _rest_s(
        took_s, limits.PAGE_MISSING_REST, limits.PAGE_MISSING_REFRESH_S, limits.PAGE_MISSING_REST_S_MAX
    )
    return _Counted(
        missing=missing,
        hidden={name: word for name, word in view.store.hidden.items() if name not in before},
        left_out=tuple(view.store.left_out),
        took_s=took_s,
        until_s=ended_s + rest_s,
    )


def _rest_s(took_s: float, times: float, least_s: float, most_s: float) -> float:
    return min(max(took_s * times, least_s), most_s)


def _with(bar: Bar, counted: _Counted) -> Bar:
    """Say what was hidden and left out for an earlier count too, as long as that count is shown."""
    left_out = max((bar.left_out, counted.left_out), key=len)
    return replace(bar, hidden={**counted.hidden, **bar.hidden}, left_out=left_out)


def _positions(lag: LagRows) -> dict[Reader, Position] | None:
    positions = {
        Reader(row["agent"], row["topic"], row["partition"]): Position(
            row["next_offset"], row["end_offset"], row["records"]
        )
        for row in lag
    }
    return positions or None
