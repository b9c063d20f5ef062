"""The page of a finished store as files, which open from the file system without a server."""

from __future__ import annotations

import hashlib
import html
import re
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from msgspec import Struct
from starlette.routing import compile_path

from streams import files, limits
from streams.errors import InputError
from streams.page import rendering
from streams.page.app import static
from streams.page.preparing import SITES, Prepared, Site, prepared
from streams.page.viewing import RefusedError
from streams.queries.role import Role

ABSENT = "not-exported.html"
_LINK = re.compile(r'(href|src)="(/[^"]*)"')
_ROUTES = [(compile_path(site.path)[0], site) for site in SITES if not site.live]


class Exported(Struct, frozen=True):
    """How many pages were written, of which epoch, and how many links lead to pages that were not."""

    pages: int
    epoch: int
    beyond: int


def export(directory: Path, role: Role, out: Path, progress: Callable[[str], None]) -> Exported:
    """Write the pages that the bar leads to, and those beyond, into the new directory `out`.

    There are PAGE_EXPORT_PAGES_MAX at most. They hold what the policies let the role take out (the sink
    `export`). The live page is not among them, nor is what needs a server: search, the slider, JSON. Links to
    pages that were not written lead to one that says so. `progress` is told how far it is.

    InputError if `out` is there already, or if the store's writer publishes meanwhile.
    """
    if out.exists():
        raise InputError(f"{out}: found something of this name, expected none; name a new directory")
    files.make_directory(out)
    writing = _Export(directory, replace(role, exporting=True), out)
    for address, _ in rendering.PAGES:
        writing.name_of(address)
    while writing.waiting:
        writing.write_next()
        progress(f"{writing.written:,} pages are written, {len(writing.waiting):,} wait")
    absent = RefusedError(404, "Not exported", "This page is not among those that were exported.")
    writing.put(ABSENT, rendering.refusal(absent, exported=True).decode())
    files.make_directory(out / "static")
    with files.create(out / "static" / "page.css") as file:
        file.write(static("page.css"))
    return Exported(writing.written, writing.epoch, len(writing.beyond))


class _Export:
    """Pages that wait to be written, and the file of each."""

    def __init__(self, directory: Path, role: Role, out: Path) -> None:
        self._directory, self._role, self._out = directory, role, out
        self._names: dict[str, str] = {}
        self.waiting: deque[tuple[str, Site, dict[str, str]]] = deque()
        self.beyond: set[str] = set()
        self.written = self.epoch = 0

    def name_of(self, address: str) -> str:
        """Return the file of an address. One that is new waits from now on, if there is room for it."""
        address = address.partition("#")[0]
        if address not in self._names:
            route = _route(address)
            if route is None or len(self._names) >= limits.PAGE_EXPORT_PAGES_MAX:
                self.beyond.add(address)
                return ABSENT
            self._names[address] = _file_name(address)
            self.waiting.append((address, *route))
        return self._names[address]

    def write_next(self) -> None:
        """Write the page that has waited longest."""
        address, site, parts = self.waiting.popleft()
        split = urlsplit(address)
        query = dict(parse_qsl(split.query, keep_blank_values=True))
        try:
            page = prepared(self._directory, site, self._role, unquote(split.path), parts, query)
        except RefusedError as error:
            text = rendering.refusal(error, exported=True).decode()
        else:
            self._hold(page)
            text = page.html(exported=True).decode()
        self.put(self._names[address], text)
        self.written += 1

    def put(self, name: str, text: str) -> None:
        """Write a file, with links from it to other files."""
        with files.create(self._out / name) as file:
            file.write(_LINK.sub(self._linked, text).encode())

    def _linked(self, match: re.Match[str]) -> str:
        address = html.unescape(match[2])
        if address.startswith("/static/"):
            return f'{match[1]}="{address.removeprefix("/")}"'
        _, hash_sign, anchor = address.partition("#")
        return f'{match[1]}="{html.escape(self.name_of(address) + hash_sign + anchor)}"'

    def _hold(self, page: Prepared) -> None:
        self.epoch = self.epoch or page.bar.epoch
        if page.bar.epoch != self.epoch:
            raise InputError(
                f"{self._directory}: found epoch {page.bar.epoch} where pages of epoch {self.epoch} were "
                "written before, expected a store that is finished; stop its writer, or export a copy"
            )


def _route(address: str) -> tuple[Site, dict[str, str]] | None:
    path = unquote(urlsplit(address).path)
    for pattern, site in _ROUTES:
        if match := pattern.match(path):
            return site, match.groupdict()
    return None


def _file_name(address: str) -> str:
    """File of an address: its words, and a digest that tells alike ones apart."""
    if address == "/":
        return "index.html"
    words = re.sub("[^a-z0-9]+", "-", unquote(address).lower()).strip("-")[:60]
    return f"{words}-{hashlib.sha256(address.encode()).hexdigest()[:8]}.html"
