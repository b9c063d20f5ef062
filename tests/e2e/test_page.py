"""The page of a demo in a real browser while the glasses play: what a person looks at first."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.page.browsing import Visit, browser, visiting
from tests.page.serving import address_of
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def link(tmp_path_factory: pytest.TempPathFactory, own_broker: str) -> Iterator[str]:
    """The link that a demo prints, once there is an answer; the demo plays until the tests are done."""
    store = tmp_path_factory.mktemp("demo") / "lineage-store"
    options = ["--scenario", "commute", "--no-faults", "--speed", "10", "--store", str(store)]
    command = [sys.executable, "-m", "streams.cli", "demo", "--broker", own_broker, *options]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stderr is not None
        lines, address = [], ""
        for line in process.stderr:
            lines.append(line)
            address = line.partition("look at it in a browser: ")[2].strip() or address
            if re.search(r" [1-9]\d* answers  ", line):
                break
        assert address, "".join(lines)
        try:
            yield address
        finally:
            process.send_signal(signal.SIGINT)
            out, rest = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, out + rest
    assert "clean" in out.splitlines()
    assert "Traceback" not in rest


def ready(visit: Visit) -> None:
    visit.page.wait_for_selector("body[data-ready='1']")


def test_a_stranger_looks_around_while_the_glasses_play(link: str) -> None:
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
