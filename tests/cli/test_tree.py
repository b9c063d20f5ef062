"""Walks at a terminal are trees that say what the tables say; in a pipe they stay tables."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.text import Text

from streams import limits
from streams.cli.main import main
from tests.queries.golden import asked
from tests.queries.test_questions import loop_edges, loop_rows
from tests.snapshots.build import store

_BRANCH = re.compile(
    r"^(?P<lines>[│├└─ ]*)(?P<id>[a-z0-9-]+/[a-z0-9~-]+/[0-9.]+)( and on)?(  (?P<events>[0-9,]+) event)?"
)
#: Signs that each hop stands further to the right.
_INDENT = 4


@pytest.fixture(scope="module")
def looped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return store(tmp_path_factory.mktemp("trees") / "s", loop_rows(), {"edges": loop_edges()})


@pytest.fixture
def at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda _: True)
    monkeypatch.setenv("COLUMNS", "300")


def printed(path: Path, *question: str) -> list[str]:
    result = CliRunner().invoke(main, ["ask", *question, "--store", str(path), "--role", "privacy-officer"])
    assert result.exit_code == 0, result.output
    return Text.from_ansi(result.stdout).plain.splitlines()


def branches(lines: list[str], heading: str) -> list[tuple[int, str, int]]:
    """(hop, id, events) of each line of the tree below a heading."""
    told = []
    for line in lines[lines.index(heading) + 1 :]:
        if not line:
            break
        match = _BRANCH.match(line)
        assert match, line
        told.append((len(match["lines"]) // _INDENT, match["id"], int(match["events"] or 0)))
    return told


def ways(rows: list[dict[str, Any]]) -> dict[tuple[int, str, str], int]:
    """Events by hop, stream come from, and stream reached, of rows in JSON."""
    counted: dict[tuple[int, str, str], int] = {}
    for row in rows:
        key = row["hop"], row["of"], f"{row['source']}/{row['stream']}"
        counted[key] = counted.get(key, 0) + row["events"]
    return counted


@pytest.mark.parametrize(
    ("question", "walk"),
    [
        (("ancestors", "g1/answer/1"), "ancestors"),
        (("ancestors", "g1/answer/1", "--through-models", "--all"), "ancestors"),
        (("descendants", "g1/voice/1"), "descendants"),
        (("why", "g1/answer/1"), "parents"),
    ],
)
def test_a_tree_has_the_rows_of_the_answer(
    looped: Path, at_a_terminal: None, question: tuple[str, ...], walk: str
) -> None:
    answer = asked(looped, "ask", *question)
    (root, *below) = branches(printed(looped, *question), walk)
    assert root == (0, question[1], 0)
    above = [question[1]]
    counted: dict[tuple[int, str, str], int] = {}
    for hop, identity, events in below:
        assert hop <= len(above)
        above[hop:] = [identity]
        counted[hop, above[hop - 1].rpartition("/")[0], identity.rpartition("/")[0]] = events
    assert counted == ways(answer[walk])
    assert len(counted) == len(below)


def test_a_pipe_and_a_deep_walk_get_a_table(
    looped: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = printed(looped, "ancestors", "g1/answer/1")
    assert plain[plain.index("ancestors") + 1].startswith("hop  id")
    request.getfixturevalue("at_a_terminal")
    assert printed(looped, "ancestors", "g1/answer/1") != plain
    monkeypatch.setattr(limits, "TREE_HOPS_MAX", 1)
    assert printed(looped, "ancestors", "g1/answer/1") == plain
