"""The drawings in a real browser, over made-up values: seen, tabbed through, judged by axe, live."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser

from tests.page import sample
from tests.page.browsing import Visit, browser, visiting

pytestmark = pytest.mark.browser

#: What the page's server answers with; nothing may need an exception.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_TYPES = {".css": "text/css", ".js": "text/javascript"}
_LIVE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Live</title>
<link rel="stylesheet" href="/static/page.css"><link rel="stylesheet" href="/static/uplot/uPlot.min.css">
<script src="/static/uplot/uPlot.iife.min.js" defer></script>
<script src="/static/page.js" defer></script></head>
<body><main id="content"><h1>Live</h1><p data-live-state>not live yet</p>
<div id="stages" data-live><a href="/loop" id="focused">loop</a>
<p>lag <strong data-plot="lag">{turn}</strong> records</p>{more}</div>
<div data-plots></div></main></body></html>"""


class _Server(BaseHTTPRequestHandler):
    """The sample page at every address; `/live` says something new each time that it is asked."""

    turns = 0

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path.startswith("/static/"):
            file = sample.STATIC / path.removeprefix("/static/")
            self._answer(file.read_bytes(), _TYPES.get(file.suffix, "text/plain"))
        elif path == "/live":
            type(self).turns += 1
            more = "<p>a new line</p>" if self.turns > 2 else ""
            self._answer(_LIVE.format(turn=self.turns, more=more).encode(), "text/html")
        elif path == "/favicon.ico":
            self._answer(b"", "image/x-icon")
        else:
            self._answer(sample.page().encode(), "text/html")

    def _answer(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("content-type", f"{kind}; charset=utf-8")
        self.send_header("content-security-policy", _POLICY)
        self.send_header("x-content-type-options", "nosniff")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the library
        """Say nothing."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Server)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def launched() -> Iterator[Browser]:
    with browser() as chromium:
        yield chromium


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [640, 1280, 2560])
def test_axe_finds_no_fault(launched: Browser, address: str, scheme: str, width: int) -> None:
    with visiting(launched, address, width=width, scheme="dark" if scheme == "dark" else "light") as visit:
        visit.goto("/")
        assert visit.faults() == []
        visit.check()


def test_tab_goes_the_way_that_the_page_is_read(launched: Browser, address: str) -> None:
    with visiting(launched, address) as visit:
        visit.goto("/")
        places = visit.tabbed(21)
        assert places[:9] == [
            "#content",
            "/",
            "/",
            "/loop",
            "/zones",
            "/refusals",
            "q",
            "BUTTON",
            "/?epoch=203",
        ]
        assert places[9] == "epoch"
        assert places[10:] == [
            *("/event/i", "/event/a/records", "/event/q", "/event/s/records", "/event/30/records"),
            *(
                "/event/a",
                "/event/s/records?of=a",
                "/event/s",
                "/event/30/records?of=s",
                "/event/m",
                "/event/m/why",
            ),
        ]
        visit.check()


def test_the_focus_is_seen(launched: Browser, address: str) -> None:
    with visiting(launched, address) as visit:
        visit.goto("/")
        width = "getComputedStyle(document.querySelector('a.node .outline')).strokeWidth"
        before = visit.page.evaluate(width)
        while visit.tabbed(1) != ["/event/i"]:
            pass
        assert float(visit.page.evaluate(width).removesuffix("px")) > float(before.removesuffix("px")) + 1


def test_a_link_in_a_drawing_goes_where_it_says(launched: Browser, address: str) -> None:
    with visiting(launched, address) as visit:
        visit.goto("/")
        visit.page.get_by_role("link", name="training/intent-model/4, zone voice-assistant").click()
        assert visit.page.url == address + "/event/m"
        visit.check()


def test_all_is_there_without_a_script(launched: Browser, address: str) -> None:
    with visiting(launched, address, scripts=False) as visit:
        visit.page.goto(address)
        assert visit.page.locator("svg a").count() > 60
        visit.page.get_by_role("link", name="100 events: from").click()
        assert visit.page.url == address + "/event/a/records"


def test_nothing_is_wider_than_a_narrow_window_but_what_scrolls(launched: Browser, address: str) -> None:
    with visiting(launched, address, width=640) as visit:
        visit.goto("/")
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= 640
        wide = "[...document.querySelectorAll('.drawing')].filter(d => d.scrollWidth > d.clientWidth).length"
        assert visit.page.evaluate(wide) >= 1
        # No text of a drawing becomes smaller than this many pixels.
        sizes = visit.page.evaluate(
            "[...document.querySelectorAll('.drawing svg')].map(s => s.getBoundingClientRect().width"
            " / s.viewBox.baseVal.width * 11)"
        )
        assert min(sizes) > 8


def test_words_of_a_drawing_do_not_leave_their_boxes(launched: Browser, address: str) -> None:
    with visiting(launched, address) as visit:
        visit.goto("/")
        outside = visit.page.evaluate(
            """[...document.querySelectorAll('.node')].flatMap((node) => {
              const box = node.querySelector('.outline').getBoundingClientRect();
              return [...node.querySelectorAll('text')].filter((text) => {
                const words = text.getBoundingClientRect();
                return words.right > box.right || words.left < box.left || words.bottom > box.bottom;
              }).map((text) => text.textContent);
            })"""
        )
        assert outside == []


def test_the_slider_goes_to_an_epoch_and_keeps_the_rest_of_the_address(
    launched: Browser, address: str
) -> None:
    with visiting(launched, address) as visit:
        visit.goto("/?up=2&epoch=204")
        visit.page.locator("#epoch").focus()
        visit.page.keyboard.press("Home")
        assert visit.page.locator("output").text_content() == "1"
        visit.page.keyboard.press("ArrowRight")
        visit.page.wait_for_url("**/?up=2&epoch=203")
        visit.check()


def _asked(visit: Visit, turns: int) -> None:
    """Wait until the live page shows that it has asked so often."""
    visit.wait(
        lambda: int(visit.page.locator("[data-plot]").text_content() or 0) >= turns,
        f"{turns} answers on the live page",
    )


def test_the_live_page_renews_itself_keeps_the_focus_and_stops_when_hidden(
    launched: Browser, address: str
) -> None:
    _Server.turns = 0
    with visiting(launched, address) as visit:
        visit.goto("/live")
        visit.page.locator("#focused").focus()
        _asked(visit, 3)
        assert visit.page.locator("text=a new line").count() == 1
        assert visit.page.evaluate("document.activeElement.id") == "focused"
        assert visit.page.locator("[data-live-state]").text_content() == "live: asked again every 2 s"
        assert visit.page.locator("[data-plots] canvas").count() == 1
        visit.page.evaluate(
            "Object.defineProperty(document, 'hidden', {value: true, configurable: true});"
            "document.dispatchEvent(new Event('visibilitychange'));"
        )
        assert visit.page.locator("[data-live-state]").text_content() == "stopped while nobody looks"
        before = _Server.turns
        visit.page.wait_for_timeout(4500)
        assert _Server.turns <= before + 1, "at most what was under way"
        visit.page.evaluate("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'));")
        _asked(visit, before + 1)
        assert visit.faults() == []
        visit.check()


def test_print_shows_no_controls_and_all_of_each_drawing(launched: Browser, address: str) -> None:
    with visiting(launched, address, width=700, scheme="dark") as visit:
        visit.goto("/")
        visit.page.emulate_media(media="print")
        assert not visit.page.locator(".slider").is_visible()
        assert not visit.page.get_by_role("search").is_visible()
        cut = (
            "[...document.querySelectorAll('.drawing')].filter(d => d.scrollWidth > d.clientWidth + 8).length"
        )
        assert visit.page.evaluate(cut) == 0
        assert visit.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert visit.page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "light"
