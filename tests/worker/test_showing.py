"""The model that serves and the zones of the policy in force are shown as they are when somebody looks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streams import metrics
from streams.models.registry import ModelTable
from streams.pipeline.followed import Followed
from streams.policy.load import parse
from streams.policy.versions import PolicyTable
from streams.worker.showing import Showing
from tests import build


@pytest.fixture(autouse=True)
def empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics.PROCESS, "_values", {})


def zones() -> dict[str, float]:
    return {
        labels[0]: numbers[0]
        for name, _, sets in metrics.PROCESS.current()
        if name == "zone_restricted"
        for labels, numbers in sets.items()
    }


def test_the_serving_model_is_shown() -> None:
    followed = build.followed()
    serving = followed.models.now.version(followed.models.now.serving)
    other = replace(serving, version=7, accuracy=0.25, trained_ns=5 * 10**9, retrain_by_ns=9 * 10**9)
    followed.models.now = replace(
        followed.models.now, versions={serving.version: serving, 7: other}, current=7, highest=7
    )
    Showing(followed).show()
    assert metrics.read("model_generation") == 7
    assert metrics.read("model_accuracy_ratio") == 0.25
    assert metrics.read("model_examples") == serving.manifest.examples > 0
    assert metrics.read("model_trained_timestamp_seconds") == 5
    assert metrics.read("model_retrain_by_timestamp_seconds") == 9
    followed.models.now = replace(followed.models.now, current=serving.version)
    Showing(followed).show()
    assert metrics.read("model_generation") == serving.version, "the pointer was set back"


def test_zones_are_those_of_the_policy_in_force() -> None:
    followed = build.followed()
    showing = Showing(followed)
    showing.show()
    household = build.policy()
    assert zones() == {zone.name: float(zone.restricted) for zone in household.zones}
    assert {0.0, 1.0} == set(zones().values())
    other = parse(household.text.replace('"public"', '"street"'), "another")
    versions = followed.policies.now
    followed.policies.now = replace(
        versions, versions={**versions.versions, other.version: other}, current=other.version
    )
    showing.show()
    assert "street" in zones()
    assert "public" not in zones(), "a zone that is gone is not shown any more"


def test_before_anything_is_read_nothing_is_shown() -> None:
    Showing(Followed(PolicyTable(), ModelTable())).show()
    assert not list(metrics.PROCESS.current())
