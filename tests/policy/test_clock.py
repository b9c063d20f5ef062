"""How far a device's clock is trusted: within the window of the policy, or within the default window."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from streams.errors import InputError
from streams.policy.load import load, parse
from streams.policy.policy import DAY_NS
from streams.policy.source import POLICIES, bundle, shipped_names

HOUR_NS = DAY_NS // 24
CLOCK = "[clock]\nahead_s = 3600\nold_days = 30\n"


@pytest.mark.parametrize(
    ("written", "ahead_ns", "old_ns"),
    [
        ("", HOUR_NS, 30 * DAY_NS),
        ("[clock]\n", HOUR_NS, 30 * DAY_NS),
        ("[clock]\nahead_s = 0\n", 0, 30 * DAY_NS),
        ("[clock]\nold_days = 3650\n", HOUR_NS, 3650 * DAY_NS),
        ("[clock]\nahead_s = 604800\nold_days = 1\n", 7 * DAY_NS, DAY_NS),
    ],
)
def test_the_window_is_what_the_table_says(written: str, ahead_ns: int, old_ns: int) -> None:
    text = bundle(POLICIES / "household.toml")
    assert CLOCK in text
    policy = parse(text.replace(CLOCK, written), "mine")
    assert (policy.clock_ahead_ns, policy.clock_old_ns) == (ahead_ns, old_ns)


@pytest.mark.parametrize("name", shipped_names())
def test_each_shipped_policy_says_its_window(name: str) -> None:
    policy = load(name)
    assert CLOCK in policy.text
    assert (policy.clock_ahead_ns, policy.clock_old_ns) == (HOUR_NS, 30 * DAY_NS)


def test_a_file_that_is_imported_may_set_it_and_two_may_not(tmp_path: Path) -> None:
    vocabulary = (POLICIES / "vocabulary" / "glasses.toml").read_text(encoding="utf-8")
    (tmp_path / "words.toml").write_text(vocabulary + "\n[clock]\nahead_s = 60\n", encoding="utf-8")
    text = (POLICIES / "household.toml").read_text(encoding="utf-8").replace("vocabulary/glasses", "words")
    mine = tmp_path / "mine.toml"
    mine.write_text(text.replace(CLOCK, ""), encoding="utf-8")
    assert load(str(mine)).clock_ahead_ns == HOUR_NS // 60
    mine.write_text(text, encoding="utf-8")
    with pytest.raises(
        InputError,
        match=rf"^{re.escape(str(mine))}, line \d+: '\[clock\]' stands in .*words\.toml too, expected",
    ):
        load(str(mine))
