"""docs/sql.md shows what its questions answer today, to the letter.

`python -m tests.docs.test_sql` writes that into it.
"""

from __future__ import annotations

import re
import shlex
import tempfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from streams.cli.main import main
from tests.test_docs import ROOT, replayed, rewrite, shown

PAGE = ROOT / "docs" / "sql.md"


@pytest.mark.parametrize("command", list(shown(PAGE)))
def test_the_page_shows_what_is_printed_today(
    command: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process: the commands of the other pages are run as a person does."""
    monkeypatch.chdir(home)
    program, *arguments = shlex.split(command)
    result = CliRunner().invoke(main, [*arguments, "--role", "privacy-officer"])
    assert (program, result.exit_code) == ("sightline", 0), result.stderr
    assert shown(PAGE)[command] == result.stdout
    assert len(shown(PAGE)[command].splitlines()) > 1, "a question without an answer teaches nothing"


def test_there_are_twenty_three_questions_and_each_is_asked() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert re.findall(r"^## (\d+)\. .*\?$", text, re.MULTILINE) == [str(number) for number in range(1, 24)]
    assert len(shown(PAGE)) == 23


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="sightline-") as directory:
        rewrite(replayed(Path(directory)) / "lineage-store", PAGE)
