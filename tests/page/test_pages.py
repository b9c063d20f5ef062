"""What pages show is what the questions answer, in HTML and in JSON, live and as files."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote

import orjson
import pytest

from streams import limits
from streams.errors import InputError, UnavailableError
from streams.page import preparing, viewing
from streams.page.drawing.zones import Looks
from streams.page.exporting import ABSENT, export
from streams.page.showing import number, table
from streams.queries.asking import OpenStore, open_store
from streams.queries.role import Role
from tests.page.asking import Visitor, cells
from tests.queries.pair import pair_of
from tests.snapshots.build import POLICY, event, row, store, stream, tagged

OFFICER = "privacy-officer"
ANSWER = "g1/answer/2"


@pytest.fixture(scope="module")
def played(home: Path) -> Path:
    return home / "lineage-store"


@pytest.fixture(scope="module")
def visitor(played: Path) -> Visitor:
    return Visitor(played, OFFICER, "analyst", "wearer:w1")


def silent(_: str) -> None:
    """Nobody is told how far it is."""


@pytest.mark.parametrize("role", [OFFICER, "analyst", "wearer:w1"])
def test_an_event_is_what_the_questions_say_of_it(visitor: Visitor, played: Path, role: str) -> None:
    told = visitor.get(f"/event/{ANSWER}.json", role).json
    with open_store(played, role=role) as asked:
        why, before = asked.why(ANSWER), asked.ancestors(ANSWER)
        after = asked.descendants(ANSWER, depth=2)
    plain = [list(map(str, each)) for each in (told["why"].items(), why.to_dict().items())]
    assert len(plain[0]) == len(plain[1])
    assert told["why"]["zone"] == why.to_dict()["zone"]
    assert [each["id"] for each in told["ancestors"]["ancestors"]] == [each.id for each in before.ancestors]
    assert told["descendants"]["made_of_it"] == dict(after.made_of_it)
    page = visitor.get(f"/event/{ANSWER}", role).text
    assert [line[1] for line in cells(page, "made-of")] == [each.id for each in before.ancestors]
    assert [line[0] for line in cells(page, "decisions")] == [each.sink for each in why.decisions]


def test_the_first_page_is_the_newest_answer(visitor: Visitor, played: Path) -> None:
    with open_store(played, role=OFFICER) as asked:
        latest = "SELECT max(t_first_ns) AS t_ns FROM events WHERE kind = 'answer'"
        (newest,) = asked.sql(latest).to_dicts()
        answer = visitor.get("/index.json", OFFICER).json["why"]["id"]
        source, name, first = answer.split("/")
        own = f"SELECT t_first_ns AS t_ns FROM events WHERE source = '{source}' AND stream = '{name}' AND \"first\" = {first}"  # noqa: E501
        assert asked.sql(own).to_dicts() == [newest]


def test_records_behind_a_count_are_as_many_as_it_says(visitor: Visitor) -> None:
    page = visitor.get(f"/event/{ANSWER}?up=3", OFFICER).text
    links = re.findall(
        r'<a href="(/event/[^"]*/records[^"]*)" class="words[^>]*><title>([\d,]+) events?', page
    )
    assert links
    for address, count in links:
        told = visitor.get(html.unescape(address).replace("/records", "/records.json"), OFFICER).json
        assert sum(each["events"] for each in told["records"]) == int(count.replace(",", ""))


def test_counts_of_the_loop_lead_to_that_many_examples(visitor: Visitor) -> None:
    generations = visitor.get("/loop.json", OFFICER).json["generations"]
    assert len(generations) > 5
    for generation in generations[:6]:
        for fed in generation["learned_from"]:
            if fed["of"]:
                address = f"/event/{generation['model']}/records.json?of={fed['of']}"
                assert len(visitor.get(address, OFFICER).json["records"]) == fed["examples"]


def test_a_refusal_says_why_and_who_may_change_it(visitor: Visitor) -> None:
    refused = visitor.get("/refusals.json", OFFICER).json["refusals"]
    at_training = [each for each in refused if each["sink"] == "training-run"]
    assert at_training
    page = visitor.get(f"/refusals?id={at_training[0]['id']}", OFFICER).text
    assert at_training[0]["rule"] in html.unescape(page)
    remedies = cells(page, "refused-0-remedies")
    assert any("declassify:" in remedy for remedy, _ in remedies)
    assert all(who for _, who in remedies)


def test_a_wearer_sees_only_herself(visitor: Visitor) -> None:
    assert visitor.get("/wearer/w1", "wearer:w1").status == 200
    assert visitor.get("/wearer/w2", "wearer:w1").status == 404
    own = visitor.get("/wearer/w1", "wearer:w1").text
    assert 'href="/wearer/w1/data"' in own
    assert 'href="/wearer/w1/data"' not in visitor.get("/wearer/w1", "analyst").text
    for role, status in ((OFFICER, 200), ("wearer:w1", 200), ("analyst", 404)):
        assert visitor.get("/wearer/w1/data", role).status == status
    assert visitor.get("/wearer/w2/data", "wearer:w1").status == 404
    data = visitor.get("/wearer/w1/data.json", "wearer:w1").json
    assert {each["source"] for each in data["streams"]} == {"g1"}
    held = visitor.get("/index.json", "wearer:w1").json["held"]
    assert {each["wearer"] for each in held} <= {"w1", ""}


def test_every_link_of_every_page_leads_somewhere(visitor: Visitor) -> None:
    pages = [
        "/",
        "/loop",
        "/zones",
        "/refusals",
        "/requirements",
        "/wearer/w1",
        "/inventory",
        "/policies",
        "/search",
    ]
    links = {
        html.unescape(link).partition("#")[0]
        for page in pages
        for link in re.findall(r'href="(/[^"]*)"', visitor.get(page, OFFICER).text)
    }
    kinds: dict[str, list[str]] = {}
    for link in sorted(links):
        kinds.setdefault(re.sub(r"=[^&]*|\d+", "", link), []).append(link)
    # Of links that are alike, two.
    for alike in kinds.values():
        for link in alike[:2]:
            assert visitor.get(link, OFFICER).status == 200, link


def test_the_live_page_tells_the_lag_and_is_read_once_for_many(
    played: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Mapping[int, int]] = []

    def lag(offsets: Mapping[int, int]) -> list[dict[str, object]]:
        asked.append(offsets)
        return [
            {
                "agent": "glasses",
                "topic": "glasses.captured",
                "partition": 0,
                "next_offset": 3,
                "end_offset": 10,
                "records": 7,
                "seconds": 1.5,
            }
        ]

    visitor = Visitor(played, OFFICER, "analyst", lag=lag)
    for _ in range(5):
        page = visitor.get("/live", OFFICER).text
    assert cells(page, "lag") == [["glasses", "glasses.captured", "0", "7", "1.5"]]
    assert len(asked) == 1
    assert asked[0], "with the store's next offsets"
    visitor.get("/live", "analyst")
    assert len(asked) == 2, "roles share nothing"
    monkeypatch.setattr(limits, "PAGE_LIVE_REFRESH_S", 0.0)
    monkeypatch.setattr(limits, "PAGE_LIVE_REST", 0)
    fresh = Visitor(played, OFFICER, lag=lag)
    for _ in range(2):
        fresh.get("/live", OFFICER)
    assert len(asked) == 4


def test_the_live_page_goes_on_where_the_broker_is_away(played: Path) -> None:
    def away(_: Mapping[int, int]) -> list[dict[str, object]]:
        raise UnavailableError("No Kafka answers at 127.0.0.1:9")

    reply = Visitor(played, OFFICER, lag=away).get("/live", OFFICER)
    assert (reply.status, "No Kafka answers at 127.0.0.1:9" in reply.text) == (200, True)


def test_an_export_is_whole_in_itself_and_shows_no_more_than_the_role(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pair_of(tmp_path)[0]
    officer = export(path, Role.of(OFFICER), tmp_path / "officer", silent)
    assert officer.pages > 20
    for file in (tmp_path / "officer").glob("*.html"):
        # She is shown health, which may not leave the store.
        assert "/imu/100" not in file.read_text(encoding="utf-8")
    exported = export(path, Role.of("analyst"), tmp_path / "out", silent)
    files = {file.name: file.read_text(encoding="utf-8") for file in (tmp_path / "out").glob("*.html")}
    assert exported.pages == len(files) - 1
    log = [orjson.loads(line) for line in (path / "reads.jsonl").read_bytes().splitlines()]
    assert len(log) > exported.pages, "every question of every page"
    assert {(each["role"], each["exported"]) for each in log} == {(OFFICER, True), ("analyst", True)}
    assert {"index.html", ABSENT} <= files.keys()
    for name, text in files.items():
        assert "<script" not in text
        for link in re.findall(r'(?:href|src)="([^"]*)"', text):
            target = unquote(link.partition("#")[0])
            assert target in {"", "data:,"} or (tmp_path / "out" / target).is_file(), f"{name}: {link}"
        for word in ("g2/", "secret", ">w2<"):
            assert word not in text
    monkeypatch.setattr(limits, "PAGE_EXPORT_PAGES_MAX", 9)
    assert export(path, Role.of("analyst"), tmp_path / "few", silent).pages == 9
    assert ABSENT in (tmp_path / "few" / "index.html").read_text(encoding="utf-8")
    with pytest.raises(InputError, match="found something of this name"):
        export(path, Role.of("analyst"), tmp_path / "few", silent)


def test_an_export_of_a_store_that_is_written_to_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = ({"events": [event("g1", "imu", n, 5, **tagged("imu"))]} for n in (0, 5))
    path = store(tmp_path / "s", {**first, "policies": [POLICY]})
    before, calls = viewing.looks_of, iter(range(100))

    def publishing(opened: OpenStore) -> Looks:
        if next(calls) == 2:
            store(path, second)
        return before(opened)

    monkeypatch.setattr(preparing, "looks_of", publishing)
    with pytest.raises(InputError, match="expected a store that is finished"):
        export(path, Role.of(OFFICER), tmp_path / "out", silent)


def test_what_a_table_does_not_show_is_counted() -> None:
    rows = list(range(limits.PAGE_ROWS_MAX + 5))
    made = table("t", "T", ("n",), rows, lambda each: (number(each),), more=7)
    assert (len(made.rows), made.more) == (limits.PAGE_ROWS_MAX, 12)


def test_a_drawing_of_more_than_a_thousand_boxes_is_cut_and_says_so(tmp_path: Path) -> None:
    count = limits.PAGE_BOXES_MAX + 200
    names = [f"imu-{n}" for n in range(count)]
    path = store(
        tmp_path / "s",
        {
            "events": [
                event("g1", "activity", 0, **tagged("imu") | {"kind": "activity"}),
                *(event("g1", name, 0, **tagged("imu")) for name in names),
            ],
            "edges": [
                row(
                    "edges",
                    child_source="g1",
                    child_stream="activity",
                    parent_source="g1",
                    parent_stream=name,
                    operator="activity",
                )
                for name in names
            ],
            "streams": [stream("g1", name) for name in ("activity", *names)],
            "policies": [POLICY],
        },
    )
    page = Visitor(path, OFFICER).get("/event/g1/activity/0", OFFICER).text
    assert len(re.findall(r'class="node [^"]*"', page)) == limits.PAGE_BOXES_MAX
    assert "at least 201 boxes are left out" in page
