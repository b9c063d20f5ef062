"""The page's routes, and what stands before them: hosts, methods, tokens, headers, errors."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import cast

import anyio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streams import clock, limits, metrics
from streams.errors import SightlineError, called_off
from streams.page import rendering
from streams.page.access import HEADERS, Admitted, Entering, Keys, Refused, judge
from streams.page.preparing import SITES, TWIN, Prepared, Site, prepared
from streams.page.renewing import LivePages
from streams.page.viewing import Lag, RefusedError
from streams.queries.role import Role

log = logging.getLogger(__name__)

#: Where the gate leaves the role of a request.
_ROLE = "sightline.role"
#: Where a page leaves its path, by which requests are counted.
_SITE = "sightline.site"
_HTML, _JSON = "text/html; charset=utf-8", "application/json"
#: Files that the page is drawn with, which hold nothing of the store.
STATIC: Mapping[str, str] = {
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "uplot/uPlot.min.css": "text/css; charset=utf-8",
    "uplot/uPlot.iife.min.js": "text/javascript; charset=utf-8",
}


class _Serving:
    """The pages of one store over HTTP."""

    def __init__(self, directory: Path, lag: Lag | None) -> None:
        self._directory = directory
        self._threads = anyio.CapacityLimiter(limits.PAGE_THREADS)
        self._live = LivePages(directory, lag)

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
        request.scope[_SITE] = site.path
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
        """Read a page from the store; those who look at the live one share what was read."""
        if site.live and not query:
            return self._live.page(role)
        return prepared(self._directory, site, role, path, parts, query)

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
        began_s = clock.monotonic_s()

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                page = scope.get(_SITE, "other")
                metrics.count("page_requests_total", page=page, status=str(message["status"]))
                metrics.observe("page_request_seconds", clock.monotonic_s() - began_s, page=page)
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
