"""The live page shows the alerts that stand, as far as the viewer's role may see them."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams import limits
from tests.page.asking import Visitor, cells
from tests.snapshots.build import stream
from tests.watching.growing import Time, decision, growing_store

OFFICER = "privacy-officer"


def test_the_live_page_shows_the_alerts_that_stand_for_the_role(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PAGE_LIVE_REFRESH_S", 0.0)
    monkeypatch.setattr(limits, "PAGE_LIVE_REST", 0)
    with growing_store(tmp_path / "store", Time(monkeypatch)) as store:
        visitor = Visitor(store.path, OFFICER, "analyst")
        assert "No alert stands." in visitor.get("/live", OFFICER).text
        refused = decision(
            "", "glasses.zoned", first=7, count=3, label="", passed=False, verdict="unconfigured"
        )
        store.publish(decisions=[refused], events=store.heard("g1"), streams=[stream("g1", "imu-right")])
        (row,) = cells(visitor.get("/live", OFFICER).text, "alerts")
        assert (row[0], row[3]) == ("unconfigured", "g1/imu-right/7")
        assert 'href="/event/g1/imu-right/7"' in visitor.get("/live", OFFICER).text
        (alert,) = visitor.get("/live.json", OFFICER).json["alerts"]
        assert (alert["rule"], alert["events"]) == ("unconfigured", 3)
        # Who is not shown what was refused without a zone is told of no alert on it.
        assert visitor.get("/live.json", "analyst").json["alerts"] == []
        assert any(
            "consent-late" in each for each in visitor.get("/live.json", "analyst").json["alerts_not_judged"]
        )
        pinned = visitor.get(f"/live?epoch={store.epoch}", OFFICER).text
        assert "Alerts are those of now" in pinned
