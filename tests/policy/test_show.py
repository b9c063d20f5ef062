"""`sightline policy show` prints a policy to start from; the digest of the text is its version."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner

from streams.cli.main import main
from streams.policy.load import load
from streams.policy.source import shipped_names


@pytest.mark.parametrize("name", shipped_names())
def test_what_is_shown_is_the_policy(name: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["policy", "show", name])
    assert result.exit_code == 0
    mine = tmp_path / "mine.toml"
    mine.write_bytes(result.stdout_bytes)
    again, shipped = load(str(mine)), load(name)
    assert hashlib.sha256(mine.read_bytes()).hexdigest()[:16] == again.version == shipped.version
    said = orjson.loads(CliRunner().invoke(main, ["policy", "show", str(mine), "--json"]).stdout)
    assert said == {"policy": again.name, "version": again.version, "text": mine.read_text(encoding="utf-8")}


def test_a_shell_writes_it_byte_for_byte(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "streams.cli", "policy", "show", "household"]
    done = subprocess.run(
        command,
        capture_output=True,
        check=True,
        env={"PYTHONIOENCODING": "ascii"},
        cwd=Path(__file__).parents[2],
    )
    assert hashlib.sha256(done.stdout).hexdigest()[:16] == load("household").version


def test_no_such_policy_is_a_sentence() -> None:
    result = CliRunner().invoke(main, ["policy", "show", "nosuch"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "expected a path to a policy or one of the shipped ones" in result.stderr
