"""Who may see the page: a token for each role, which becomes a cookie; hosts, methods, and headers.

A token is drawn when the page starts, is printed once, and ends with the process. Its cookie is HttpOnly and
SameSite=Strict, so neither a script nor another site's page can use it. Requests under a name that is not
allowed are refused, which is what stops DNS rebinding.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterable, Mapping, Sequence
from http.cookies import CookieError, SimpleCookie
from typing import Literal
from urllib.parse import parse_qsl, urlencode

from msgspec import Struct

from streams.queries.role import Role

TOKEN = "token"  # noqa: S105 - the name of a part of the address
METHODS = ("GET", "HEAD")
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Keys(Struct, frozen=True):
    """The token of each role, and the cookie's name, which has the port: cookies ignore ports."""

    tokens: Mapping[str, Role]
    cookie: str

    @classmethod
    def drawn(cls, roles: Iterable[Role], port: int) -> Keys:
        """Draw a random token for each role."""
        return cls({secrets.token_urlsafe(32): role for role in roles}, f"sightline-{port}")

    def role_of(self, token: str) -> Role | None:
        """Return the role of a token; None if there is no such token. Takes as long for each."""
        roles = [
            role
            for known, role in self.tokens.items()
            if hmac.compare_digest(known.encode(), token.encode("utf-8", "surrogateescape"))
        ]
        return roles[0] if roles else None


class Admitted(Struct, frozen=True):
    """A request that may go on, under a role."""

    role: Role


class Refused(Struct, frozen=True):
    """A request that may not: its status, and why, in a sentence."""

    status: Literal[400, 403, 405]
    words: str


class Entering(Struct, frozen=True):
    """A request with a token: the cookie to set, and the address without the token to go on to."""

    cookie: str
    location: str


def judge(
    keys: Keys,
    hosts: Sequence[str],
    *,
    method: str,
    path: str,
    query: str,
    host: str,
    cookies: str,
) -> Admitted | Refused | Entering:
    """Decide about a request by its method, its address and the headers `Host` and `Cookie`."""
    if host_name(host) not in hosts:
        return Refused(
            400, "The page was asked for under a name that is not its own; --allow-host NAME allows one."
        )
    if method not in METHODS:
        return Refused(405, "The page can only be read: found another method than GET and HEAD.")
    words = parse_qsl(query, keep_blank_values=True)
    tokens = [value for name, value in words if name == TOKEN]
    if tokens:
        if keys.role_of(tokens[0]) is None:
            return Refused(403, "This token is not of this page; each start prints new ones.")
        rest = urlencode([(name, value) for name, value in words if name != TOKEN])
        return Entering(
            f"{keys.cookie}={tokens[0]}; HttpOnly; SameSite=Strict; Path=/",
            path + (f"?{rest}" if rest else ""),
        )
    role = keys.role_of(_cookie(cookies, keys.cookie))
    if role is None:
        return Refused(
            403, "Open the link that `sightline page` printed when it started: its token says who looks."
        )
    return Admitted(role)


def host_name(header: str) -> str:
    """Return the name in the header `Host`, without the port and in lower case."""
    name = header.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.partition(":")[0]


def _cookie(header: str, name: str) -> str:
    """Return the value of a cookie; empty if there is none."""
    try:
        morsel = SimpleCookie(header).get(name)
    except CookieError:
        return ""
    return morsel.value if morsel is not None else ""
