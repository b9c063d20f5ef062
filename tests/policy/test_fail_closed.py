"""If anything is missing or broken, the data is refused, with the reason.

This holds in enforcing and in logging mode.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from streams.consent.words import CLAIMED_CONSENT
from streams.errors import UnavailableError
from streams.events.record import Fetch, Outgoing
from streams.events.state import DeviceState
from streams.pipeline.devices import Devices
from streams.pipeline.live import LiveGlasses
from streams.pipeline.partition import PartitionState
from streams.policy.condition import Condition
from streams.policy.load import parse
from streams.policy.policy import Policy
from streams.policy.rules import Requirement
from streams.policy.versions import PolicyTable, PolicyVersions
from streams.policy.vocabulary import translate
from streams.topology import ANSWERS, CAPTURED, DERIVED, REJECTED, STORE, ZONED
from tests import build

MODES = ("enforcing", "logging")


def in_mode(mode: str) -> Policy:
    """Household with all zones in one mode."""
    return parse(build.policy().text.replace('mode = "enforcing"', f'mode = "{mode}"'), "test")


def run(policy: Policy, state: PartitionState | None = None, **around: Any) -> list[Outgoing]:
    """Records that the pipeline writes for a window of IMU samples and a query."""
    core = build.core()
    core.followed.policies = PolicyTable(PolicyVersions.of(build.policy(), policy))
    said = [
        build.imu(0.2, 0, 100, **around),
        build.query(0, "wake me at seven", build.T0_NS + 2 * 10**9, **around),
    ]
    return build.process(core, [build.fetch(said)], state)[0]


def passed(records: list[Outgoing]) -> list[str]:
    return [record.topic for record in records if record.topic in {ZONED, DERIVED, ANSWERS}]


def rules(records: list[Outgoing]) -> set[str]:
    """Rules of all refusals, in rejects or in decisions."""
    tables = build.lineage(records)
    return {row["rule"] for row in tables.get("decisions", ()) if not row["passed"]} | {
        row["rule"] for row in tables.get("rejected", ())
    }


@pytest.mark.parametrize("mode", MODES)
def test_all_of_it_passes_as_long_as_nothing_is_missing(mode: str) -> None:
    """Otherwise the tests below would prove nothing."""
    assert set(passed(run(in_mode(mode)))) == {ZONED, DERIVED, ANSWERS}


def without(mapping: Any, *keys: Any) -> dict[Any, Any]:
    return {key: value for key, value in mapping.items() if key not in keys}


REMOVED: dict[str, tuple[Callable[[Policy], Policy], str]] = {
    "the label of a kind": (
        lambda made: replace(
            made, labels={key: label for key, label in made.labels.items() if key[0] != "imu"}
        ),
        "kinds: the policy says nothing about imu",
    ),
    "a label that is cut": (
        lambda made: replace(made, labels={key: label[:7] for key, label in made.labels.items()}),
        "no label that this policy can read",
    ),
    "the sink of the zones": (
        lambda made: replace(made, sinks=without(made.sinks, ZONED)),
        f"no sink {ZONED}",
    ),
    "the sink of the store": (
        lambda made: replace(made, sinks=without(made.sinks, STORE)),
        f"no sink {STORE}",
    ),
    "every zone": (lambda made: replace(made, zones=()), "no zone's condition holds"),
    "a condition that fails": (
        lambda made: replace(made, zones=(structs.replace(made.zones[0], condition=Condition("place > 3")),)),
        "zones.rights.when does not type-check on these attributes",
    ),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("what", REMOVED)
def test_what_a_policy_lacks_is_refused_in_both_modes(what: str, mode: str) -> None:
    remove, rule = REMOVED[what]
    records = run(remove(in_mode(mode)))
    assert rule in rules(records)
    assert not [
        record for record in records if record.topic == ZONED and record.value and b'"imu"' in record.value
    ]
    assert any(record.topic == REJECTED for record in records)


@pytest.mark.parametrize("mode", MODES)
def test_a_requirement_that_cannot_be_decided_counts_as_broken(mode: str) -> None:
    made = in_mode(mode)
    broken = Requirement("odd", "", None, Condition("subjects > 3"), None)
    flow = replace(made, requirements=(broken,)).flow(
        "public", made.label_of("imu", "public") or b"", "store", CLAIMED_CONSENT
    )
    assert (flow.verdict, flow.passed, flow.rule) == ("deny", False, "requirements.odd")


@pytest.mark.parametrize("mode", MODES)
def test_a_derived_kind_without_a_label_is_not_derived(mode: str) -> None:
    made = in_mode(mode)
    records = run(replace(made, derived=without(made.derived, "activity")))
    assert (
        "label: none, since this policy says nothing about the kind or cannot say a parent's label"
        in rules(records)
    )
    assert not [
        record
        for record in records
        if record.topic == DERIVED and record.value and b'"kind":"activity"' in record.value
    ]


def test_a_word_that_another_policy_lacks_makes_a_label_that_passes_nowhere() -> None:
    made = build.policy()
    label = made.label_of("gaze", "public") or b""
    poorer = replace(
        made.vocabulary, categories=tuple(word for word in made.vocabulary.categories if word != "local:Gaze")
    )
    assert translate(label, made.vocabulary, poorer) == b""
    assert made.flow("public", b"", ZONED, CLAIMED_CONSENT).verdict == "unconfigured"


def test_a_policy_version_that_the_worker_has_not_read_stops_it() -> None:
    followed = build.followed()
    state = PartitionState(1, "0" * 16)
    core = LiveGlasses(replace(followed, policies=PolicyTable()))
    with pytest.raises(
        UnavailableError, match=r"policy version 0000000000000000 is not on glasses\.policies"
    ):
        build.step(core, state, Fetch(CAPTURED, 0, build.fetch([build.batch()]).records), silent=True)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (
            {"label": ""},
            "label: none, since this policy says nothing about the kind or cannot say a parent's label",
        ),
        (
            {"label": "00ff"},
            "label: none, since this policy says nothing about the kind or cannot say a parent's label",
        ),
        ({"zone": "nowhere"}, "zones: a parent's is none of this policy's"),
    ],
)
def test_a_state_that_lost_a_label_or_a_zone_derives_nothing(
    mode: str, change: dict[str, str], rule: str
) -> None:
    core = build.core(in_mode(mode))
    _, state = build.process(core, [build.fetch([build.imu(0.2, 0, 60)])])
    device = state.devices["g1"]
    windows = {
        operator: {stream: structs.replace(window, **change) for stream, window in opened.items()}
        for operator, opened in device.windows.items()
    }
    touched = replace(state, devices=Devices([("g1", structs.replace(device, windows=windows))]))
    records, _ = build.process(core, [build.fetch([build.ended(0, build.T0_NS + 10**9)], 1)], touched)
    assert rule in rules(records)
    assert DERIVED not in passed(records)


def test_a_state_that_nobody_can_read_is_an_error_and_not_an_empty_one() -> None:
    with pytest.raises(Exception, match=r"JSON|Invalid|malformed"):
        DeviceState.load(b"\xff{")
    with pytest.raises(Exception, match=r"unexpected|JSON|line"):
        build.core().restore(0, {"@partition": b"\xff"})
