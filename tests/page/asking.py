"""A viewer without a browser and without a socket: requests that go straight to the page's application."""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import orjson

from streams.listening import LOOPBACK
from streams.page.access import Keys
from streams.page.app import application
from streams.page.viewing import Lag
from streams.queries.role import Role


class Reply(NamedTuple):
    """What came back: status, headers by name in lower case, and the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    @property
    def json(self) -> Any:
        """The body, which must be JSON."""
        return orjson.loads(self.body)


class Visitor:
    """Viewers of the page of a store, each with the key of a role."""

    def __init__(self, store: Path, *roles: str, hosts: tuple[str, ...] = (), lag: Lag | None = None) -> None:
        self.keys = Keys.drawn([Role.of(role) for role in roles], 8765)
        self._app = application(store, self.keys, (*LOOPBACK, *hosts), lag)

    def cookie(self, role: str) -> str:
        """The cookie that the link of a role leaves."""
        (token,) = (token for token, known in self.keys.tokens.items() if str(known) == role)
        return f"{self.keys.cookie}={token}"

    def get(self, target: str, role: str = "", *, method: str = "GET", **headers: str) -> Reply:
        """Ask for an address, as it would stand in a request, with the cookie of a role if one is named."""
        given = {"host": "127.0.0.1:8765", **({"cookie": self.cookie(role)} if role else {}), **headers}
        return asyncio.run(self._asked(target, method, given))

    async def _asked(self, target: str, method: str, headers: Mapping[str, str]) -> Reply:
        path, _, query = target.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            "server": ("127.0.0.1", 8765),
            "client": ("127.0.0.1", 50000),
            "root_path": "",
        }
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        await self._app(scope, receive, send)
        begin = sent[0]
        told = {name.decode().lower(): value.decode() for name, value in begin["headers"]}
        return Reply(begin["status"], told, b"".join(message.get("body", b"") for message in sent[1:]))


def cells(page: str, table_id: str) -> list[list[str]]:
    """Texts of the cells of a table of a page."""
    body = page.partition(f'id="{table_id}-table"')[2].partition("</table>")[0].partition("<tbody>")[2]
    rows = re.findall(r"<tr>(.*?)</tr>", body, re.DOTALL)
    return [
        [
            html.unescape(re.sub(r"<[^>]+>", "", cell)).strip()
            for cell in re.findall(r"<td.*?>(.*?)</td>", each, re.S)
        ]
        for each in rows
    ]


def facts(page: str, name: str) -> dict[str, str]:
    """Names and values of the facts of a page."""
    body = page.partition(f'id="{name}-facts"')[2].partition("</dl>")[0]
    return {
        html.unescape(key): html.unescape(re.sub(r"<[^>]+>", "", value)).strip()
        for key, value in re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", body, re.S)
    }
