"""Answers as pictures: the same nodes and arrows as the answer has, whatever is written into it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from streams.cli.main import main
from tests.queries.golden import asked
from tests.queries.test_questions import loop_edges, loop_rows
from tests.snapshots.build import store

_DOT_NODE = re.compile(r'  (n\d+) \[label="((?:[^"\\]|\\.)*)"\];')
_DOT_ARROW = re.compile(r'  (n\d+) -> (n\d+)(?: \[label="((?:[^"\\]|\\.)*)"\])?;')
_MERMAID_NODE = re.compile(r'  (n\d+)\["([^"\[\]{}|]*)"\]')
_MERMAID_ARROW = re.compile(r'  (n\d+) -->(?:\|"([^"\[\]{}|]*)"\|)? (n\d+)')
ODD = 'a "zone"]; n0 -> n1 <script>'


@pytest.fixture(scope="module")
def looped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = loop_rows()
    rows["events"] = [one | {"zone": ODD} if one["stream"] == "voice" else one for one in rows["events"]]
    return store(tmp_path_factory.mktemp("pictures") / "s", rows, {"edges": loop_edges()})


def drawn(path: Path, form: str, *question: str) -> tuple[dict[str, str], set[tuple[str, str]]]:
    """First lines of the nodes by name, and arrows between those; every line is one or the other."""
    result = CliRunner().invoke(
        main, ["ask", *question, "--store", str(path), "--role", "privacy-officer", "--format", form]
    )
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    body = lines[2:-1] if form == "dot" else lines[1:]
    node, arrow = (_DOT_NODE, _DOT_ARROW) if form == "dot" else (_MERMAID_NODE, _MERMAID_ARROW)
    nodes = {found[1]: found[2] for line in body if (found := node.fullmatch(line))}
    arrows = [found for line in body if (found := arrow.fullmatch(line))]
    assert len(nodes) + len(arrows) == len(body)
    last = 2 if form == "dot" else 3
    name = {key: re.split(r"\\n|<br/>", text)[0] for key, text in nodes.items()}
    return nodes, {(name[found[1]], name[found[last]]) for found in arrows}


@pytest.mark.parametrize("form", ["dot", "mermaid"])
def test_a_picture_has_the_arrows_of_the_answer(looped: Path, form: str) -> None:
    answer = asked(looped, "ask", "ancestors", "g1/answer/1")
    nodes, arrows = drawn(looped, form, "ancestors", "g1/answer/1")
    assert arrows == {
        (f"{row['source']}/{row['stream']}", row["of"] if row["of"] != "g1/answer" else "g1/answer/1")
        for row in answer["ancestors"]
    }
    assert len(nodes) == len({row["source"] + row["stream"] for row in answer["ancestors"]}) + 1
    why, decided = asked(looped, "ask", "why", "g1/answer/1"), drawn(looped, form, "why", "g1/answer/1")[1]
    assert decided == {
        *((row["id"], "g1/answer/1") for row in why["parents"]),
        *(("g1/answer/1", row["sink"]) for row in why["decisions"]),
    }
    through = drawn(looped, form, "ancestors", "g1/answer/1", "--through-models")[1]
    assert through == {
        ("training/intent-model/1", "training/intent-model/2"),
        ("training/intent-model/2", "g1/answer/1"),
    }
    loop = drawn(looped, form, "loop", "g1/answer/0")[1]
    assert ("1 feedback", "1 example") in loop
    assert ("1 example", "training/intent-model/2") in loop


def test_what_is_written_into_an_answer_draws_nothing(looped: Path) -> None:
    for form, quote in (("dot", '\\"zone\\"'), ("mermaid", "#34;zone#34;")):
        nodes, _ = drawn(looped, form, "ancestors", "g1/answer/1")
        assert any(quote in text for text in nodes.values())


def test_json_is_a_form_and_what_cannot_be_drawn_has_no_picture(looped: Path) -> None:
    def said(*arguments: str) -> str:
        result = CliRunner().invoke(main, ["ask", *arguments, "--store", str(looped)])
        return result.stdout if result.exit_code == 0 else f"exit {result.exit_code}"

    assert said("missing", "--json") == said("missing", "--format", "json")
    assert said("missing", "--json", "--format", "table") == said("missing", "--json")
    assert said("missing", "--format", "dot") == "exit 2"
