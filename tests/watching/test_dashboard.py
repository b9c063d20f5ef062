"""The dashboard for Grafana: each panel asks for metrics that exist, and Prometheus's own tool takes it."""

from __future__ import annotations

import json
import re
import shutil
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from tests.watching.prometheus import BOARD, PANELS
from tests.watching.promtool import ALERTS, declares, promtool

ASKED = [(panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]]


def test_prometheus_takes_every_expression(tmp_path: Path) -> None:
    """Each stands as the expression of a rule; what Grafana fills in is filled in."""
    rules = [
        {"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "5m")}
        for number, (_, expression) in enumerate(ASKED)
    ]
    (tmp_path / "panels.yml").write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    assert f"SUCCESS: {len(ASKED)} rules found" in promtool(
        "check", "rules", "panels.yml", directory=tmp_path
    )


def test_the_compose_file_gives_prometheus_what_it_reads(tmp_path: Path) -> None:
    for name in ("prometheus.yml", ALERTS.name):
        shutil.copy(ALERTS.parent / name, tmp_path)
    assert "SUCCESS" in promtool("check", "config", "prometheus.yml", directory=tmp_path)
    read = dict(re.findall(r'targets: \["(\w+):(\d+)"\]', (tmp_path / "prometheus.yml").read_text()))
    compose = (ALERTS.parents[1] / "docker-compose.yml").read_text(encoding="utf-8")
    shown = dict(re.findall(r'"sightline", "(\w+)".*"--metrics-port", "(\d+)"', compose))
    assert read == shown != {}


@pytest.mark.parametrize(
    "name", sorted({name for _, asked in ASKED for name in re.findall(r"sightline_(\w+)", asked)})
)
def test_every_metric_exists(name: str) -> None:
    # The latter are the Prometheus client's own, of the process itself.
    assert declares(name) or name.startswith("process_")


def test_every_panel_has_a_title_words_a_unit_and_the_source_that_the_viewer_chose() -> None:
    (variable,) = BOARD["templating"]["list"]
    assert (variable["type"], variable["query"]) == ("datasource", "prometheus")
    source = {"type": "prometheus", "uid": f"${{{variable['name']}}}"}
    for panel in PANELS:
        assert panel["title"]
        assert panel["description"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["datasource"] == source
        assert all(target["datasource"] == source for target in panel["targets"])
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])


def test_no_panel_covers_another() -> None:
    def covered(panel: dict[str, Any]) -> set[tuple[int, int]]:
        place = panel["gridPos"]
        return {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }

    for one, other in combinations(BOARD["panels"], 2):
        assert not covered(one) & covered(other), (one["title"], other["title"])
    assert max(x for panel in BOARD["panels"] for x, _ in covered(panel)) == 23
