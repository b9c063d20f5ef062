"""A Chromium for tests, and what it noticed: console, content policy, requests, faults that axe finds."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from streams.cli.paper import CHROMIUMS
from tests.patience import PATIENCE_S

_AXE = Path(__file__).parent / "axe" / "axe.min.js"
_LISTEN = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.violations.push(`${event.violatedDirective} ${event.blockedURI}`);
});
"""


def chromium() -> str:
    """Return the path of a Chromium; skips the test without one, which in a pipeline is a failure."""
    path = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if path is None:
        sentence = "found no Chromium, expected one of " + ", ".join(CHROMIUMS)
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(sentence)
    return path


@contextmanager
def browser() -> Iterator[Browser]:
    """A Chromium that ends with the block."""
    path = chromium()
    with sync_playwright() as driver:
        # Chromium's sandbox refuses to run as root, as tests in a container do.
        launched = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield launched
        finally:
            launched.close()


class Visit:
    """One visitor's window, and everything that went wrong in it since it was opened."""

    def __init__(self, page: Page, address: str) -> None:
        self.page, self.address = page, address
        self.complaints: list[str] = []
        page.set_default_timeout(PATIENCE_S * 1000)
        page.add_init_script(_LISTEN)
        page.on("console", lambda message: self._console(message.type, message.text))
        page.on("pageerror", lambda error: self.complaints.append(f"script: {error}"))
        page.on("request", lambda request: self._request(request.url))

    def _console(self, kind: str, text: str) -> None:
        if kind in {"error", "warning"}:
            self.complaints.append(f"console: {text}")

    def _request(self, url: str) -> None:
        if not url.startswith((self.address, "data:")):
            self.complaints.append(f"foreign request: {url}")

    def goto(self, path: str) -> None:
        """Open a page of the visited server, until its script is done."""
        self.page.goto(self.address + path)
        self.page.wait_for_selector("body[data-ready='1']")

    def wait(self, met: Callable[[], bool], awaited: str) -> None:
        """Wait for a condition. Playwright's own way evaluates a text, which the content policy forbids."""
        deadline = time.monotonic() + PATIENCE_S
        while not met():
            assert time.monotonic() < deadline, f"{awaited} did not come within {PATIENCE_S} s"
            self.page.wait_for_timeout(50)

    def check(self) -> None:
        """Fail if anything was complained of so far."""
        violations = self.page.evaluate("window.violations")
        assert [*self.complaints, *(f"policy: {violation}" for violation in violations)] == []

    def faults(self, *rules: str) -> list[str]:
        """Return what axe finds wrong with the page as it stands, by these rules or by all, and where."""
        self.page.evaluate(_AXE.read_text(encoding="utf-8"))
        result: dict[str, Any] = self.page.evaluate(
            "rules => axe.run(document, rules.length ? {runOnly: rules} : {})", rules
        )
        return [
            f"{fault['id']}: {json.dumps(node['target'])} {node['failureSummary']}"
            for fault in result["violations"]
            for node in fault["nodes"]
        ]

    def tabbed(self, presses: int) -> list[str]:
        """Press Tab so often; return where each press went, as address, id or class."""
        places = []
        for _ in range(presses):
            self.page.keyboard.press("Tab")
            places.append(
                self.page.evaluate(
                    "(() => { const e = document.activeElement;"
                    " return e.getAttribute('href') || e.id || e.className || e.tagName; })()"
                )
            )
        return places


@contextmanager
def visiting(
    launched: Browser,
    address: str,
    *,
    width: int = 1280,
    scheme: Literal["light", "dark"] = "light",
    scripts: bool = True,
) -> Iterator[Visit]:
    """A new window with cookies of its own, `width` pixels wide; it must end without complaints."""
    context = launched.new_context(
        viewport={"width": width, "height": 900},
        color_scheme=scheme,
        reduced_motion="reduce",
        java_script_enabled=scripts,
    )
    try:
        yield Visit(context.new_page(), address)
    finally:
        context.close()
