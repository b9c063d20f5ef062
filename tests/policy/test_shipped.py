"""The shipped policies: each does what its own file says.

It puts every event of the commute into the zone that the scenario says.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from device_sim.__main__ import main as device_sim
from streams.cli.main import main as sightline
from streams.policy import examples
from streams.policy.load import load
from streams.policy.source import POLICIES, bundle, shipped_names
from streams.topology import CROSSINGS

START_NS = "1790000000000000000"


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


@pytest.mark.parametrize("policy", ["clinic", "enterprise"])
def test_every_event_of_the_commute_is_in_the_zone_that_the_scenario_says(
    policy: str, tmp_path: Path
) -> None:
    journal, store = str(tmp_path / "journal"), str(tmp_path / "store")
    for command, arguments in (
        (
            device_sim,
            [
                "run",
                "--scenario",
                "commute",
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
    judged(journal, store, "351,893")


def test_so_it_is_under_household(home: Path) -> None:
    judged(str(home / "journal"), str(home / "lineage-store"), "703,786")


def judged(journal: str, store: str, events: str) -> None:
    """Every decision comes out again, and the ledger finds every event in its true zone."""
    for arguments in (["policy", "recheck", "--store", store], ["ledger", journal, "--store", store]):
        result = CliRunner().invoke(sightline, arguments)
        assert result.exit_code == 0, result.output
    assert f"{events} checked against the scenario, 0 differ" in result.stdout
