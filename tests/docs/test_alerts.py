"""The page about alerts says what the alert rules say, and the thresholds that they have."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from msgspec import to_builtins

from streams.watching.rules import RULES
from streams.watching.thresholds import Thresholds, read_thresholds

PAGE = (Path(__file__).parents[2] / "docs" / "alerts.md").read_text(encoding="utf-8")


def test_the_table_is_that_of_the_rules() -> None:
    rows = re.findall(r"^\| ([a-z][a-z-]+) \| (.+) \| (.+) \|$", PAGE, re.MULTILINE)
    assert [row for row in rows if row[0] != "alert"] == [
        (rule.name, rule.stands, rule.advice) for rule in RULES
    ]


def test_the_file_that_it_shows_is_what_is_shipped_and_names_everything(tmp_path: Path) -> None:
    (text,) = re.findall(r"```toml\n(.+?)```", PAGE, re.DOTALL)
    (tmp_path / "rules.toml").write_text(text)
    shown = to_builtins(read_thresholds(tmp_path / "rules.toml"))
    shipped = to_builtins(Thresholds())
    assert shown.pop("new-flow") == {**shipped.pop("new-flow"), "known": ("health -> store",)}
    assert shown == shipped
    named = {(table, name) for table, values in tomllib.loads(text).items() for name in values}
    there = {(table, name) for table, values in to_builtins(Thresholds()).items() for name in values}
    # That a rule can be off is shown once.
    assert {each for each in there - named if each[1] != "off"} == set()
