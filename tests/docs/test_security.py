"""docs/security.md speaks of every topic, and names tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

from streams.topology import TOPICS

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")


def test_every_topic_has_its_row() -> None:
    rows = [line for line in TEXT.splitlines() if line.startswith("| `glasses.")]
    named = {name for row in rows for name in re.findall(r"`(glasses\.\w+)`", row.split("|")[1])}
    assert named == {topic.name for topic in TOPICS}
    assert all("`tests/" in row for row in rows), "each says which test holds it"


def test_every_test_that_is_named_is_there() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", TEXT)
    assert len(named) > 15
    for path, function in named:
        text = (ROOT / path).read_text(encoding="utf-8")
        assert not function or f"def {function}(" in text, f"{path} has no {function}"
