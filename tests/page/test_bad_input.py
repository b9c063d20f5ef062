"""What people type, and what happens to a store meanwhile: each is a page that says what is wrong."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.error import HTTPError

import pytest

from streams import limits
from streams.page.pages import home
from streams.page.preparing import SITES
from tests.page.asking import Visitor
from tests.page.serving import entered, served_pages
from tests.patience import PATIENCE_S
from tests.queries.pair import pair_of
from tests.snapshots.build import POLICY, event, row, store, stream, tagged

OFFICER = "privacy-officer"
HOSTILE = '<img src=x onerror="alert(1)">'


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that is only read."""
    return pair_of(tmp_path_factory.mktemp("bad-input"))[0]


@pytest.fixture
def lying(made: Path, tmp_path: Path) -> Path:
    """A copy of it, to spoil."""
    return shutil.copytree(made, tmp_path / "store", symlinks=True)


@pytest.mark.parametrize(
    ("address", "status", "words"),
    [
        ("/event/g1/imu/77777", 404, "is shown no such event"),
        ("/event/g1/imu/minus", 404, "expected source/stream/number"),
        ("/event/G1/imu/1", 404, "expected source/stream/number"),
        ("/wearer/nobody", 404, "has nothing of such a wearer"),
        ("/wearer/W%20x", 404, "expected a pseudonym"),
        ("/requirement/nosuch", 404, "has no such requirement"),
        ("/policies?version=nosuch", 404, "has no such policy"),
        ("/nowhere", 404, "There is no such page"),
        ("/?epoch=99", 410, "epoch 99 is not kept"),
        ("/?epoch=99999999999999999999999999", 410, "is not kept"),
        ("/?epoch=newest", 400, "expected that of a kept epoch"),
        ("/?epoch=-1", 400, "expected that of a kept epoch"),
        ("/?epoch=%D9%A1", 400, "expected that of a kept epoch"),
        ("/?epoch=1&epoch=2", 400, "one name twice"),
        ("/?nosuch=1", 400, "a part that this page does not have"),
        ("/event/g1/imu/3?up=0", 400, "no whole number"),
        ("/event/g1/imu/3?down=1000000000000", 400, "no whole number"),
        ("/event/g1/imu/3/records?way=sideways", 400, "expected up or down"),
        (f"/search?q={'x' * 10_000}", 400, "10,000 characters"),
        (f"/search?wearer={'x' * 10_000}", 400, "10,000 characters"),
        ("/search?since=yesterday", 400, "since"),
        ("/search?wearer=%27%20OR%201=1", 200, "no event that the role"),
        ("/zones?zone=%27%3B%20DROP%20TABLE%20events", 200, "None that this role is shown"),
    ],
)
@pytest.mark.parametrize("form", ["html", "json"])
def test_a_page_says_what_is_wrong(made: Path, address: str, status: int, words: str, form: str) -> None:
    path, mark, query = address.partition("?")
    if form == "json":
        path = f"{'/index' if path == '/' else path}.json"
    reply = Visitor(made, OFFICER).get(f"{path}{mark}{query}", OFFICER)
    assert reply.status == status
    assert "Traceback" not in reply.text
    if form == "json":
        assert status == 200 or reply.json["status"] == status
        assert status == 200 or words in reply.json["error"]
    else:
        assert words in reply.text


UP = ("..", "%2e%2e", "..%2f..", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "..%5c", "%00", ".%2e")


@pytest.mark.parametrize("up", UP)
def test_no_part_of_a_path_leads_out(made: Path, up: str) -> None:
    visitor = Visitor(made, OFFICER)
    for site in SITES:
        parts = [part for part in site.path.split("/") if part]
        for at, part in enumerate(parts):
            if part.startswith("{"):
                filled = [up if place == at else part.strip("{}") for place, part in enumerate(parts)]
                assert visitor.get("/" + "/".join(filled), OFFICER).status == 404
        assert visitor.get(f"/{up}{site.path}", OFFICER).status == 404


