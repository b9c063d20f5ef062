"""No side door in the pages: every page of every role, over stores that differ in what it is not shown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from streams import clock, limits
from streams.page.preparing import SITES
from tests.page.asking import Reply, Visitor
from tests.queries.pair import OFFER, pair_of

ROLES = ("analyst", "wearer:w1")
#: Of hidden streams, of hidden runs in a stream that is shown in part, beside them, of a device nobody knows.
IDS = ("g1/imu/120", "g1/imu/9999", "g2/imu/100", "g2/ppg/17", "g2/ppg/9999", "g2/odd/5000", "g9/imu/1")
#: What has an id, a wearer or a name in its path, with what is hidden or not there at all.
ABOUT_ONE = {
    "/event/{source}/{stream}/{number}/records": [f"/event/{identity}/records" for identity in IDS],
    "/event/{source}/{stream}/{number}": [f"/event/{identity}" for identity in IDS],
    "/wearer/{wearer}": ["/wearer/w2", "/wearer/w9"],
    "/wearer/{wearer}/data": ["/wearer/w2/data", "/wearer/w9/data"],
    "/refusals": [f"/refusals?id={identity}" for identity in IDS],
    "/search": [f"/search?q={identity}" for identity in IDS],
}
#: Every page of the whole store, with the parts of its address that choose what is hidden.
WHOLE = (
    "/",
    "/loop",
    "/zones",
    "/zones?zone=health",
    "/zones?sink=store",
    "/refusals",
    "/requirements",
    "/inventory",
    "/policies",
    "/search",
    "/search?zone=health",
    "/search?wearer=w2",
    "/search?kind=ppg",
    "/search?q=health",
    "/event/g1/imu/99",
    "/event/g1/imu/3?up=9&down=9",
    "/event/g1/activity/4?up=9&down=9",
    "/event/g1/activity/8/records?way=up&hop=1",
    "/wearer/w1",
    "/wearer/w1/data",
)


#: Bands, and the sentence about what nobody can judge, tell of what is hidden, on purpose.
_KEPT_BACK = re.compile(
    r'<div><dt>(?:not shown to this role|left out)</dt>.*?</div>\n|"hidden":\{[^}]*\}|"left_out":\[[^\]]*\]',
    re.DOTALL,
)


class Remembering(Visitor):
    """Asks for each address once, because neither store changes."""

    def __init__(self, store: Path, *roles: str) -> None:
        super().__init__(store, *roles)
        self._replies: dict[tuple[str, str], Reply] = {}

    def once(self, address: str, role: str) -> Reply:
        """The reply to the first request for an address."""
        if (address, role) not in self._replies:
            self._replies[address, role] = self.get(address, role)
        return self._replies[address, role]


@pytest.fixture(scope="module")
def visitors(tmp_path_factory: pytest.TempPathFactory) -> tuple[Remembering, Remembering]:
    hiding, without = pair_of(tmp_path_factory.mktemp("hidden-pages"))
    return Remembering(hiding, *ROLES), Remembering(without, *ROLES)


def told(visitor: Remembering, address: str, role: str, identity: str = "") -> tuple[int, str]:
    """Status and body, without the store's name, what is said to be hidden, the id, and what is offered."""
    reply = visitor.once(address, role)
    text = reply.text
    text = re.sub(r"(/\S+)?/hidden-pages\d*/with(out)?|\bwith(out)?\b", "STORE", text)
    # Both stores were published when the test made them.
    text = re.sub(r'"published":"[^"]*"', "", _KEPT_BACK.sub("", text))
    if identity:
        text = OFFER.sub("", text).replace(identity, "ID")
    return reply.status, text


def twin(address: str) -> str:
    path, mark, query = address.partition("?")
    return f"{'/index' if path == '/' else path}.json{mark}{query}"


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("address", [*WHOLE, *map(twin, WHOLE)])
def test_a_page_says_the_same_whatever_is_hidden(
    visitors: tuple[Remembering, Remembering], role: str, address: str
) -> None:
    hiding, without = (told(visitor, address, role) for visitor in visitors)
    assert hiding == without


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("form", ["html", "json"])
@pytest.mark.parametrize("site", ABOUT_ONE)
def test_hidden_and_absent_are_the_same_404(
    visitors: tuple[Remembering, Remembering], role: str, form: str, site: str
) -> None:
    bodies = set()
    # Both forms are made of the same refusal, so some are enough of one.
    for address in ABOUT_ONE[site][:: 3 if form == "json" else 1]:
        identity = re.sub(r"^/(event|wearer)/|/(records|data)$|^/\w+\?\w+=", "", address)
        asked = twin(address) if form == "json" else address
        for visitor in visitors:
            bodies.add(told(visitor, asked, role, identity))
    ((status, _),) = bodies
    assert status == 404


def test_the_time_of_a_404_does_not_say_which_it_is(
    visitors: tuple[Remembering, Remembering], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes after a multiple of half a second, however long it took to find out."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    # The first and the last of each four are those of the metrics of the page.
    times = iter((0.0, 10.0, 10.125, 0.0, 0.0, 20.0, 20.375, 0.0, 0.0, 30.0, 31.25, 0.0))
    monkeypatch.setattr(limits, "PAGE_ABSENT_STEP_S", 0.5)
    monkeypatch.setattr("anyio.sleep", sleep)
    monkeypatch.setattr(clock, "monotonic_s", lambda: next(times))
    for address in ("/event/g1/imu/120", "/event/g9/imu/1.json", "/wearer/w2"):
        assert visitors[0].get(address, "analyst").status == 404
    assert slept == [0.375, 0.125, 0.25]


def test_every_page_with_something_in_its_path_is_tried() -> None:
    varying = {site.path for site in SITES if "{" in site.path}
    # A requirement's name is the policy's, which everybody is shown.
    assert varying - {"/requirement/{name}"} == {site for site in ABOUT_ONE if "{" in site}
    fixed = {site.path for site in SITES if "{" not in site.path}
    # What is missing is told less exactly to a role that is shown a stream in part; its own test holds that.
    assert fixed - {"/live"} == {address.partition("?")[0] for address in WHOLE if "/" not in address[1:]}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("address", ["/live", "/live.json", *WHOLE])
def test_no_word_of_what_is_hidden_is_on_a_page(
    visitors: tuple[Remembering, Remembering], role: str, address: str
) -> None:
    text = visitors[0].once(address, role).text
    for word in ("g2/", "secret", "9999999999999", ">w2<", "of nobody"):
        assert word not in text


def test_what_is_kept_back_is_said_in_bands(visitors: tuple[Remembering, Remembering]) -> None:
    reply = visitors[0].get("/inventory.json", "analyst").json
    assert set(reply["hidden"].values()) <= {"1-9", "10-99", "100+"}
    assert reply["hidden"]["events"] == "1-9", "rows, of 504 events"
    assert "1-9 events" in visitors[0].get("/inventory", "analyst").text
