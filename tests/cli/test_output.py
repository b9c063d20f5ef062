"""What programs are answered: JSON that any reader takes, whatever the numbers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from streams import limits
from streams.cli.main import main
from streams.cli.output import emit_json
from tests.snapshots.build import POLICY, event, store, stream, tagged

MANY = limits.NUMBER_MAX


def test_numbers_beyond_64_bits_are_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    answer = {"a": [2**64, -(2**63) - 1, 2**64 - 1], "b": {"c": (10**40, "x", None, True, 0.5)}, 7: 2**100}
    emit_json(answer)
    assert json.loads(capsys.readouterr().out) == {
        "a": [2**64, -(2**63) - 1, 2**64 - 1],
        "b": {"c": [10**40, "x", None, True, 0.5]},
        "7": 2**100,
    }


def test_missing_tells_more_than_64_bits_of_numbers(tmp_path: Path) -> None:
    path = store(
        tmp_path / "s",
        {
            "policies": [POLICY],
            "streams": [stream(f"g{n}", "imu") for n in range(1, 6)],
            "events": [event(f"g{n}", "imu", MANY, **tagged()) for n in range(1, 6)],
        },
    )
    for statement in (
        ("ask", "missing"),
        ("sql", "SELECT 2::HUGEINT ** 0 * 170141183460469231731687303715884105727::HUGEINT AS n"),
    ):
        result = CliRunner().invoke(main, [*statement, "--store", str(path), "--json"])
        assert result.exit_code == 0, result.output
    answer = json.loads(CliRunner().invoke(main, ["ask", "missing", "--store", str(path), "--json"]).stdout)
    assert answer["missing_events"] == 5 * MANY
