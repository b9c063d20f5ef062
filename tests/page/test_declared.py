"""The pages that hold the store against a policy: the inventory, and two policies over the store."""

from __future__ import annotations

import html
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest

from streams import limits
from streams.policy.load import parse
from streams.queries.asking import open_store
from streams.snapshots.writer import Writer
from tests.page.asking import Visitor, cells
from tests.page.test_pages import OFFICER
from tests.queries.undeclared import UNDECLARED, made
from tests.snapshots.build import HOUSEHOLD, POLICY, T0_NS, tables


@pytest.fixture(scope="module")
def played(home: Path) -> Path:
    return home / "lineage-store"


def test_the_inventory_is_what_the_question_says(played: Path) -> None:
    visitor = Visitor(played, OFFICER, "analyst")
    for role in (OFFICER, "analyst"):
        with open_store(played, role=role) as asked:
            answer = asked.inventory()
        told = visitor.get("/inventory.json", role).json
        # Whoever asks adds to the reads.
        flows = [(each.standing, each.of, each.to) for each in answer.flows if each.how != "read by"]
        assert flows == [
            (each["standing"], each["of"], each["to"]) for each in told["flows"] if each["how"] != "read by"
        ]
        page = visitor.get("/inventory", role).text
        assert [row[0] for row in cells(page, "kinds")] == [each.kind for each in answer.kinds]
        assert [row[0] for row in cells(page, "words")] == [each.word for each in answer.words]
        assert ("Who read lineage is told to the privacy officer alone." in page) == (role == "analyst")
        assert "that nobody declared" not in page


def test_a_page_compares_two_policies_over_the_store(played: Path, tmp_path: Path) -> None:
    """What the newer policy denies at a sink is what the store says had passed there."""
    shutil.copytree(played, tmp_path / "s", symlinks=True)
    strict = HOUSEHOLD.text.index('name = "processing"')
    receives = HOUSEHOLD.text.index('receives = ["*"]', strict)
    text = HOUSEHOLD.text[:receives] + HOUSEHOLD.text[receives:].replace('["*"]', '["pd:Opinion"]', 1)
    newer = parse(text, "newer")
    writer = Writer.open(tmp_path / "s")
    try:
        writer.ingest_tables(tables({"policies": [POLICY | {"version": newer.version, "text": text}]}), T0_NS)
        writer.publish(T0_NS)
    finally:
        writer.close()
    with open_store(tmp_path / "s", role=OFFICER) as asked:
        statement = "SELECT zone, sum(count)::BIGINT AS events FROM decisions "
        statement += "WHERE sink = 'processing' AND passed GROUP BY zone"
        passed = {row["zone"]: row["events"] for row in asked.sql(statement).to_dicts()}
    visitor = Visitor(tmp_path / "s", OFFICER)
    address = f"/policies?version={newer.version}&against={HOUSEHOLD.version}"
    plain = visitor.get(address, OFFICER).text
    (link,) = re.findall(r'href="(/policies\?[^"#]*over=1)', plain)
    assert not cells(plain, "decided-otherwise")
    rows = cells(visitor.get(html.unescape(link), OFFICER).text, "decided-otherwise")
    denied = Counter[str]()
    for sink, zone, _, was, now, _, count, _ in rows:
        if (sink, was, now) == ("processing", "allow", "deny"):
            denied[zone] += int(count.replace(",", ""))
    assert denied == passed != {}


def test_a_page_compares_no_more_than_it_can(played: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PAGE_OVER_ROWS_MAX", 10)
    address = f"/policies?version={HOUSEHOLD.version}&against={HOUSEHOLD.version}&over=1"
    reply = Visitor(played, OFFICER).get(address, OFFICER)
    assert reply.status == 400
    assert "sightline policy diff OLD NEW --over STORE" in html.unescape(reply.text)
    assert Visitor(played, OFFICER).get(address.replace("over=1", "over=yes"), OFFICER).status == 400


def test_the_page_says_at_the_top_what_nobody_declared(tmp_path: Path) -> None:
    page = Visitor(made(tmp_path / "s", UNDECLARED), OFFICER).get("/inventory", OFFICER).text
    assert page.index("10 flows were observed that nobody declared.") < page.index("<section>")
    rows = cells(page, "undeclared")
    assert sorted((of, how, to) for of, how, to, *_ in rows) == sorted(flow.told for flow in UNDECLARED)
    assert [row[1] for row in cells(page, "unlabelled")] == ["partner.feed"]
