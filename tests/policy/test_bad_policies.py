"""A wrong policy gets an error sentence: where, what, and what to do.

The exit code is 2, and the policy in force does not change.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from streams.cli.main import main as sightline
from streams.errors import InputError, MalformedError
from streams.events.record import StoredRecord
from streams.policy.load import load
from streams.policy.source import POLICIES
from streams.policy.versions import CURRENT_KEY, PolicyTable, PolicyVersions, record_of
from streams.worker.checking import Checker
from tests import build

HOUSEHOLD = (POLICIES / "household.toml").read_text(encoding="utf-8")
HEALTH = "consent_given && kind != 'device_state' && place == 'clinic'"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("right", "wrong", "sentence"),
    [
        (
            '"pd:Health"]',
            '"pd:Helth"]',
            r"line \d+: 'pd:Helth' is not in the vocabulary's categories; did you mean 'pd:Health'\?",
        ),
        (HEALTH, "place == 'clinic' && kind > 2", r"line \d+: .*does not type-check"),
        (HEALTH, "place && true", "does not type-check"),
        (
            HEALTH,
            "place == 'clinic' && place == 'home'",
            "can never hold, so nothing comes into the zone health; change it or take",
        ),
        (
            HEALTH,
            "consent_given && kind == 'consent_change'",
            "holds only where zones of higher rank hold too",
        ),
        (
            "rank = 60",
            "rank = 50",
            (
                r"'bystander-present' has rank 50 like the zone 'health', and both take an event with "
                r".*place = clinic"
            ),
        ),
        ("rank = 60", 'rank = "60"', "'rank' of zone health is str, expected int"),
        (
            'name = "glasses.derived"',
            'name = "glasses.derive"',
            "'glasses.derived' is a place that data crosses into and that no sink",
        ),
        (
            'deny = ["export"]',
            'deny = ["exprt"]',
            "'exprt' is not a sink that this policy declares; did you mean 'export'",
        ),
        (
            "when = \"'bystander' in subjects\"",
            "when = \"'bystander' in subjects && nature == 'provided' && nature == 'observed'\"",
            (
                "holds for no label that this policy can give, so the requirement"
                " bystanders-are-only-answered-about asks for nothing"
            ),
        ),
        (
            "when = \"'bystander' in subjects\"",
            "when = \"'bystandr' in subjects\"",
            "'bystandr' is a word that nothing here can be",
        ),
        ("when = \"'bystander' in subjects\"", 'when = "subjects > 3"', "does not type-check"),
        (
            'imports = ["vocabulary/glasses.toml"]',
            'imports = ["vocabulary/goggles.toml"]',
            r"'vocabulary/goggles.toml' is no file beside it",
        ),
        (
            'imports = ["vocabulary/glasses.toml"]',
            'imports = "vocabulary/glasses.toml"',
            "'imports' is no list of file names",
        ),
        (
            'regions = ["household", "eu"]\n\n',
            'regions = ["household", "eu"]\nobligations = ["local:Silence"]\n\n',
            "'local:Silence' is a local word that vocabulary.local does not explain",
        ),
        (
            'regions = ["household", "eu"]\n\n',
            'regions = ["household", "eu"]\npurposes = ["training"]\n\n',
            "'training' is no CURIE of DPV",
        ),
        ('name = "public"', 'name = "device"', "'device' stands twice in zones"),
        (
            'receives = ["pd:PrivacyPreference"]',
            'receives = ["pd:PrivacyPreference"]\nbut_not = ["pd:Health"]',
            r"line \d+: 'but_not' of sink glasses.consents stands beside a list of categories, expected rec",
        ),
        (
            'but_not = ["pd:Health", ',
            'but_not = ["pd:Helth", ',
            r"line \d+: 'pd:Helth' is not in the vocabulary's categories; did you mean 'pd:Health'\?",
        ),
        (
            'receives = ["pd:PrivacyPreference"]',
            'receives = ["pd:PrivacyPreference"]\nkeys_for = ["a study"]',
            r"line \d+: 'a study' is no name, expected ASCII letters",
        ),
        (
            'receives = ["pd:PrivacyPreference"]',
            'receives = ["pd:PrivacyPreference"]\nkeys_for = [7]',
            r"line \d+: 'keys_for' of sink glasses.consents has what is no name, expected a list of names",
        ),
        (
            'when_overdue = "warn"',
            'when_overdue = "wran"',
            r"line \d+: 'wran' is not what an overdue review can do; did you mean 'warn'\?",
        ),
        ("ahead_s = 3600", "ahead_s = -1", r"line \d+: 'ahead_s' is -1, expected 0 to 604800"),
        ("ahead_s = 3600", "ahead_s = 604801", r"line \d+: 'ahead_s' is 604801, expected 0 to 604800"),
        ("ahead_s = 3600", "ahead_s = 1.5", r"line \d+: 'ahead_s' of the table clock is float, expected int"),
        ("old_days = 30", "old_days = 0", r"line \d+: 'old_days' is 0, expected 1 to 3650"),
        ("old_days = 30", "old_days = 3651", r"line \d+: 'old_days' is 3651, expected 1 to 3650"),
        (
            "old_days = 30",
            "old_day = 30",
            r"'old_day' is not a field of the table clock; did you mean 'old_days'",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, right: str, wrong: str, sentence: str) -> None:
    assert right in HOUSEHOLD
    path = written(tmp_path, HOUSEHOLD.replace(right, wrong, 1))
    with pytest.raises(InputError, match=sentence) as caught:
        load(str(path))
    assert str(caught.value).startswith(str(path))
    result = CliRunner().invoke(sightline, ["policy", "check", str(path)])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"sightline: {path}")


def test_files_that_import_one_another_are_named_in_order(tmp_path: Path) -> None:
    for name, imports in (("a", "b"), ("b", "c"), ("c", "b")):
        (tmp_path / f"{name}.toml").write_text(f'imports = ["{imports}.toml"]\n', encoding="utf-8")
    with pytest.raises(
        InputError, match=r"imports itself: b\.toml -> c\.toml -> b\.toml; take one of these imports out"
    ):
        load(str(tmp_path / "a.toml"))


async def test_a_wrong_policy_on_the_topic_leaves_what_is_in_force() -> None:
    policies = PolicyTable(PolicyVersions.of(build.policy()))
    in_force = policies.now.current
    key, value = record_of(build.policy())
    for at, bad in enumerate(
        (
            (key, value.replace(b"people_near", b"people_nere")),
            (b"policy/x", value),
            (CURRENT_KEY, b'{"version":"nobody"}'),
        )
    ):
        with pytest.raises(MalformedError):
            await policies.learn(StoredRecord(at, 0, *bad), Checker())
        assert (policies.now.current, set(policies.now.versions)) == (in_force, {in_force})
