"""The `device-sim` command: what it prints and how it exits."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner

from device_sim.__main__ import main


def test_run_to_a_file_prints_one_object(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["run", "--to", "file", "--journal", str(tmp_path), "--duration-s", "8", "--devices", "3", "--json"])
    assert result.exit_code == 0, result.output
    assert orjson.loads(result.stdout) == {"events_sent": 3 * (800 + 8 + 3 + 3 + 2), "batches_sent": 3 * (40 + 8 + 3 + 3 + 2),
                                           "queries": 9, "feedback": 9, "sessions": 3, "unacknowledged": 0}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["g1.jsonl", "g2.jsonl", "g3.jsonl"]


def test_list_says_length_rate_licence_and_origin() -> None:
    result = CliRunner().invoke(main, ["list", "--json"])
    rows = {row["name"]: row for row in map(orjson.loads, result.stdout.splitlines())}
    assert rows["gps-visnjan"] == {"name": "gps-visnjan", "kind": "location", "rows": 40, "length_s": 40.0, "rate_hz": 1,
                                   "licence": "Apache-2.0", "origin": "playback:gps-visnjan", "source": "https://github.com/tkrajina/gpxpy"}
    assert {"classyglass-user17", "classyglass-user22", "nlu-queries"} < rows.keys()
    plain = CliRunner().invoke(main, ["list"]).stdout
    assert "classyglass-user22   imu          44 s at 100 Hz     CC-BY-4.0" in plain


@pytest.mark.parametrize(("arguments", "message"), [
    (["--scenario", "party"], "device-sim: Scenario 'party' does not exist; expected one of: smoke."),
    (["--speed", "3"], "'3' is not one of '1', '10'"),
    (["--devices", "0"], "0 is not in the range"),
    (["--duration-s", "0"], "0.0 is not in the range"),
])
def test_a_wrong_argument_is_a_sentence_and_exit_2(arguments: list[str], message: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["run", "--to", "file", "--journal", str(tmp_path), *arguments])
    assert (result.exit_code, message in result.stderr) == (2, True), result.stderr
