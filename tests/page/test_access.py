"""Who may see the page: tokens, cookies, hosts, methods and headers."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from streams.page.access import HEADERS, Keys, host_name
from streams.page.app import STATIC
from streams.page.preparing import SITES
from streams.queries.role import Role
from tests.page.asking import Visitor
from tests.queries.pair import pair_of

ROLES = ("privacy-officer", "analyst", "wearer:w1")


@pytest.fixture(scope="module")
def visitor(tmp_path_factory: pytest.TempPathFactory) -> Visitor:
    return Visitor(pair_of(tmp_path_factory.mktemp("access"))[0], *ROLES, hosts=("page.example",))


def test_a_token_becomes_a_cookie_and_leaves_the_address(visitor: Visitor) -> None:
    token = visitor.cookie("analyst").partition("=")[2]
    reply = visitor.get(f"/event/g1/imu/3?up=2&token={token}&epoch=1")
    assert (reply.status, reply.headers["location"]) == (303, "/event/g1/imu/3?up=2&epoch=1")
    cookie, *attributes = reply.headers["set-cookie"].split("; ")
    assert cookie == f"sightline-8765={token}"
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} == set(attributes)
    assert visitor.get("/", cookie=cookie).status == 200


@pytest.mark.parametrize("site", SITES, ids=[site.path for site in SITES])
@pytest.mark.parametrize("twin", ["", ".json"])
def test_nothing_is_shown_without_a_cookie(visitor: Visitor, site: str, twin: str) -> None:
    for headers in (
        {},
        {"cookie": "sightline-8765=x"},
        {"cookie": 'sightline-8765="'},
        {"cookie": ";;=\x01"},
    ):
        reply = visitor.get(f"/event/g1/imu/3{twin}", **headers)
        assert reply.status == 403
        assert b"g1" not in reply.body
        assert "set-cookie" not in reply.headers
    wrong = visitor.get("/?token=wrong")
    assert (wrong.status, "set-cookie" in wrong.headers) == (403, False)


def test_a_cookie_of_another_port_and_of_another_start_is_none(visitor: Visitor) -> None:
    other = Keys.drawn([Role.of("analyst")], 8766)
    token = visitor.cookie("analyst").partition("=")[2]
    assert visitor.get("/", cookie=f"{other.cookie}={token}").status == 403
    assert visitor.get("/", cookie=f"{visitor.keys.cookie}={next(iter(other.tokens))}").status == 403
    assert len({*visitor.keys.tokens, *other.tokens}) == 4
    assert all(len(token) >= 43 for token in visitor.keys.tokens), "256 bits"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8765", 200),
        ("localhost:1", 200),
        ("LOCALHOST", 200),
        ("[::1]:8765", 200),
        ("page.example", 200),
        ("evil.example", 400),
        ("evil.example:8765", 400),
        ("127.0.0.1.evil.example", 400),
        ("", 400),
        ("[::1", 400),
        ("127.0.0.1@evil.example", 400),
    ],
)
def test_only_the_pages_own_names_are_answered(visitor: Visitor, host: str, status: int) -> None:
    for path in ("/", "/static/page.css"):
        expected = status if host != "[::1" else visitor.get(path, "analyst", host=host).status
        assert visitor.get(path, "analyst", host=host).status == expected
    assert (
        visitor.get(f"/?{visitor.cookie('analyst').replace('sightline-8765', 'token')}", host="evil").status
        == 400
    )


def test_names_of_hosts_are_read_without_ports() -> None:
    assert [host_name(text) for text in ("A.b:80", "[::1]:80", "x", " y:1 ")] == ["a.b", "::1", "x", "y"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_the_page_can_only_be_read(visitor: Visitor, method: str) -> None:
    reply = visitor.get("/", "analyst", method=method)
    assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD")
    assert visitor.get("/", "analyst", method="HEAD").status == 200


def test_every_answer_has_the_headers(visitor: Visitor) -> None:
    token = visitor.cookie("analyst").replace("sightline-8765", "token")
    replies = [
        visitor.get("/", "analyst"),
        visitor.get("/index.json", "analyst"),
        visitor.get("/static/page.css", "analyst"),
        visitor.get("/static/no.css", "analyst"),
        visitor.get("/nowhere", "analyst"),
        visitor.get("/event/g9/imu/1", "analyst"),
        visitor.get("/?epoch=999", "analyst"),
        visitor.get(f"/?{token}"),
        visitor.get("/"),
        visitor.get("/", host="evil.example"),
        visitor.get("/", "analyst", method="POST"),
    ]
    assert [reply.status for reply in replies] == [200, 200, 200, 404, 404, 404, 410, 303, 403, 400, 405]
    for reply in replies:
        assert {name: reply.headers[name.lower()] for name in HEADERS} == dict(HEADERS)
    policy = HEADERS["Content-Security-Policy"]
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy


def test_files_that_pages_are_drawn_with_need_no_cookie_and_are_no_others(visitor: Visitor) -> None:
    for name, kind in STATIC.items():
        reply = visitor.get(f"/static/{name}")
        assert (reply.status, reply.headers["content-type"]) == (200, kind)
    for name in ("", "../app.py", "%2e%2e/app.py", "..%2fapp.py", "uplot/MANIFEST.toml", "/etc/passwd"):
        assert visitor.get(f"/static/{name}", "analyst").status == 404


def test_nothing_is_logged_of_what_was_asked(visitor: Visitor, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        for path in ("/event/g1/imu/3", "/wearer/w1", "/search?wearer=w1", "/event/g9/imu/1", "/nowhere/w1"):
            visitor.get(path, "analyst")
    logged = [record.getMessage() for record in caplog.records if record.name != "asyncio"]
    assert logged == []


def test_two_viewers_of_one_address_are_shown_what_is_theirs(visitor: Visitor) -> None:
    officer, analyst, w1 = (visitor.get("/event/g1/imu/120.json", role) for role in ROLES)
    assert (officer.status, analyst.status, w1.status) == (200, 404, 404)
    assert officer.json["why"]["zone"] == "health"
    officer, analyst, w1 = (visitor.get("/search.json?zone=health", role) for role in ROLES)
    assert officer.json["events"] == 504
    assert (analyst.json["events"], w1.json["events"]) == (0, 0)
    assert [reply.json["role"] for reply in (officer, analyst, w1)] == list(ROLES)


def test_reads_of_restricted_zones_are_on_record(tmp_path: Path) -> None:
    store = pair_of(tmp_path)[0]
    visitor = Visitor(store, *ROLES)
    assert visitor.get("/event/g1/voice-query/1", "analyst").status == 200
    log = store / "reads.jsonl"
    before = log.read_text(encoding="utf-8") if log.exists() else ""
    assert "health" not in before
    assert visitor.get("/event/g1/imu/120", "privacy-officer").status == 200
    added = log.read_text(encoding="utf-8")[len(before) :]
    assert '"question":"ask why g1/imu/120"' in added
    assert '"role":"privacy-officer"' in added
