"""What a person looks at first on the page of a demo, in a real browser."""

from __future__ import annotations

from tests.page.browsing import Visit, browser, visiting
from tests.page.serving import address_of


def ready(visit: Visit) -> None:
    visit.page.wait_for_selector("body[data-ready='1']")


def look_around(link: str) -> None:
    """Enter by the link of a demo that plays, and go where a stranger goes."""
    with browser() as launched, visiting(launched, address_of(link)) as visit:
        visit.goto(link.removeprefix(visit.address))
        assert "/answer/" in (visit.page.locator("svg .current .title").text_content() or "")

        # Up from the answer to what the sensors saw.
        answer = visit.page.locator("svg .current .title").text_content()
        visit.goto(f"/event/{answer}?up=9")
        visit.page.locator("svg a.node.run", has_text="imu-right").first.click()
        ready(visit)
        assert "/imu-right/" in visit.page.url

        # A refusal: in the first seconds nobody has consented yet.
        visit.goto("/refusals")
        visit.page.locator("#refusals-table a[href*='/refusals?id=']").first.click()
        ready(visit)
        assert (visit.page.locator("h1").text_content() or "").startswith("Why g")

        # Back in time.
        visit.goto("/zones")
        visit.page.locator("input[data-epochs]").focus()
        visit.page.keyboard.press("Home")
        visit.page.wait_for_url("**/zones?epoch=*")
        ready(visit)

        # And now: how far behind is it, and does it move?
        visit.goto("/live")
        lag = visit.page.locator("#lag-table").text_content() or ""
        assert "glasses" in lag
        assert "training" in lag
        before = visit.page.locator("#now-facts").text_content()
        visit.wait(lambda: visit.page.locator("#now-facts").text_content() != before, "a later epoch")
        visit.check()
