"""The pages that there are, and how each is read from the store for a request, before it is HTML or JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from streams import limits
from streams.errors import DamagedError, InputError, UnavailableError
from streams.page import rendering
from streams.page.drawing.zones import Looks
from streams.page.pages import (
    event,
    home,
    inventory,
    live,
    loop,
    own,
    policies,
    refused,
    requirements,
    search,
    wearer,
    zones,
)
from streams.page.pictures.links import Links
from streams.page.showing import Shown
from streams.page.viewing import EPOCH, Asked, Bar, RefusedError, looks_of, viewed
from streams.queries.role import Role

TWIN = ".json"
_EVENT = "/event/{source}/{stream}/{number}"


class Site(Struct, frozen=True):
    """One page: its path, what makes it, and what its address may have in the query beside `epoch`."""

    path: str
    make: Callable[[Asked], Shown]
    query: frozenset[str] = frozenset()
    live: bool = False


#: All pages. Each is there as JSON too, at its path with `.json` behind it.
SITES: Sequence[Site] = (
    Site("/", home.page, frozenset({"up", "down"})),
    Site(f"{_EVENT}/records", event.records, frozenset({"way", "hop", "stream", "of"})),
    Site(_EVENT, event.page, frozenset({"up", "down"})),
    Site("/loop", loop.page),
    Site("/zones", zones.page, frozenset({"zone", "sink"})),
    Site("/refusals", refused.page, frozenset({"id"})),
    Site("/requirements", requirements.page),
    Site("/requirement/{name}", requirements.single),
    Site("/wearer/{wearer}", wearer.page),
    Site("/wearer/{wearer}/data", own.page),
    Site("/inventory", inventory.page),
    Site("/policies", policies.page, frozenset({"version", "against", "over"})),
    Site("/live", live.page, live=True),
    Site("/search", search.page, frozenset({"q", *search.FILTERS})),
)


class Prepared(Struct, frozen=True, kw_only=True):
    """A page that was read from the store, and all that its forms need; `path` and `query` lead to it."""

    shown: Shown
    bar: Bar
    path: str
    query: Mapping[str, str]
    links: Links
    looks: Looks

    def html(self, *, exported: bool = False) -> bytes:
        """Return the page as HTML; an exported one has nothing that a server must answer."""
        twin = (self.path if self.path != "/" else "/index") + TWIN
        return rendering.html(
            self.shown,
            self.bar,
            path=self.path,
            query=self.query,
            links=self.links,
            looks=self.looks,
            twin="" if exported else Links(self.query).to(twin),
        )

    def json(self) -> bytes:
        """Return the page's facts as JSON."""
        return rendering.json(self.shown, self.bar)


def prepared(
    directory: Path,
    site: Site,
    role: Role,
    path: str,
    parts: Mapping[str, str],
    query: Mapping[str, str],
) -> Prepared:
    """Read a page from the store, for a role; `path` is its path without `.json`, `parts` what varies in it.

    RefusedError says what is wrong with the address, the store or the epoch. An id that is hidden and one
    that does not exist are both 404, with the sentence that the question itself gives.
    """
    _check(site, query)
    with viewed(directory, role, query.get(EPOCH, "")) as view:
        links = Links({EPOCH: query[EPOCH]} if view.pinned else {})
        looks = looks_of(view.store)
        asked = Asked(
            store=view.store,
            role=role,
            path=parts,
            query=query,
            links=links,
            looks=looks,
        )
        try:
            shown = site.make(asked)
        except InputError as error:
            raise RefusedError(404, "Not shown", str(error)) from None
        except (UnavailableError, DamagedError) as error:
            raise RefusedError(503, "Not readable", str(error)) from None
        return Prepared(
            shown=shown,
            bar=view.bar(),
            path=path,
            query={name: value for name, value in query.items() if value},
            links=links,
            looks=looks,
        )


def _check(site: Site, query: Mapping[str, str]) -> None:
    for name, value in query.items():
        if name not in site.query and name != EPOCH:
            known = ", ".join(sorted({*site.query, EPOCH}))
            raise RefusedError(
                400, "Wrong address", f"found a part that this page does not have, expected {known}"
            )
        if len(value) > limits.PAGE_WORD_CHARACTERS_MAX:
            most = limits.PAGE_WORD_CHARACTERS_MAX
            words = f"{name}: found {len(value):,} characters, expected {most:,} at most"
            raise RefusedError(400, "Wrong address", words)
