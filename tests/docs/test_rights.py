"""docs/rights.md shows what its commands answer today, to the letter.

`python -m tests.docs.test_rights` writes that into it.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

import pytest

from streams.audit_log import AUDIT_LOG
from tests.cli.test_rights_consent import life, told
from tests.queries.fleet import commuters, fleet, permitting
from tests.test_docs import ROOT, printed, replayed, rewrite, shown

PAGE = ROOT / "docs" / "rights.md"
#: Commands that the page shows to be refused.
REFUSED = {
    "sightline rights export --wearer w1 --as access --out hers --role analyst",
    *(f"sightline export anonymised use.csv{of}" for of in ("", " --store home-store")),
}


#: Wearers of the stores of examples, by name.
FLEETS = {"fleet-store": 30, "home-store": 2}
_DIGEST = re.compile(r"\b[0-9a-f]{64}\b")
#: What needs a broker is shown of a life of consents that a test tells (`tests/cli/test_rights_consent.py`).
_CONSENT = re.compile(r"(```text\n\$ sightline rights consent [^\n]*\n)(.*?)(```)", re.DOTALL)


def alone(command: str, home: Path) -> str:
    """What a command prints over a store of which nobody has read yet: reads are flows, too.

    Tokens are others each time, and so is the digest of what has them.
    """
    with tempfile.TemporaryDirectory(prefix="sightline-") as directory:
        own = Path(directory) / "lineage-store"
        shutil.copytree(home / "lineage-store", own, symlinks=True, ignore=shutil.ignore_patterns(AUDIT_LOG))
        # What the page shows of the examples beside it is typed in a clone.
        (own.parent / "docs").symlink_to(ROOT / "docs")
        for name in FLEETS.keys() & set(command.split()):
            fleet(own.with_name(name), commuters(FLEETS[name]), permitting())
        return _DIGEST.sub("another each time", printed(command, own.parent, refused=command in REFUSED))


@pytest.mark.parametrize("command", list(shown(PAGE)))
def test_the_page_shows_what_is_printed_today(command: str, home: Path) -> None:
    assert shown(PAGE)[command] == alone(command, home)


def test_the_page_shows_a_life_of_consents() -> None:
    (block,) = _CONSENT.findall(PAGE.read_text(encoding="utf-8"))
    assert block[1] == told(life())


if __name__ == "__main__":
    whole = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(_CONSENT.sub(lambda match: match[1] + told(life()) + match[3], whole), encoding="utf-8")
    with tempfile.TemporaryDirectory(prefix="sightline-") as played:
        rewrite(replayed(Path(played)) / "lineage-store", PAGE, alone)
