"""docs/rights.md shows what its commands answer today, to the letter.

`python -m tests.docs.test_rights` writes that into it.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest

from streams.queries.audit import AUDIT_LOG
from tests.test_docs import ROOT, printed, replayed, rewrite, shown

PAGE = ROOT / "docs" / "rights.md"


def alone(command: str, home: Path) -> str:
    """What a command prints over a store of which nobody has read yet: reads are flows, too."""
    with tempfile.TemporaryDirectory(prefix="sightline-") as directory:
        own = Path(directory) / "lineage-store"
        shutil.copytree(home / "lineage-store", own, symlinks=True, ignore=shutil.ignore_patterns(AUDIT_LOG))
        # What the page shows of the examples beside it is typed in a clone.
        (own.parent / "docs").symlink_to(ROOT / "docs")
        return printed(command, own.parent)


@pytest.mark.parametrize("command", list(shown(PAGE)))
def test_the_page_shows_what_is_printed_today(command: str, home: Path) -> None:
    assert shown(PAGE)[command] == alone(command, home)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="sightline-") as played:
        rewrite(replayed(Path(played)) / "lineage-store", PAGE, alone)
