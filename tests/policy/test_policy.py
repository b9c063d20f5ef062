"""The household policy decides as its file states, and a typo gets an error with the correct word."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.consent.words import CLAIMED_CONSENT, NO_CONSENT
from streams.errors import InputError
from streams.events.shipped import SHIPPED
from streams.policy import label as lattice
from streams.policy.attributes import attributes_of
from streams.policy.flow import decide
from streams.policy.load import load, parse
from streams.policy.step import Step, Tagged
from tests import build

POLICY = build.policy()
LABEL = POLICY.label_of("imu", "public") or b""


@pytest.mark.parametrize(
    ("kind", "around", "zone"),
    [
        ("imu", {}, "home-private"),
        ("imu", {"place": "clinic"}, "health"),
        ("imu", {"place": "clinic", "people_near": "strangers"}, "health"),
        ("imu", {"place": "street"}, "public"),
        ("imu", {"place": "street", "people_near": "strangers"}, "bystander-present"),
        ("location", {"minor_near": True}, "child-near"),
        ("imu", {"place": "street", "people_near": "strangers", "minor_near": True}, "child-near"),
        ("imu", {"place": "clinic", "minor_near": True}, "health"),
        ("capture", {"people_near": "household"}, "unlit-camera"),
        ("camera_frame", {"place": "clinic", "people_near": "strangers"}, "unlit-camera"),
        ("camera_frame", {"minor_near": True, "capture_light": True}, "child-near"),
        ("camera_frame", {}, "home-private"),
        ("imu", {"people_near": "household"}, "home-private"),
        ("imu", {"place": "unknown"}, "unconfigured"),
        ("imu", {"consent": 0}, "unconfigured"),
        ("voice_query", {}, "voice-assistant"),
        ("voice_query", {"place": "unknown"}, "voice-assistant"),
        ("feedback", {"people_near": "strangers"}, "bystander-present"),
        ("device_state", {"consent": 0}, "device"),
        ("device_state", {"place": "clinic"}, "device"),
    ],
)
def test_zone(kind: str, around: dict[str, object], zone: str) -> None:
    around_it = build.context(**around)
    assert (
        POLICY.zone_of(
            attributes_of(kind, kind, around_it, CLAIMED_CONSENT if around_it.consent else NO_CONSENT)
        )[0]
        == zone
    )


@pytest.mark.parametrize(
    ("kind", "zone", "sink", "verdict"),
    [
        ("imu", "home-private", "glasses.zoned", "allow"),
        ("voice_query", "voice-assistant", "training-run", "allow"),
        ("voice_query", "bystander-present", "training-run", "deny"),
        ("voice_query", "bystander-present", "glasses.answers", "allow"),
        ("voice_query", "health", "training-run", "deny"),
        ("imu", "home-private", "nowhere", "unconfigured"),
    ],
)
def test_flow(kind: str, zone: str, sink: str, verdict: str) -> None:
    label = POLICY.label_of(kind, zone)
    assert label is not None
    assert POLICY.flow(zone, label, sink).verdict == verdict


def test_logging_mode_lets_a_deny_pass_but_neither_the_gate_nor_the_unconfigured() -> None:
    logging = POLICY.text.replace('mode = "enforcing"', 'mode = "logging"')
    before, sink, after = logging.partition('name = "glasses.zoned"')
    relaxed = parse(
        before + sink + after.replace("dpv:RequestedServiceProvision", "ai:ModelTraining", 1), "relaxed"
    )
    label = relaxed.label_of("imu", "health") or b""
    zoned, run = relaxed.flow("health", label, "glasses.zoned"), relaxed.flow("health", label, "training-run")
    assert (zoned.verdict, zoned.passed, run.verdict, run.passed) == ("deny", True, "deny", False)
    step = Step()
    for zone, packed in (("unconfigured", label), ("health", b""), ("nowhere", label)):
        assert decide(Tagged(build.batch(), zone, packed, "test"), ("glasses.zoned",), relaxed, step)
    assert [decision.verdict for decision in step.decisions] == ["unconfigured"] * 3


def test_derived_labels_tighten_and_the_declassifier_loosens_retention_only() -> None:
    parent = POLICY.label_of("voice_query", "voice-assistant") or b""
    derived = POLICY.inherited_label("answer", (parent, LABEL))
    assert not lattice.loosens(parent, derived)
    assert not lattice.loosens(LABEL, derived)
    model = POLICY.declassify("model-training", derived, 1)
    assert lattice.loosens(derived, model)
    before, after = lattice.unpack(derived), lattice.unpack(model)
    assert [name for name in before if before[name] != after[name]] == ["retention"]


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        (
            "people_near ==",
            "people_nere ==",
            r"line \d+: 'people_nere' is not something that this condition may .*did you mean 'people_near'",
        ),
        (
            "== 'strangers'",
            "== 'stranger'",
            r"'stranger' is a word that no attribute can have; did you mean 'strangers'",
        ),
        ('retention = "day"', 'retention = "dya"', "'dya' is not a retention class .*did you mean 'day'"),
        ('mode = "enforcing"', 'mode = "enforcd"', "'enforcd' is not a mode; did you mean 'enforcing'"),
        (
            'purpose = "ai:ModelTraining"',
            'purpose = "ai:ModelTrainig"',
            "is not a purpose .*did you mean 'ai:ModelTraining'",
        ),
        (
            "[kinds]\nimu",
            "[kinds]\nimuu",
            "'imuu' is not a kind of event, of ours or of a package that --extend names; did you mean 'imu'",
        ),
        (
            "rank = 50",
            "rank = 60",
            r"has rank 60 like the zone 'health', and both take an event with .*people_near = strangers",
        ),
        ("seed_zone", "seed_zoen", "'seed_zoen' is not a field of the policy; did you mean 'seed_zone'"),
        ("situation = {", "activity2 = {", "'activity2' is not a kind"),
        ("name = ", "name is ", "found text that is not TOML"),
        ("kind == 'voice_query' ||", "kind = 'voice_query' ||", "is not a CEL condition"),
    ],
)
def test_a_typo_is_named_with_the_nearest_right_word(right: str, wrong: str, message: str) -> None:
    assert right in POLICY.text
    with pytest.raises(InputError, match=r"mine\.toml.*" + message):
        parse(POLICY.text.replace(right, wrong), "mine.toml", kinds=SHIPPED)


def test_policy_by_path_and_by_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(POLICY.text, encoding="utf-8")
    assert load(str(path)).version == POLICY.version
    with pytest.raises(
        InputError,
        match="expected a path to a policy or one of the shipped ones: clinic, enterprise, household",
    ):
        load("houshold")


def test_a_label_is_said_in_the_policys_words() -> None:
    assert POLICY.describe(POLICY.label_of("imu", "home-private") or b"") == {
        "categories": "pd:Behavioral, local:Gait, pd:Household",
        "subjects": "wearer",
        "purposes": (
            "dpv:RequestedServiceProvision, dpv:ServicePersonalisation, ai:ModelTraining,"
            " dpv:ServiceOptimisation, dpv:LegalCompliance, dpv:RightsFulfilment"
        ),
        "regions": "household",
        "obligations": "local:NoHumanReview",
        "retention": "month (30 days)",
        "nature": "observed",
    }


def test_version_is_the_digest_of_the_content() -> None:
    assert parse(POLICY.text + "\n# a remark\n", "x").version != POLICY.version
