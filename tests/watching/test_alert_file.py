"""The alerts for Prometheus: judged by its own tool, on metrics that exist, and the same rules as ours."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from streams.watching.rules import RULES
from tests.watching.promtool import ALERTS, CASES, declares, promtool

TEXT = ALERTS.read_text(encoding="utf-8")


def test_each_alert_fires_and_stays_quiet_as_the_cases_say(tmp_path: Path) -> None:
    for path in (ALERTS, CASES):
        shutil.copy(path, tmp_path)
    assert "SUCCESS" in promtool("check", "rules", ALERTS.name, directory=tmp_path)
    assert "SUCCESS" in promtool("test", "rules", CASES.name, directory=tmp_path)


@pytest.mark.parametrize("alert", re.findall(r"- alert: (\w+)", TEXT))
def test_each_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not(alert: str) -> None:
    cases = CASES.read_text(encoding="utf-8")
    assert re.search(rf"alertname: {alert}, exp_alerts: \[\]", cases)
    assert re.search(rf"alertname: {alert}(?:, |\n +)exp_alerts: ?[\n&*]", cases)


def test_each_rule_has_an_alert_and_each_alert_belongs_to_a_rule() -> None:
    assert set(re.findall(r"rule: ([a-z-]+)\}", TEXT)) == {rule.name for rule in RULES}


@pytest.mark.parametrize("name", sorted(set(re.findall(r"sightline_(\w+)", TEXT))))
def test_every_metric_exists(name: str) -> None:
    assert declares(name), f"observability/alerts.yml names sightline_{name}"
