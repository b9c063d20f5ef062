"""docs/policies.md shows what its commands answer today, to the letter.

`python -m tests.docs.test_policies` writes that into it.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import pytest

from streams.policy.load import load
from tests.test_docs import ROOT, printed, replayed, rewrite, shown

PAGE = ROOT / "docs" / "policies.md"
_TABLE = re.compile(r"(?<=\n\n)(?:\| word .*|LOCAL_WORDS)$", re.DOTALL)


def words() -> str:
    """The local words with their reasons, as a table."""
    rows = [f"| `{word}` | {reason} |" for word, reason in load("household").vocabulary.local.items()]
    return "\n".join(["| word | why DPV's words do not do |", "|---|---|", *rows, ""])


@pytest.mark.parametrize("command", list(shown(PAGE)))
def test_the_page_shows_what_is_printed_today(command: str, home: Path) -> None:
    assert shown(PAGE)[command] == printed(command, home)


def test_the_page_lists_every_local_word() -> None:
    assert PAGE.read_text(encoding="utf-8").endswith(words())


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="sightline-") as directory:
        rewrite(replayed(Path(directory)) / "lineage-store", PAGE)
    PAGE.write_text(
        _TABLE.sub(lambda _: words(), PAGE.read_text(encoding="utf-8").rstrip()), encoding="utf-8"
    )
