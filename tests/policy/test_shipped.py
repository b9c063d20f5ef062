"""Each shipped policy decides as its own file states.

It puts every event of the scenario `commute` into the zone that the scenario states.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from device_sim.__main__ import main as device_sim
from streams.cli.main import main as sightline
from streams.events.shipped import SHIPPED
from streams.policy import examples
from streams.policy import label as lattice
from streams.policy.attributes import Attributes
from streams.policy.diff import every_combination
from streams.policy.load import load
from streams.policy.policy import UNCONFIGURED, Policy
from streams.policy.source import POLICIES, bundle, shipped_names
from streams.topology import CROSSINGS

START_NS = "1790000000000000000"
#: Decisions of the wearer and the state of the device are about the wearer only, whoever is near.
OF_THE_WEARER_ALONE = {"consent_change", "erasure_request", "device_state"}
OF_THE_BODY = {"pd:Health", "pd:PhysicalHealth", "pd:Biometric", "local:Gaze"}
KEPT_FROM = ("ask:analyst", "export", "training-run", "glasses.models", "review")


def labelled(policy: Policy) -> list[tuple[Attributes, str, bytes]]:
    """Zone and label of every combination of attributes that a zone takes."""
    tags = [(attributes, policy.tag(attributes)) for attributes in every_combination()]
    return [(attributes, tag.zone, tag.label) for attributes, tag in tags if tag.zone != UNCONFIGURED]


@pytest.mark.parametrize("name", shipped_names())
def test_a_label_says_whoever_is_near(name: str) -> None:
    policy = load(name)
    for attributes, zone, packed in labelled(policy):
        if attributes.kind not in OF_THE_WEARER_ALONE:
            subjects = policy.vocabulary.says(packed)["subjects"]
            assert "minor" in subjects or not attributes.minor_near, (zone, attributes)
            assert "bystander" in subjects or attributes.people_near != "strangers", (zone, attributes)


@pytest.mark.parametrize("name", shipped_names())
def test_what_tells_of_the_body_of_strangers_or_of_children_stays_from_some_sinks_in_every_zone(
    name: str,
) -> None:
    policy = load(name)
    sinks = [sink for sink in KEPT_FROM if sink in policy.sinks]
    assert set(KEPT_FROM) - set(sinks) <= {"review"}
    seen = set()
    kinds: dict[str, list[bytes]] = {}
    for attributes, zone, packed in labelled(policy):
        kinds.setdefault(zone, []).append(packed)
        says = policy.vocabulary.says(packed)
        seen |= OF_THE_BODY & {*says["categories"]}
        if OF_THE_BODY & {*says["categories"]} or {"bystander", "minor"} & {*says["subjects"]}:
            for sink in sinks:
                assert policy.flow(zone, packed, sink).verdict == "deny", (zone, attributes, sink)
    assert seen == OF_THE_BODY
    # Data that is derived from such data is denied there too, because a join removes no category.
    some = lattice.join([policy.label_of("ppg", zone) or b"" for zone in kinds])
    for kind in (kind for kind in SHIPPED if not SHIPPED[kind].captured):
        for zone, labels in kinds.items():
            joined = policy.inherited_label(kind, (some, *labels))
            assert {policy.flow(zone, joined, sink).verdict for sink in sinks} == {"deny"}


@pytest.mark.parametrize("name", shipped_names())
def test_a_picture_of_people_without_the_light_goes_nowhere_but_to_rights_and_law(name: str) -> None:
    policy = load(name)
    free = {"dpv:LegalCompliance", "dpv:RightsFulfilment"}
    taken = [
        (zone, packed)
        for attributes, zone, packed in labelled(policy)
        if attributes.kind in {"camera_frame", "capture"}
        and not attributes.capture_light
        and (attributes.people_near != "nobody" or attributes.minor_near)
    ]
    assert {zone for zone, _ in taken} == {"unlit-camera"}
    for zone, packed in taken:
        for sink in policy.sinks.values():
            refused = policy.flow(zone, packed, sink.name).verdict == "deny"
            assert refused or sink.purpose in free, (zone, sink.name)
    lit = {zone for attributes, zone, _ in labelled(policy) if attributes.capture_light}
    assert "unlit-camera" not in lit


@pytest.mark.parametrize("name", shipped_names())
def test_what_nobody_may_look_at_is_what_is_restricted_or_private(name: str) -> None:
    policy = load(name)
    unseen = {
        zone
        for _, zone, packed in labelled(policy)
        if "local:NoHumanReview" in policy.vocabulary.says(packed)["obligations"]
    }
    assert unseen >= {zone.name for zone in policy.zones if zone.restricted}
    private = {
        "clinic": {"rounds", "off-duty"},
        "enterprise": {"private-life"},
        "household": {"home-private"},
    }
    assert unseen - {zone.name for zone in policy.zones if zone.restricted} == private[name]


def test_an_answer_given_in_a_clinic_reaches_the_wearer_and_nobody_else_learns_of_it() -> None:
    policy = load("household")
    asked = policy.label_of("voice_query", "health") or b""
    moved = policy.label_of("imu", "health") or b""
    answer = policy.inherited_label("answer", (asked, moved, policy.label_of("imu", "public") or b""))
    verdicts = {sink: policy.flow("health", answer, sink).verdict for sink in policy.sinks}
    assert "pd:Health" in policy.vocabulary.says(answer)["categories"]
    assert {sink for sink, verdict in verdicts.items() if verdict == "deny"} == {
        *KEPT_FROM,
        "glasses.consents",
    }


@pytest.mark.parametrize("name", shipped_names())
def test_a_policy_does_what_its_examples_say(name: str) -> None:
    policy = load(name)
    outcomes = examples.run(policy)
    assert [outcome.differences for outcome in outcomes] == [()] * len(outcomes)
    assert len(outcomes) >= 5
    said = {verdict for example in policy.examples for verdict in example.verdicts.values()}
    assert said == {"allow", "deny", "unconfigured"}
    assert set(CROSSINGS) <= policy.sinks.keys()
    assert all(zone.reason for zone in policy.zones)


@pytest.mark.parametrize("name", shipped_names())
def test_an_example_that_comes_out_otherwise_is_named_by_its_line(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"{name}.toml"
    before, test, after = (POLICIES / f"{name}.toml").read_text(encoding="utf-8").partition("[[tests]]")
    path.write_text(
        before + test + after.replace('zone = "', 'zone = "device" # it was "', 1), encoding="utf-8"
    )
    result = CliRunner().invoke(sightline, ["policy", "test", str(path)])
    assert result.exit_code == 1
    assert "verdicts come out otherwise" in result.stdout
    line = next(
        n for n, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1) if text == "[[tests]]"
    )
    assert str(line) in result.stdout


def test_a_bundle_is_the_policy_wherever_it_lies(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(bundle(POLICIES / "clinic.toml"), encoding="utf-8")
    assert load(str(path)).version == load("clinic").version


def test_every_event_of_an_evening_with_a_child_is_in_the_zone_that_the_scenario_says(tmp_path: Path) -> None:
    play_and_judge("family", "household", tmp_path, "69,392")


@pytest.mark.parametrize("policy", ["clinic", "enterprise"])
def test_every_event_of_the_commute_is_in_the_zone_that_the_scenario_says(
    policy: str, tmp_path: Path
) -> None:
    play_and_judge("commute", policy, tmp_path, "351,893")


def test_so_it_is_under_household(home: Path) -> None:
    judged(str(home / "journal"), str(home / "lineage-store"), "703,786")


def play_and_judge(scenario: str, policy: str, tmp_path: Path, events: str) -> None:
    journal, store = str(tmp_path / "journal"), str(tmp_path / "store")
    for command, arguments in (
        (
            device_sim,
            [
                "run",
                "--scenario",
                scenario,
                "--devices",
                "1",
                "--to",
                "file",
                "--journal",
                journal,
                "--policy",
                policy,
                "--start-ns",
                START_NS,
            ],
        ),
        (sightline, ["replay", journal, "--store", store, "--policy", policy]),
    ):
        assert CliRunner().invoke(command, arguments).exit_code == 0
    judged(journal, store, events)


def judged(journal: str, store: str, events: str) -> None:
    """Every decision has the same result again, and the ledger finds every event in its true zone."""
    for arguments in (["policy", "recheck", "--store", store], ["ledger", journal, "--store", store]):
        result = CliRunner().invoke(sightline, arguments)
        assert result.exit_code == 0, result.output
    assert f"{events} checked against the scenario, 0 differ" in result.stdout
