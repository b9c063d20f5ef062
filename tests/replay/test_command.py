"""`sightline replay` without a Kafka: what it writes, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from streams.cli.main import main
from streams.cli.replay import Replayed, _compared
from tests import build
from tests.snapshots.build import event, store

JOURNAL = Path(__file__).parent.parent / "golden" / "journal"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a store and with what was derived, of the golden journal."""
    home = tmp_path_factory.mktemp("replay")
    result = CliRunner().invoke(
        main, ["replay", str(JOURNAL), "--store", str(home / "store"), "--out", str(home / "out")]
    )
    assert result.exit_code == 0, result.output
    return home


def test_what_was_derived_is_written_as_lines(made: Path) -> None:
    answers = [
        json.loads(line)
        for line in (made / "out" / "glasses.answers.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert [line["headers"]["ce_id"] for line in answers] == [f"g1/answer/{number}" for number in range(4)]
    assert answers[0]["value"]["columns"]["intent"]
    assert {
        "source": "g1",
        "stream": "voice-query",
        "first": 0,
        "step": 1,
        "width": 1,
        "directness": "direct",
        "declassifier": "",
        "revision": 0,
    } in answers[0]["parents"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["--out", "out"],
            "out: found a directory that is not empty, expected a new one; name another with --out",
        ),
        (["--inputs", "store", "--policy", "other.toml"], "found another policy than household"),
        (["--inputs", "store"], "training waits at offset 0 of glasses.examples for g1/example/0"),
    ],
)
def test_what_does_not_fit_is_a_sentence(
    made: Path, arguments: list[str], sentence: str, tmp_path: Path
) -> None:
    (made / "other.toml").write_text(
        f"{build.policy().text}\n# another content is another version\n", encoding="utf-8"
    )
    known = [str(made / one) if (made / one).exists() else one for one in arguments]
    result = CliRunner().invoke(main, ["replay", str(JOURNAL), "--store", str(tmp_path / "replay"), *known])
    assert (result.exit_code, sentence in result.stderr) == (2, True), result.output


def test_an_example_that_no_input_names_is_a_difference(tmp_path: Path) -> None:
    one = store(tmp_path / "one", {"events": [event("g1", "imu", 0, 20)]})
    assert _compared(one, one, Replayed(fetches=1), candidates=True, sealed=True)["equal"]
    result = _compared(one, one, Replayed(fetches=1, unread=("g1/example/7",)), candidates=True, sealed=True)
    assert not result["equal"]
    assert result["differences"] == [
        "inputs: 1 examples were made and no recorded input says that training read them: g1/example/7"
    ]
