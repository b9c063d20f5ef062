"""The file that changes thresholds, and every way in which it can be wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.errors import InputError
from streams.watching.rules import RULES
from streams.watching.thresholds import Thresholds, read_thresholds


def test_the_fields_are_the_rules() -> None:
    assert [name.replace("_", "-") for name in Thresholds.__struct_fields__] == [rule.name for rule in RULES]


def test_what_a_file_names_is_changed_and_the_rest_stays(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(
        "[new-flow]\nlearned_s = 60\nknown = ['health -> review']\n[no-epoch]\noff = true\n"
        "[feedback-bad]\nbad_min = 0.25\nevents_min = 7\n"
    )
    thresholds = read_thresholds(path)
    assert thresholds.new_flow.learned_s == 60
    assert thresholds.new_flow.known == ("health -> review",)
    assert thresholds.new_flow.shown_s == Thresholds().new_flow.shown_s
    assert thresholds.no_epoch.off
    assert (thresholds.feedback_bad.bad_min, thresholds.feedback_bad.events_min) == (0.25, 7)
    assert thresholds.disk_filling == Thresholds().disk_filling


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[new_flow]\n", "[new_flow]: there is no setting 'new_flow'; the nearest is new-flow"),
        ("no-epoch = 5\n", "no-epoch: found a value, expected a table [no-epoch]"),
        ("[no-epoch]\nsilent = 5\n", "[no-epoch] there is no setting 'silent'; the nearest is silent_s"),
        ("[no-epoch]\nsilent_s = 'x'\n", "silent_s: found another value, expected a number from 0 to"),
        ("[no-epoch]\nsilent_s = -1\n", "seconds"),
        ("[no-epoch]\nsilent_s = nan\n", "seconds"),
        ("[no-epoch]\nsilent_s = inf\n", "seconds"),
        ("[no-epoch]\nsilent_s = true\n", "seconds"),
        ("[no-epoch]\noff = 1\n", "expected true or false"),
        ("[feedback-bad]\nbad_min = 50\n", "from 0 to 1, a share"),
        ("[feedback-bad]\nevents_min = 1.5\n", "a whole number from 0 to"),
        ("[lineage-incomplete]\nsettling_s = '10'\n", "a number from 0 to"),
        ("[new-flow]\nknown = ['health']\n", 'a list such as ["health -> store"]'),
        ("[new-flow]\nknown = 'health -> store'\n", 'a list such as ["health -> store"]'),
        ("[new-flow\n", "is no TOML"),
        ("x = '" + "y" * 70_000 + "'\n", "found more than 65536 bytes"),
    ],
)
def test_a_wrong_file_is_refused_with_its_place(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(text)
    with pytest.raises(InputError) as refused:
        read_thresholds(path)
    assert str(refused.value).startswith(f"{path}: ")
    assert words in str(refused.value)


def test_a_file_that_is_not_there_or_is_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read as alert rules"):
        read_thresholds(tmp_path / "absent.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="cannot be read as alert rules"):
        read_thresholds(tmp_path / "bytes.toml")
