"""The page's routes, and what stands before them: hosts, methods, tokens, headers, errors."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import cast

import anyio
from msgspec import Struct
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streams import clock, limits
from streams.errors import DamagedError, InputError, SightlineError, UnavailableError, called_off
from streams.page import rendering
from streams.page.access import HEADERS, Admitted, Entering, Keys, Refused, judge
from streams.page.drawing.zones import Looks
from streams.page.pages import (
    event,
    home,
    inventory,
    live,
    loop,
    policies,
    refused,
    requirements,
    search,
    wearer,
    zones,
)
from streams.page.pictures.links import Links
from streams.page.showing import Shown
from streams.page.viewing import EPOCH, Asked, Bar, Lag, RefusedError, looks_of, viewed
from streams.queries.role import Role

log = logging.getLogger(__name__)

TWIN = ".json"
_EVENT = "/event/{source}/{stream}/{number}"
#: Where the gate leaves the role of a request.
_ROLE = "sightline.role"
_HTML, _JSON = "text/html; charset=utf-8", "application/json"
#: Files that the page is drawn with, which hold nothing of the store.
STATIC: Mapping[str, str] = {
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "uplot/uPlot.min.css": "text/css; charset=utf-8",
    "uplot/uPlot.iife.min.js": "text/javascript; charset=utf-8",
}


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
    Site("/inventory", inventory.page),
    Site("/policies", policies.page, frozenset({"version", "against"})),
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
    lag: Lag | None = None,
) -> Prepared:
    """Read a page from the store, for a role; `path` is its path without `.json`, `parts` what varies in it.

    RefusedError says what is wrong with the address, the store or the epoch. An id that is hidden and one
    that does not exist are both 404, with the sentence that the question itself gives.
    """
    _check(site, query)
    with viewed(directory, role, query.get(EPOCH, "")) as view:
        links = Links({EPOCH: query[EPOCH]} if view.pinned else {})
        looks = looks_of(view.store)
        asked = Asked(store=view.store, role=role, path=parts, query=query, links=links, looks=looks, lag=lag)
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


class _Serving:
    """The pages of one store over HTTP."""

    def __init__(self, directory: Path, lag: Lag | None) -> None:
        self._directory, self._lag = directory, lag
        self._threads = anyio.CapacityLimiter(limits.PAGE_THREADS)
        #: The live page of each role, and until when it need not be read again.
        self._live: dict[Role, tuple[float, Prepared]] = {}
        self._reading = threading.Lock()

    def routes(self) -> list[Route]:
        """A route for each page and its JSON, and one for the files that pages are drawn with."""
        routes = [Route("/static/{name:path}", self._static)]
        for site in SITES:
            twin = f"{site.path if site.path != '/' else '/index'}{TWIN}"
            routes.append(Route(twin, partial(self._page, site, True)))
            routes.append(Route(site.path, partial(self._page, site, False)))
        return routes

    async def _page(self, site: Site, as_json: bool, request: Request) -> Response:
        own = request.url.path
        if as_json:
            own = own.removesuffix(TWIN) if own != f"/index{TWIN}" else "/"
        pairs = request.query_params.multi_items()
        query = dict(pairs)
        if len(query) != len(pairs):
            raise RefusedError(400, "Wrong address", "found one name twice in the address, expected it once")

        began_s = clock.monotonic_s()

        def body() -> bytes:
            page = self._prepared(site, request.scope[_ROLE], own, request.path_params, query)
            return page.json() if as_json else page.html()

        try:
            answer = await anyio.to_thread.run_sync(body, limiter=self._threads)
        except RefusedError as error:
            if error.status == 404:
                # What is hidden takes a little longer to be refused than what is not there at all.
                await anyio.sleep(_rest_s(clock.monotonic_s() - began_s))
            raise
        except BaseException as error:
            if isinstance(error, (SightlineError, *called_off())):
                raise
            # Foreign exceptions quote what they choke on, so neither log nor page repeats one. Starlette's
            # own handler would let it go on to the server, which logs all of it.
            log.error("a page failed: %s", type(error).__name__)  # noqa: TRY400
            words = (
                "This page failed, which is a fault of Sightline; the log of `sightline page` has its type."
            )
            return _told(request, RefusedError(500, "Failed", words))
        return Response(answer, media_type=_JSON if as_json else _HTML)

    def _prepared(
        self, site: Site, role: Role, path: str, parts: Mapping[str, str], query: Mapping[str, str]
    ) -> Prepared:
        """Read a page from the store; the live one only every PAGE_LIVE_REFRESH_S, however many look."""
        if not site.live or query:
            return prepared(self._directory, site, role, path, parts, query, self._lag)
        with self._reading:
            until_s, page = self._live.get(role, (0.0, None))
            if page is None or clock.monotonic_s() >= until_s:
                page = prepared(self._directory, site, role, path, parts, query, self._lag)
                self._live[role] = (clock.monotonic_s() + limits.PAGE_LIVE_REFRESH_S, page)
            return page

    async def _static(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in STATIC:
            raise HTTPException(404)
        return Response(static(name), media_type=STATIC[name])


def _rest_s(elapsed_s: float) -> float:
    """Seconds until the next multiple of PAGE_ABSENT_STEP_S."""
    return limits.PAGE_ABSENT_STEP_S - elapsed_s % limits.PAGE_ABSENT_STEP_S


def static(name: str) -> bytes:
    """Content of a file in `STATIC`."""
    return files("streams.page").joinpath("static", *name.split("/")).read_bytes()


def application(directory: Path, keys: Keys, hosts: Sequence[str], lag: Lag | None = None) -> ASGIApp:
    """Return the page of a store as an ASGI application, for whoever has one of the keys.

    `hosts` are the names under which it may be asked for; `lag` is asked for the live page only.
    """
    inner = Starlette(
        routes=_Serving(directory, lag).routes(),
        exception_handlers={
            RefusedError: _refused,
            SightlineError: _sightline,
            HTTPException: _http,
        },
    )
    inner.router.redirect_slashes = False
    return _Gate(inner, keys, hosts)


class _Gate:
    """Judges every request before a page sees it, and gives every answer the headers."""

    def __init__(self, app: ASGIApp, keys: Keys, hosts: Sequence[str]) -> None:
        self._app, self._keys, self._hosts = app, keys, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message.get("headers", []), *own]
            await send(message)

        request = Request(scope)
        judged = judge(
            self._keys,
            self._hosts,
            method=request.method,
            path=request.url.path,
            query=scope["query_string"].decode("latin-1"),
            host=request.headers.get("host", ""),
            cookies=request.headers.get("cookie", ""),
        )
        # A refusal is a page too, which looks like one.
        static_file = (
            isinstance(judged, Refused) and judged.status == 403 and request.url.path.startswith("/static/")
        )
        if isinstance(judged, Admitted) or static_file:
            if isinstance(judged, Admitted):
                scope[_ROLE] = judged.role
            await self._app(scope, receive, guarded)
            return
        if isinstance(judged, Entering):
            headers = {"location": judged.location, "set-cookie": judged.cookie}
            response = Response(status_code=303, headers=headers)
        else:
            response = _told(request, RefusedError(judged.status, "Not shown", judged.words))
            if judged.status == 405:
                response.headers["allow"] = "GET, HEAD"
        await response(scope, receive, guarded)


def _told(request: Request, error: RefusedError) -> Response:
    as_json = request.url.path.endswith(TWIN)
    body = rendering.refusal(error, as_json=as_json)
    headers = {"retry-after": str(error.again_s), "refresh": str(error.again_s)} if error.again_s else {}
    return Response(body, error.status, headers, media_type=_JSON if as_json else _HTML)


async def _refused(request: Request, error: Exception) -> Response:
    return _told(request, cast("RefusedError", error))


async def _sightline(request: Request, error: Exception) -> Response:
    return _told(request, RefusedError(503, "Not readable", str(error)))


async def _http(request: Request, error: Exception) -> Response:
    status = cast("HTTPException", error).status_code
    words = "There is no such page; the bar above the first page leads to those that there are."
    return _told(request, RefusedError(status, "No such page", words))
