"""docs/rights.md shows what its commands answer today, to the letter.

`python -m tests.docs.test_rights` writes that into it.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import shutil
import tempfile
from pathlib import Path

import click
import pytest
from msgspec import structs

from streams import clock
from streams.audit_log import AUDIT_LOG
from streams.cli.rights import command as rights
from streams.cli.rights.planning import say_plan
from streams.cli.rights.scope import asked_scope
from streams.consent.erased import ErasedPlace, ErasedTime
from streams.limits import TIME_NS_MAX
from streams.models.version import CURRENT_KEY, ModelVersion
from streams.queries.stays import rows_in, stays_of
from streams.queries.store import Store
from streams.worker.erasure import Plan
from streams.worker.made_there import made_there
from tests import build
from tests.build import T0_NS
from tests.cli.running import TREE, options, path_of
from tests.cli.test_rights_consent import life, told
from tests.kafka.test_erase_of_place import Life
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
#: The same of an hour with a stay at a cafe, which is erased in `tests/kafka/test_erase_of_place.py`.
_PLACE = re.compile(r"(```text\n\$ sightline rights erase [^\n]* --dry-run\n)(.*?)(```)", re.DOTALL)


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


def planned() -> str:
    """What the dry run says of that life: of its topics what they have, of its store what it answers."""
    asked = asked_scope("place cafe")
    where = ErasedPlace(asked.place, ErasedTime(0, TIME_NS_MAX))
    with tempfile.TemporaryDirectory(prefix="sightline-") as directory:
        of = Life(Path(directory), T0_NS)
        with Store.open(of.store) as store:
            scope = structs.replace(asked, spans=stays_of(store, "w1", where, clock.now_ns()))
            rows = rows_in(store, "w1", scope.spans)
    # The first eight examples came on the day before, so they lie under another key.
    keyed = [(each, 1 + (at >= 8)) for at, each in enumerate(of.examples)]
    made = made_there(keyed, build.CODEC, "w1", {"g1"}, scope)
    versions = [ModelVersion.load(each.value) for each in of.models if each.key != CURRENT_KEY]
    taught = tuple(each.version for each in versions if made.taught(each))
    numbers = [each.version for each in versions]
    plan = Plan(("g1",), len(made.keys), taught, max(numbers), max({*numbers} - {*taught}), made)
    with contextlib.redirect_stdout(io.StringIO()) as text:
        say_plan(plan, "w1", scope, rows, as_json=False)
    return text.getvalue()


def test_the_page_shows_the_plan_of_an_erasure_of_a_place() -> None:
    (block,) = _PLACE.findall(PAGE.read_text(encoding="utf-8"))
    assert block[1] == planned()


#: What the page says to type: in blocks and within sentences.
_TYPED = re.compile(r"(?:^\$ |`)(sightline [^`\n]*)", re.MULTILINE)


def test_every_command_that_the_page_names_is_there_with_its_options() -> None:
    """That each of them works is tested in `tests/cli/test_every_command.py`, and shown in the blocks."""
    typed = {*_TYPED.findall(PAGE.read_text(encoding="utf-8"))}
    assert {path_of(line)[1:3] for line in typed} >= {("rights", name) for name in rights.commands}
    for line in typed:
        path = path_of(line)
        one = TREE[path]
        assert len(path) > 1, line
        words = {word.partition("=")[0] for word in shlex.split(line) if word.startswith("--")}
        assert words <= options(one), line
        assert not isinstance(one, click.Group) or one.invoke_without_command, line


if __name__ == "__main__":
    whole = PAGE.read_text(encoding="utf-8")
    for pattern, says in ((_CONSENT, told(life())), (_PLACE, planned())):
        if (match := pattern.search(whole)) is not None:
            whole = whole[: match.start(2)] + says + whole[match.end(2) :]
    PAGE.write_text(whole, encoding="utf-8")
    with tempfile.TemporaryDirectory(prefix="sightline-") as played:
        rewrite(replayed(Path(played)) / "lineage-store", PAGE, alone)
