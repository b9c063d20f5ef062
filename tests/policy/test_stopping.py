"""What is said to stop is what the pipeline decides otherwise once the wearer has taken it back."""

from __future__ import annotations

from collections import defaultdict

import pytest

from streams.events.record import Outgoing
from streams.events.shipped import SHIPPED
from streams.policy.load import load, parse
from streams.policy.policy import Policy
from streams.policy.source import shipped_names
from streams.policy.stopping import stopped
from streams.queries.declared import SHIPPED_SYSTEM, asks_consent, labels_of, refused
from streams.topology import CROSSINGS, EXPORT, MODELS, REVIEW, TRAINING_RUN
from tests import build
from tests.consent.test_consents import BOTH, SERVICE, TRAINING, change, core, run

HOUSEHOLD = load("household")


def stops(policy: Policy, gone: set[str], left: set[str]) -> dict[str, tuple[set[str], set[str]]]:
    rows = stopped(policy, asks_consent(policy, SHIPPED_SYSTEM), gone, left)
    return {row.sink: (set(row.zones), set(row.goes_on)) for row in rows}


def passes(records: list[Outgoing]) -> dict[str, set[str]]:
    """Sinks into which something passed, with the zones that it was of."""
    zones = defaultdict(set)
    for row in build.lineage(records)["decisions"]:
        if row["passed"] and row["wearer"]:
            zones[row["sink"]].add(row["zone"])
    return zones


def test_a_day_with_a_withdrawal_inside_stops_where_it_is_said() -> None:
    """Samples, a question and what is kept of the device, before and after everything is taken back."""
    day = [*(build.batch(first=20 * number) for number in range(20)), build.batch("device_state", count=1)]
    before = passes(run([change(1, "Given", BOTH), *day], core()))
    after = passes(run([change(1, "Given", BOTH), change(2, "Withdrawn", event=1), *day], core()))
    told = stops(HOUSEHOLD, {SERVICE, TRAINING}, set())
    assert before.keys() >= {"glasses.zoned", "processing", "glasses.derived", "store"}
    lost = {(sink, zone) for sink, zones in before.items() for zone in zones - after.get(sink, set())}
    assert ("processing", "home-private") in lost
    assert lost <= {(sink, zone) for sink, (zones, _) in told.items() for zone in zones}
    still = {(sink, zone) for sink, zones in after.items() for zone in zones}
    assert ("processing", "device") in still
    assert not still & {(sink, zone) for sink, (zones, _) in told.items() for zone in zones}


def test_training_alone_stops_if_that_is_all_she_took_back() -> None:
    assert stops(HOUSEHOLD, {TRAINING}, {SERVICE}) == {
        TRAINING_RUN: ({"home-private", "public", "voice-assistant"}, set())
    }
    assert stops(HOUSEHOLD, set(), {SERVICE, TRAINING}) == {}


@pytest.mark.parametrize("name", shipped_names())
def test_what_goes_on_needs_no_consent_or_only_logs(name: str) -> None:
    policy = load(name)
    purposes = {sink.purpose for sink in policy.sinks.values()}
    told = stops(policy, purposes, set())
    for sink, (zones, goes_on) in told.items():
        enforced = policy.sinks[sink].always_enforced or sink == TRAINING_RUN
        for each in map(policy.zones_by_name.__getitem__, zones):
            assert sink == TRAINING_RUN or not each.without_consent
            assert enforced or each.mode == "enforcing"
        for each in map(policy.zones_by_name.__getitem__, goes_on):
            assert each.without_consent or each.mode == "logging"
            assert sink != TRAINING_RUN
    # Everything that is declared and needs a consent is among it.
    assert {sink for sink in told if sink not in (*CROSSINGS, REVIEW)} == set()
    assert not {MODELS, EXPORT} & told.keys()
    for zone, label, sink in asks_consent(policy, SHIPPED_SYSTEM):
        assert not refused(policy, zone, label, sink)
        if not policy.zones_by_name[zone].without_consent and policy.zones_by_name[zone].mode == "enforcing":
            assert zone in told[sink][0]


def test_a_zone_that_only_logs_goes_on() -> None:
    head, zone, rest = HOUSEHOLD.text.partition('name = "public"')
    logging = parse(head + zone + rest.replace('mode = "enforcing"', 'mode = "logging"', 1), "logging")
    told = stops(logging, {SERVICE, TRAINING}, set())
    assert "public" in told["processing"][1]
    # The gate enforces whatever the zone's mode.
    assert "public" in told[TRAINING_RUN][0]


def test_training_needs_a_consent_whatever_the_zone() -> None:
    head, zone, rest = HOUSEHOLD.text.partition('name = "public"\n')
    free = parse(f"{head}{zone}without_consent = true\n{rest}", "free")
    told = stops(free, {SERVICE, TRAINING}, set())
    assert "public" in told["processing"][1]
    assert "public" in told[TRAINING_RUN][0]


def test_a_reviewer_is_shown_nothing_but_questions() -> None:
    asked = labels_of(HOUSEHOLD, SHIPPED_SYSTEM, SHIPPED["voice_query"])
    flows = {
        (flow.zone, flow.label) for flow in asks_consent(HOUSEHOLD, SHIPPED_SYSTEM) if flow.sink == REVIEW
    }
    assert flows
    assert flows <= set(asked.items())
