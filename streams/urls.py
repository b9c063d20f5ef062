"""Addresses on the web that somebody names as an option."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit


def http_parts(url: str) -> SplitResult | None:
    """Parts of an address of HTTP or HTTPS with a host; None if it is none, or has a name or password in it.

    Its port is a number, or None.
    """
    try:
        parts = urlsplit(url)
        # Parsed here, because a port that is no number raises.
        parts.port  # noqa: B018
    except ValueError:
        return None
    plain = url.isascii() and url.isprintable() and " " not in url
    known = parts.scheme in ("http", "https") and parts.hostname and parts.username is None
    return parts if plain and known else None
