"""What a policy seals is told where it is checked, with what it costs, and owing it is a matter of labels."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from streams.cli.main import main
from streams.policy.load import load, parse
from streams.policy.policy import Policy
from streams.policy.possible import leaves_open, sealed_kinds
from streams.policy.source import shipped_names
from streams.topology import ANSWERS, DERIVED, EXAMPLES, ZONED
from tests import build

SPOKEN = build.sealing("voice-assistant")


def checked(policy: Policy, path: Path) -> dict[str, object]:
    (path / "policy.toml").write_text(policy.text, encoding="utf-8")
    told = CliRunner().invoke(main, ["policy", "check", str(path / "policy.toml"), "--json"])
    assert told.exit_code == 0, told.output
    answer: dict[str, object] = json.loads(told.stdout)
    return answer


def test_a_check_says_what_is_sealed_and_what_that_costs_for_sensors(tmp_path: Path) -> None:
    spoken = checked(SPOKEN, tmp_path)
    assert spoken["sealed beside examples"] == "voice-assistant: feedback, review, voice_query"
    assert "what sealing costs" not in spoken
    home = checked(build.sealing("home-private"), tmp_path)
    assert str(home["what sealing costs"]).startswith("audio_level, camera_frame, env, gaze, imu,")
    assert "269 bytes a batch of motion, not 107" in str(home["what sealing costs"])
    assert "sealed beside examples" not in checked(build.policy(), tmp_path)


def test_a_label_owes_it_from_its_zone_or_from_a_parent() -> None:
    owing, other = SPOKEN.labels["voice_query", "voice-assistant"], SPOKEN.labels["imu", "home-private"]
    made = [SPOKEN.inherited_label("situation", labels) for labels in ((owing, other), (other, other))]
    seals = {topic: [SPOKEN.seals(topic, label) for label in made] for topic in (DERIVED, ANSWERS)}
    assert seals == {DERIVED: [True, False], ANSWERS: [False, False]}
    assert (SPOKEN.seals(ZONED, owing), SPOKEN.seals(ZONED, other)) == (True, False)
    assert SPOKEN.seals(EXAMPLES, other)
    assert not SPOKEN.seals(ZONED, b"")


def test_a_sink_that_does_not_honour_it_gets_nothing_of_it() -> None:
    before, sink, after = SPOKEN.text.partition(f'name = "{ZONED}"')
    deaf = parse(before + sink + after.replace('"local:Sealed", ', "", 1), "a test")
    flow = deaf.flow("voice-assistant", deaf.labels["voice_query", "voice-assistant"], ZONED)
    assert (flow.verdict, flow.rule) == ("deny", "sinks.glasses.zoned: does not honour local:Sealed")


@pytest.mark.parametrize("name", shipped_names())
def test_no_policy_that_is_shipped_seals_more_than_examples(name: str) -> None:
    policy = load(name)
    assert not policy.seals_zones
    assert sealed_kinds(policy) == {}
    assert leaves_open(policy, ZONED)


def test_the_lines_that_the_documentation_shows_are_those_of_a_policy_that_seals() -> None:
    text = (Path(__file__).parents[2] / "docs" / "policies.md").read_text(encoding="utf-8")
    shown = text.partition('<a id="sealing"></a>')[2].partition("```toml\n")[2].partition("```")[0]
    lines = [line for line in shown.splitlines() if line]
    assert len(lines) == 7
    assert set(lines) <= set(SPOKEN.text.splitlines())