def test_hostile_names_are_text(tmp_path: Path) -> None:
    """Neither a stream nor a wearer, session, rule or zone that somebody made up becomes markup."""
    columns = {**tagged("imu", "public", wearer=HOSTILE, session=HOSTILE, rule=HOSTILE, origin=HOSTILE)}
    path = store(
        tmp_path / "s",
        {
            "events": [event("g1", HOSTILE, 0, 5, **columns), event("g1", "imu", 0, **columns)],
            "streams": [stream("g1", HOSTILE), stream("g1", "imu")],
            "decisions": [
                row(
                    "decisions",
                    source="g1",
                    stream="imu",
                    first=0,
                    sink=HOSTILE,
                    verdict="deny",
                    rule=HOSTILE,
                    consent_state=HOSTILE,
                    zone="public",
                    label=columns["label"],
                    policy_version=columns["policy_version"],
                    wearer=HOSTILE,
                )
            ],
            "policies": [POLICY],
        },
    )
    visitor = Visitor(path, OFFICER)
    seen = 0
    for address in ("/", "/event/g1/imu/0", "/zones", "/refusals", "/inventory", "/search?kind=imu"):
        reply = visitor.get(address, OFFICER)
        assert reply.status == 200, reply.text
        assert "<img" not in reply.text
        seen += reply.text.count("&lt;img")
    assert seen > 10
    for address in (f"/search?q={HOSTILE}", f"/wearer/{HOSTILE}", f"/requirement/{HOSTILE}", f"/{HOSTILE}"):
        assert "<img" not in visitor.get(address.replace(" ", "%20"), OFFICER).text


def test_two_tabs_may_show_two_epochs(tmp_path: Path) -> None:
    first = {"events": [event("g1", "imu", 0, 5, **tagged("imu"))], "policies": [POLICY]}
    second = {"events": [event("g1", "imu", 5, 10, **tagged("imu"))]}
    visitor = Visitor(store(tmp_path / "s", first, second), OFFICER)
    for _ in range(2):
        past = visitor.get("/search.json?kind=imu&epoch=1", OFFICER).json
        now = visitor.get("/search.json?kind=imu", OFFICER).json
        assert (past["epoch"], past["events"], past["newest_epoch"]) == (1, 5, 2)
        assert (now["epoch"], now["events"]) == (2, 15)
    page = visitor.get("/event/g1/imu/3?epoch=1", OFFICER).text
    links = [part.partition('"')[0] for part in page.split('href="/')[1:]]
    kept = [link for link in links if not link.startswith("static/")]
    assert len(kept) > 10
    assert [link for link in kept if "epoch=" not in link] == ["event/g1/imu/3"], "only to follow the newest"


def test_a_store_that_goes_and_comes_back(lying: Path) -> None:
    visitor = Visitor(lying, OFFICER)
    assert visitor.get("/", OFFICER).status == 200
    moved = lying.rename(lying.with_name("moved"))
    reply = visitor.get("/", OFFICER)
    assert (reply.status, "there is no store" in reply.text) == (503, True)
    moved.rename(lying)
    assert visitor.get("/", OFFICER).status == 200


def test_a_store_whose_writer_is_away_and_has_published_nothing(lying: Path) -> None:
    visitor = Visitor(lying, OFFICER)
    (lying / "catalog.duckdb").unlink()
    reply = visitor.get("/live", OFFICER)
    assert (reply.status, "no epoch has been published yet" in reply.text) == (503, True)
    assert reply.headers["refresh"] == "2", "a browser goes on by itself"


def test_the_page_may_start_before_the_first_epoch_but_not_without_a_store(tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    command = [sys.executable, "-m", "streams.cli", "page", "--port", "0", "--store", str(store)]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert (refused.returncode, "there is no store" in refused.stderr) == (3, True)
    (store / "hot.duckdb").touch()
    with served_pages(store, [OFFICER]) as links, pytest.raises(HTTPError) as waiting:
        entered(links[OFFICER])
    with waiting.value as answer:
        assert (answer.code, b"no epoch has been published yet" in answer.read()) == (503, True)


def test_files_that_are_gone_or_damaged(lying: Path) -> None:
    shutil.rmtree(lying / "segments")
    reply = Visitor(lying, OFFICER).get("/inventory", OFFICER)
    assert (reply.status, str(lying) in reply.text) == (503, True)


def test_a_store_of_another_version(lying: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.queries.version.STORE_VERSION", limits.STORE_VERSION + 1)
    reply = Visitor(lying, OFFICER).get("/", OFFICER)
    assert (reply.status, "version" in reply.text) == (503, True)


def test_a_fault_of_ours_shows_no_value(
    lying: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("g1/answer/secret")

    monkeypatch.setattr(home, "newest_answer", fail)
    reply = Visitor(lying, OFFICER).get("/", OFFICER)
    assert reply.status == 500
    assert "secret" not in reply.text
    assert "secret" not in caplog.text
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == [
        "a page failed: ValueError"
    ]
