"""The law book and its neighbours name what is there, and what refers to them finds it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from streams import limits
from streams.cli.topology import picture
from streams.lineage.tables import RECORD_VERSION

ROOT = Path(__file__).parents[2]
LAW_BOOK = ROOT / "docs" / "architecture.md"
TEXT = LAW_BOOK.read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")]
SOURCES = [
    path for room in ("streams", "device_sim", "tests", "bench") for path in (ROOT / room).rglob("*.py")
]
#: What a page or a docstring calls a path of this repository.
_PATH = re.compile(
    r"(?<![\w/.-])((?:streams|device_sim|tests|docs|bench)/[\w./-]*\w|(?:README|CONTRIBUTING|CHANGELOG)\.md)"
)
#: Lines of a drawing or of a program's output are not about this repository.
_BLOCK = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def headings() -> set[str]:
    return set(re.findall(r"^## \d+\. (.+)$", TEXT, re.MULTILINE))


def laws() -> set[str]:
    section = TEXT.split("## 2. Laws")[1].split("\n## ")[0]
    return set(re.findall(r"^(\d+)\. \*\*", section, re.MULTILINE))


def is_there(name: str) -> bool:
    return (ROOT / name).exists()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_that_a_page_names_is_there(page: Path) -> None:
    text = _BLOCK.sub("", page.read_text(encoding="utf-8"))
    absent = {name for name in _PATH.findall(text) if not is_there(name)}
    links = {
        link for link in re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", text) if not (page.parent / link).exists()
    }
    assert not absent | links


def test_every_path_that_a_docstring_or_comment_names_is_there() -> None:
    absent = {
        (str(path.relative_to(ROOT)), name)
        for path in SOURCES
        for line in path.read_text(encoding="utf-8").splitlines()
        for name in re.findall(
            r"\b((?:docs|streams|device_sim|tests|bench)/[\w/-]+\.(?:md|py|sql|toml))\b", line
        )
        if not is_there(name)
    }
    assert not absent


def test_laws_and_sections_that_are_referred_to_are_in_the_book() -> None:
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        assert not set(re.findall(r"\blaw (\d+)", text)) - laws(), path
        assert not set(re.findall(r"docs/architecture\.md, (\w+)", text)) - headings(), path
        assert path == Path(__file__) or "DESIGN" not in text, f"{path} refers to another book"


def test_the_contents_are_the_sections() -> None:
    listed = re.findall(r"\[(\w+)\]\(#(\d+)-(\w+)\)", TEXT)
    found = re.findall(r"^## (\d+)\. (\w+)$", TEXT, re.MULTILINE)
    assert [(number, word) for word, number, _ in listed] == found
    assert all(anchor == word.lower() for word, _, anchor in listed)


def test_every_room_has_its_row() -> None:
    rows = "\n".join(line for line in TEXT.splitlines() if line.startswith("| `"))
    rooms = {path.name for path in (ROOT / "streams").iterdir() if (path / "__init__.py").exists()}
    assert {room for room in rooms if f"`streams/{room}/`" not in rows} == set()


def test_the_flow_is_that_of_the_topology() -> None:
    drawn = "\n".join(picture()).split("\ntopic ")[0].rstrip()
    assert f"```text\n{drawn}\n```" in TEXT


def test_versions_are_those_of_the_code() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^\| store \| {limits.STORE_VERSION} \|", text, re.MULTILINE)
    assert re.search(rf"^\| lineage records \| {RECORD_VERSION} \|", text, re.MULTILINE)
