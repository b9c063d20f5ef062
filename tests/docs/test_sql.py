"""docs/sql.md shows what its questions answer today, to the letter.

`python -m tests.docs.test_sql` writes that into it.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import pytest

from tests.test_docs import ROOT, printed, replayed, rewrite, shown

PAGE = ROOT / "docs" / "sql.md"


@pytest.mark.parametrize("command", list(shown(PAGE)))
def test_the_page_shows_what_is_printed_today(command: str, home: Path) -> None:
    assert shown(PAGE)[command] == printed(command, home)
    assert len(shown(PAGE)[command].splitlines()) > 1, "a question without an answer teaches nothing"


def test_there_are_thirteen_questions_and_each_is_asked() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert re.findall(r"^## (\d+)\. .*\?$", text, re.MULTILINE) == [str(number) for number in range(1, 14)]
    assert len(shown(PAGE)) == 13


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="sightline-") as directory:
        rewrite(replayed(Path(directory)) / "lineage-store", PAGE)
