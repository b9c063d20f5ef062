"""Through models a line a generation, against the same walk event by event and against SQL."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest
from click.testing import CliRunner

from streams.cli.main import main
from streams.queries import questions
from streams.queries.generations import generations
from streams.queries.models import whose
from streams.queries.store import Store
from tests.queries.golden import asked
from tests.queries.test_questions import loop_edges, loop_rows
from tests.snapshots.build import batch, edge, store

ASKED = "g1/answer/1"


@pytest.fixture(scope="module")
def looped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return store(tmp_path_factory.mktemp("generations") / "s", loop_rows(), {"edges": loop_edges()})


def test_a_generation_is_a_model_and_its_answers_on_the_way(looped: Path) -> None:
    with Store.open(looped) as opened:
        summary = generations(opened, ASKED)
        every = questions.ancestors(opened, ASKED, through_models=True)
        kinds = {
            (source, name): kind
            for source, name, kind in opened.sql("SELECT source, stream, kind FROM streams").rows
        }
        given = opened.sql(
            "SELECT parent_number, list(child_id) FROM edge_records WHERE child_stream = 'answer' "
            "AND parent_stream = 'intent-model' GROUP BY ALL ORDER BY ALL"
        ).rows
    numbers: dict[str, set[tuple[str, int]]] = defaultdict(set)
    for row in every.ancestors:
        kind = kinds.get((row.source, row.stream), "unknown")
        numbers[kind] |= {(row.stream, number) for number in range(row.first, row.last + 1)}
    assert summary.made_of == {kind: len(found) for kind, found in sorted(numbers.items())}
    there = {f"g1/answer/{number}" for _, number in numbers["answer"]} | {ASKED}
    assert [(one.version, one.answers) for one in summary.generations] == [
        (version, len(there & set(ids))) for version, ids in given
    ]
    assert (summary.hops, summary.id) == (every.hops, ASKED)


def test_the_command_says_a_line_a_generation_unless_all_is_asked_for(looped: Path) -> None:
    summary = asked(looped, "ask", "ancestors", ASKED, "--through-models")
    whole = asked(looped, "ask", "ancestors", ASKED, "--through-models", "--all")
    assert "ancestors" not in summary
    assert [one["id"] for one in summary["generations"]] == [
        "training/intent-model/1",
        "training/intent-model/2",
    ]
    assert "g1/example/0" in {one["id"] for one in whole["ancestors"]}
    alone = CliRunner().invoke(main, ["ask", "ancestors", ASKED, "--all", "--store", str(looped)])
    assert (alone.exit_code, "--through-models" in alone.stderr) == (2, True)


def test_an_event_that_nothing_was_made_of_is_said_to_be_that(looped: Path) -> None:
    answer = asked(looped, "ask", "loop", "g1/imu/3")
    with Store.open(looped) as opened:
        children = opened.sql("SELECT DISTINCT child_id FROM edge_records WHERE parent_id = 'g1/imu/3'").rows
    assert answer["made_of_it"]["activity"] == len(children) == 1
    assert ("says" in answer) is not any(
        answer[name] for name in ("answers", "feedback", "examples", "generations")
    )
    lonely = asked(looped, "ask", "loop", "g1/feedback/0")
    assert "says" not in lonely


def test_whose_a_version_is_are_those_of_its_examples_not_of_those_between(tmp_path: Path) -> None:
    model = ("training", "intent-model", 1)
    examples = [
        batch("g1", "example", 3 * place, 3, wearer=wearer) for place, wearer in enumerate(("w1", "w2", "w3"))
    ]
    edges = [edge(model, ("g1", "example", number), operator="training") for number in (1, 7)]
    path = store(tmp_path / "s", {"events": examples, "edges": edges})
    with Store.open(path) as opened:
        assert whose(opened, [(("training", "intent-model"), 1)]) == {
            (("training", "intent-model"), 1): ("w1", "w3")
        }
