"""Requests of the page are counted by page and status, never by what was asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams import metrics
from tests.page.asking import Visitor
from tests.snapshots.build import POLICY, event, store, tagged


@pytest.fixture(autouse=True)
def empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics.PROCESS, "_values", {})


def requests() -> dict[tuple[str, ...], float]:
    return {
        labels: numbers[0]
        for name, _, sets in metrics.PROCESS.current()
        if name == "page_requests_total"
        for labels, numbers in sets.items()
    }


def test_requests_are_counted_by_page_and_status(tmp_path: Path) -> None:
    rows = {"events": [event("g1", "imu", 0, 5, **tagged("imu"))], "policies": [POLICY]}
    visitor = Visitor(store(tmp_path / "s", rows), "analyst")
    assert visitor.get("/zones", "analyst").status == 200
    assert visitor.get("/zones.json", "analyst").status == 200
    for number in range(3):
        assert visitor.get(f"/event/g1/secret/{number}", "analyst").status == 404
    assert visitor.get("/wearer/somebody", "analyst").status in (200, 404)
    assert visitor.get("/zones").status == 403
    assert visitor.get("/nothing-of-ours", "analyst").status == 404
    counted = requests()
    assert counted["/zones", "200"] == 2
    assert counted["/event/{source}/{stream}/{number}", "404"] == 3
    assert counted["other", "403"] == 1
    assert counted["other", "404"] == 1
    assert sum(counted.values()) == 8
    assert not any("secret" in page or "somebody" in page for page, _ in counted)
    assert metrics.read("page_request_seconds", page="/zones") > 0
