"""The page in a real browser, over a played day: what people do with it, and what it complains of."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser

from streams.queries.asking import open_store
from tests.page.browsing import Visit, browser, visiting
from tests.page.serving import address_of, served_pages

pytestmark = pytest.mark.browser

ROLES = ("privacy-officer", "analyst", "wearer:w1")
PAGES = (
    *("/", "/loop", "/zones", "/refusals", "/requirements", "/wearer/w1", "/inventory", "/policies", "/live"),
    *("/event/g1/answer/2", "/event/g1/answer/2?up=9&down=2", "/event/g1/answer/2/records", "/search?q=g1"),
    *("/event/training/intent-model/1", "/zones?zone=health&sink=training-run"),
)


@pytest.fixture(scope="module")
def served(home: Path) -> Iterator[dict[str, str]]:
    """The address to enter by, with its token, for each role."""
    with served_pages(home / "lineage-store", ROLES) as entries:
        yield entries


@pytest.fixture(scope="module")
def launched() -> Iterator[Browser]:
    with browser() as chromium:
        yield chromium


def entered(visit: Visit, link: str, path: str = "/") -> None:
    """Enter by a link with a token, and go to a page."""
    visit.goto(link.removeprefix(visit.address))
    assert "token" not in visit.page.url
    if path != "/":
        visit.goto(path)


def state(visit: Visit) -> dict[str, list[str]]:
    """The state in the address of the page that is shown."""
    return parse_qs(urlsplit(visit.page.url).query)


def test_no_page_has_a_fault_an_error_or_a_foreign_request(launched: Browser, served: dict[str, str]) -> None:
    """Each is judged whole when narrow and light, and for its colours again when wide and dark."""
    link = served["privacy-officer"]
    with visiting(launched, address_of(link), width=640) as visit:
        entered(visit, link)
        for path in PAGES:
            visit.page.set_viewport_size({"width": 640, "height": 900})
            visit.page.emulate_media(color_scheme="light")
            visit.goto(path)
            assert visit.page.locator("h1").count() == 1, path
            assert (path, visit.faults()) == (path, [])
            assert visit.page.evaluate("document.documentElement.scrollWidth") <= 640, path
            visit.page.set_viewport_size({"width": 1280, "height": 900})
            assert visit.page.evaluate("document.documentElement.scrollWidth") <= 1280, path
            visit.page.emulate_media(color_scheme="dark")
            assert (path, visit.faults("color-contrast")) == (path, [])
            visit.check()


def test_from_the_first_page_to_an_answer_and_up_to_the_sensor_run(
    launched: Browser, served: dict[str, str]
) -> None:
    link = served["privacy-officer"]
    with visiting(launched, address_of(link)) as visit:
        entered(visit, link, "/event/g1/answer/2")
        assert visit.page.locator("svg .current .title").text_content() == "g1/answer/2"
        assert visit.page.locator("svg .node.run").count() == 0, "one hop first"
        while (more := visit.page.locator("svg a.node.more[href*='up=']")).count():
            more.first.click()
            visit.page.wait_for_selector("body[data-ready='1']")
        run = visit.page.locator("svg a.node.run", has_text="imu-right").first
        run.click()
        visit.page.wait_for_selector("body[data-ready='1']")
        assert "/event/g1/imu-right/" in visit.page.url
        visit.check()


def test_a_count_on_an_arrow_leads_to_the_records(launched: Browser, served: dict[str, str]) -> None:
    link = served["privacy-officer"]
    with visiting(launched, address_of(link)) as visit:
        entered(visit, link, "/event/g1/activity/400")
        count = visit.page.locator("svg a.words").first
        number = int((count.text_content() or "").split(" event")[0].split()[-1])
        count.click()
        visit.page.wait_for_selector("body[data-ready='1']")
        assert "/records" in visit.page.url
        assert str(number) in (visit.page.locator("main").text_content() or "")
        visit.check()


def test_a_refusal_is_on_the_way_to_the_sink_and_says_its_rule(
    home: Path, launched: Browser, served: dict[str, str]
) -> None:
    with open_store(home / "lineage-store", role="privacy-officer") as store:
        denied = store.sql("SELECT id FROM decisions WHERE verdict = 'deny' ORDER BY ALL LIMIT 1").to_dicts()
    link = served["privacy-officer"]
    with visiting(launched, address_of(link)) as visit:
        entered(visit, link, f"/event/{denied[0]['id']}")
        words = visit.page.locator("svg a.words.deny")
        assert (words.text_content() or "").find("deny · sinks.") >= 0
        words.click()
        assert visit.page.url.endswith("#decisions")
        assert "is not permitted" in (visit.page.locator("#decisions-table").text_content() or "")
        visit.check()


def test_the_slider_shows_an_earlier_epoch_and_links_stay_in_it(
    launched: Browser, served: dict[str, str]
) -> None:
    link = served["privacy-officer"]
    with visiting(launched, address_of(link)) as visit:
        entered(visit, link, "/zones")
        slider = visit.page.locator("input[data-epochs]")
        first, *_, newest = (slider.get_attribute("data-epochs") or "").split(",")
        assert int(first) < int(newest)
        slider.focus()
        visit.page.keyboard.press("Home")
        visit.page.wait_for_url("**/zones?epoch=*")
        visit.page.wait_for_selector("body[data-ready='1']")
        assert state(visit)["epoch"] == [first]
        assert f"{int(first):,}, pinned" in (visit.page.locator("header.bar").text_content() or "")
        hrefs = visit.page.eval_on_selector_all(
            "main a, nav a", "links => links.map(link => link.getAttribute('href'))"
        )
        inside = [href for href in hrefs if href.startswith("/")]
        assert inside
        assert all(f"epoch={first}" in href for href in inside)
        visit.check()


def test_two_roles_at_one_address(home: Path, launched: Browser, served: dict[str, str]) -> None:
    with open_store(home / "lineage-store", role="privacy-officer") as store:
        rows = store.sql(
            "SELECT source || '/' || stream || '/' || \"first\" AS id FROM events "
            "WHERE zone = 'health' ORDER BY ALL"
        ).to_dicts()
    hidden = str(rows[0]["id"])
    officer, analyst = served["privacy-officer"], served["analyst"]
    path = f"/event/{hidden}"
    with visiting(launched, address_of(officer)) as visit:
        entered(visit, officer, path)
        assert hidden in (visit.page.locator("h1").text_content() or "")
    with visiting(launched, address_of(analyst)) as visit:
        entered(visit, analyst)
        texts = []
        for name in (hidden, f"{hidden.rpartition('/')[0]}/{10**9}"):
            response = visit.page.goto(f"{visit.address}/event/{name}")
            assert response is not None
            assert response.status == 404
            body = visit.page.locator("main").text_content() or ""
            texts.append(body.replace(name, "ID"))
            assert "Traceback" not in body
        assert re.sub(r"nearest event that it is shown is \S+", "", texts[0]) == re.sub(
            r"nearest event that it is shown is \S+", "", texts[1]
        )


def test_who_has_no_token_is_told_how_to_enter(launched: Browser, served: dict[str, str]) -> None:
    with visiting(launched, address_of(served["analyst"])) as visit:
        response = visit.page.goto(visit.address + "/loop")
        assert response is not None
        assert response.status == 403
        assert "token" in (visit.page.locator("body").text_content() or "")


def test_all_can_be_read_without_a_script(launched: Browser, served: dict[str, str]) -> None:
    link = served["privacy-officer"]
    with visiting(launched, address_of(link), scripts=False) as visit:
        visit.page.goto(link)
        visit.page.goto(visit.address + "/loop")
        assert visit.page.locator("svg.loop a").count() >= 3
        assert visit.page.locator("table").count() >= 1
        visit.page.locator("a[rel=prev]").click()
        assert state(visit)["epoch"]


def test_the_live_page_is_live(launched: Browser, served: dict[str, str]) -> None:
    link = served["privacy-officer"]
    with visiting(launched, address_of(link)) as visit:
        entered(visit, link, "/live")
        before = visit.page.locator("#now-facts").text_content()
        visit.wait(lambda: visit.page.locator("#now-facts").text_content() != before, "a later time")
        visit.wait(lambda: visit.page.locator("[data-plots] canvas").count() == 1, "a plot of the rates")
        assert (visit.page.locator("[data-live-state]").text_content() or "").startswith("live: ")
        visit.check()


def test_tab_reaches_what_the_page_is_about(launched: Browser, served: dict[str, str]) -> None:
    link = served["privacy-officer"]
    with visiting(launched, address_of(link)) as visit:
        entered(visit, link, "/event/g1/answer/2")
        presses = visit.page.locator("a, input, button, select, [tabindex='0']").count()
        places = visit.tabbed(presses)
        assert places[0] == "#content"
        drawing = visit.page.eval_on_selector_all(
            "svg.graph a", "links => links.map(link => link.getAttribute('href'))"
        )
        first = places.index(drawing[0])
        assert places[first : first + len(drawing)] == drawing
