"""Examples of a policy file: a fault in one names the line of that example, whatever the file imports."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.errors import InputError
from streams.policy.examples import run
from streams.policy.load import load

# The words of the examples stand further up too, in a comment and as names.
FILE = """# The imu, and activity.
name = "mine"
imports = ["household.toml"]
about = "As the household."
served_purposes = ["dpv:RequestedServiceProvision"]
seed_zone = "public"

[[tests]]
event = { kind = "imu" }
zone = "home-private"

[[tests]]
event = { kind = "KIND", place = "PLACE" }
zone = "ZONE"
"""
RIGHT = {"KIND": "imu", "PLACE": "home", "ZONE": "home-private"}


def written(directory: Path, **changes: str) -> Path:
    text = FILE
    for name, value in {**RIGHT, **changes}.items():
        text = text.replace(name, value)
    path = directory / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_an_example_has_the_line_at_which_it_begins_in_its_own_file(tmp_path: Path) -> None:
    policy = load(str(written(tmp_path, ZONE="public")))
    (other,) = [outcome for outcome in run(policy) if outcome.differences]
    lines = FILE.splitlines()
    assert [lines[example.line - 1] for example in policy.examples[-2:]] == ["[[tests]]"] * 2
    assert other.example.line == policy.examples[-1].line == lines.index('zone = "ZONE"') - 1


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"KIND": "activity"}, "'activity' is not a captured kind that this policy labels"),
        ({"PLACE": "mine"}, "'mine' is not a value that place can have"),
    ],
)
def test_a_wrong_word_is_named_where_the_example_has_it(
    tmp_path: Path, changes: dict[str, str], sentence: str
) -> None:
    line = 1 + next(number for number, text in enumerate(FILE.splitlines()) if "KIND" in text)
    with pytest.raises(InputError, match=rf"mine\.toml, line {line}: {sentence}"):
        load(str(written(tmp_path, **changes)))
