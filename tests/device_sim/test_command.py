"""The `device-sim` command: what it prints and how it exits."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner

from device_sim.__main__ import main
from tests.patience import PATIENCE_S


def test_run_to_a_file_prints_one_object(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        main,
        [
            "run",
            "--to",
            "file",
            "--journal",
            str(tmp_path),
            "--duration-s",
            "8",
            "--devices",
            "3",
            "--json",
            "--no-faults",
        ],
    )
    assert result.exit_code == 0, result.output
    assert orjson.loads(result.stdout) == {
        "events_sent": 3 * (800 + 8 + 3 + 3 + 3),
        "batches_sent": 3 * (40 + 8 + 3 + 3 + 3),
        "queries": 9,
        "feedback": 9,
        "sessions": 3,
        "unacknowledged": 0,
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["g1.jsonl", "g2.jsonl", "g3.jsonl"]


def test_list_says_length_rate_licence_and_origin() -> None:
    rows = [orjson.loads(line) for line in CliRunner().invoke(main, ["list", "--json"]).stdout.splitlines()]
    recordings = {row["recording"]: row for row in rows if "recording" in row}
    assert recordings["gps-visnjan"] == {
        "recording": "gps-visnjan",
        "kind": "location",
        "rows": 40,
        "length_s": 40.0,
        "rate_hz": 1,
        "licence": "Apache-2.0",
        "origin": "playback:gps-visnjan",
        "source": "https://github.com/tkrajina/gpxpy",
    }
    assert {
        "imu",
        "gaze",
        "env",
        "location",
        "camera_frame",
        "audio_level",
        "pose",
        "voice_query",
        "feedback",
    } == {row["kind"] for row in recordings.values()}
    listed = {row["scenario"]: row for row in rows if "scenario" in row}
    assert listed.keys() == {"commute", "family", "glasses", "hike", "load", "office", "smoke"}
    assert listed["commute"]["length_s"] == 720
    plain = CliRunner().invoke(main, ["list"]).stdout
    assert re.search(
        r"^classyglass-user22 +imu +[\d.]+ s at 100 Hz +CC-BY-4.0 +playback:classyglass-user22",
        plain,
        re.MULTILINE,
    )
    assert "scenario commute, 720 s: Twelve minutes" in plain


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--scenario", "party"],
            (
                "device-sim: Scenario 'party' does not exist; expected one of: commute, family, glasses,"
                " hike, load, office, smoke."
            ),
        ),
        (["--speed", "3"], "'3' is not one of '1', '10'"),
        (["--devices", "0"], "0 is not in the range"),
        (["--duration-s", "0"], "0.0 is not in the range"),
    ],
)
def test_a_wrong_argument_is_a_sentence_and_exit_2(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    result = CliRunner().invoke(main, ["run", "--to", "file", "--journal", str(tmp_path), *arguments])
    assert (result.exit_code, message in result.stderr) == (2, True), result.stderr


#: Presses Ctrl-C when NumPy is about to be loaded.
PRESSES = """
import sys

class Ctrl:
    def find_spec(self, name, *_others):
        if name == "numpy":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Ctrl())
sys.argv = ["device-sim", "run", "--to", "file"]
from device_sim.__main__ import main
main()
"""


def test_ctrl_c_while_the_glasses_are_loaded_is_a_sentence(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PRESSES],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        timeout=PATIENCE_S,
        check=False,
    )
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr.startswith("device-sim: stopped by Ctrl-C before its end")
    assert len(done.stderr.splitlines()) == 1
