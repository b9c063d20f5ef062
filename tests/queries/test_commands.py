"""The commands that answer: text for people, JSON for programs, exit codes for scripts."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner, Result

from streams.cli.main import main
from streams.topology import STAGES, TOPICS
from tests.snapshots.build import POLICY, edge, event, store, stream, tagged


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return store(
        tmp_path_factory.mktemp("commands") / "s",
        {
            "streams": [stream("g1", "imu"), stream("g1", "activity", "activity", captured=False)],
            "policies": [POLICY],
            "events": [
                event("g1", "imu", 0, 100, **tagged()),
                event("g1", "imu", 120, 20, **tagged()),
                event("g1", "activity", 0, **tagged() | {"kind": "activity"}),
            ],
            "edges": [edge(("g1", "activity", 0), ("g1", "imu", 0), parent_width=100)],
        },
    )


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_sql_answers_in_three_forms(path: Path) -> None:
    statement = 'SELECT stream, sum("count") AS events FROM events GROUP BY ALL ORDER BY ALL'
    assert (
        run("sql", statement, "--store", path).output
        == "stream    events\nactivity       1\nimu          120\n"
    )
    assert (
        run("sql", statement, "--store", path, "--format", "csv").output
        == "stream,events\nactivity,1\nimu,120\n"
    )
    assert orjson.loads(run("sql", statement, "--store", path, "--json").output) == {
        "epoch": 1,
        "columns": ["stream", "events"],
        "rows": [["activity", 1], ["imu", 120]],
        "more": 0,
        "role": "analyst",
        "hidden": {},
    }


def test_every_view_can_be_shown_in_json(path: Path) -> None:
    for view in ("epochs", "segments", "events", "edge_records"):
        assert orjson.loads(
            run("sql", f"FROM {view}", "--store", path, "--role", "privacy-officer", "--json").output
        )["rows"]


def test_ask_answers_people_and_programs(path: Path) -> None:
    said = run("ask", "ancestors", "g1/activity/0", "--store", path)
    assert said.exit_code == 0
    assert "g1/imu/0" in said.output
    assert "\x1b" not in said.output
    assert orjson.loads(run("ask", "missing", "--store", path, "--json").output)["missing"] == [
        {"source": "g1", "stream": "imu", "first": 100, "count": 20, "malformed": 0}
    ]
    for question in ("why", "loop"):
        assert run("ask", question, "g1/imu/3", "--store", path).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("sql", "COPY (SELECT 1) TO 'x'"), 2),
        (("sql", "SELECT nonsense"), 2),
        (("ask", "why", "g1/imu/999"), 2),
        (("ask", "why", "?"), 2),
        (("ask", "why"), 2),
    ],
)
def test_a_wrong_argument_is_exit_2_and_one_sentence(
    path: Path, arguments: tuple[str, ...], code: int
) -> None:
    result = run(*arguments, "--store", path)
    assert result.exit_code == code
    assert "Traceback" not in result.output


def test_no_store_is_exit_3(tmp_path: Path) -> None:
    result = run("sql", "SELECT 1", "--store", tmp_path)
    assert result.exit_code == 3
    assert str(tmp_path) in result.output


def test_topology_names_every_stage_and_topic() -> None:
    drawn = run("topology").output
    assert all(f"[{stage.name}]" in drawn for stage in STAGES)
    assert all(topic.name in drawn for topic in TOPICS)
    assert len(orjson.loads(run("topology", "--json").output)["stages"]) == len(STAGES)
