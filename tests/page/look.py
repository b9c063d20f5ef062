"""Pictures of every page, to be looked at: `python -m tests.page.look STORE FOLDER`, light, dark and narrow.

Two of them are kept in docs/images, where the README shows them. Nothing compares pixels.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

from playwright.sync_api import FloatRect

from tests.page.browsing import browser, visiting
from tests.page.serving import address_of, served_pages

_PAGES = {
    "answer": "/event/g1/answer/30?up=3",
    "loop": "/loop",
    "zones": "/zones",
    "refusals": "/refusals",
    "requirements": "/requirements",
    "wearer": "/wearer/w1",
    "inventory": "/inventory",
    "policies": "/policies",
    "live": "/live",
    "search": "/search?q=health",
}
#: What lies below is more of the same.
_FIRST: FloatRect = {"x": 0, "y": 0, "width": 1280, "height": 860}
_LOOKS: tuple[tuple[str, int, Literal["light", "dark"]], ...] = (
    ("light", 1280, "light"),
    ("dark", 1280, "dark"),
    ("narrow", 640, "light"),
    ("wide", 2560, "light"),
)


def look(store: Path, folder: Path) -> None:
    """Write a picture of each page as a privacy officer is shown it, in each look, into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with served_pages(store, ("privacy-officer",)) as entries, browser() as launched:
        link = entries["privacy-officer"]
        for name, width, scheme in _LOOKS:
            with visiting(launched, address_of(link), width=width, scheme=scheme) as visit:
                visit.goto(link.removeprefix(visit.address))
                for page, path in _PAGES.items():
                    visit.goto(path)
                    visit.page.screenshot(path=folder / f"{page}-{name}.png", clip=_FIRST | {"width": width})


if __name__ == "__main__":
    look(Path(sys.argv[1]), Path(sys.argv[2]))
