"""Addresses of the page. All state of a page is in its address, so an address is all that a link needs."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlencode

from msgspec import Struct


class Links(Struct, frozen=True):
    """Addresses that keep the state of the page that they are on, such as its `epoch`."""

    state: Mapping[str, str] = {}

    def to(self, path: str, anchor: str = "", **state: str | int) -> str:
        """Return the address of a page, with further state; what is empty is left out."""
        words = {name: str(value) for name, value in {**self.state, **state}.items() if value != ""}
        query = f"?{urlencode(words)}" if words else ""
        return quote(path, safe="/~") + query + (f"#{quote(anchor)}" if anchor else "")

    def event(self, identity: str, anchor: str = "", **state: str | int) -> str:
        """Return the address of an event's page."""
        return self.to(f"/event/{identity}", anchor, **state)
