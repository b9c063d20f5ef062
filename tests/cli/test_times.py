"""Times are shown in the time zone that was asked for; what programs read stays UTC."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from streams.cli.main import main
from tests.patience import PATIENCE_S
from tests.snapshots.build import POLICY, event, store, tagged

#: Zurich left winter time on 2026-03-29 at 01:00 UTC; nanoseconds of the second before.
LAST_WINTER_NS = 1_774_745_999 * 10**9
ANSWERS = "SELECT id, t FROM event_records WHERE kind = 'answer' ORDER BY id"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with two answers, one on each side of the change to summer time."""
    events = [
        event("g1", "answer", number, **tagged("voice_query", "voice-assistant"))
        | {"kind": "answer", "t_first_ns": t_ns, "t_last_ns": t_ns}
        for number, t_ns in enumerate((LAST_WINTER_NS, LAST_WINTER_NS + 10**9))
    ]
    return store(tmp_path_factory.mktemp("times") / "lineage-store", {"policies": [POLICY], "events": events})


def asked(path: Path, *arguments: str, time_zone: str = "Europe/Zurich") -> Result:
    command, *others = arguments
    as_role = ["--store", str(path), "--role", "privacy-officer"]
    return CliRunner().invoke(main, ["--time-zone", time_zone, command, *others, *as_role])


@pytest.mark.parametrize(
    "arguments",
    [("sql", ANSWERS), ("sql", ANSWERS, "--format", "markdown"), ("ask", "find", "--kind", "answer")],
)
def test_people_are_shown_times_in_their_zone(path: Path, arguments: tuple[str, ...]) -> None:
    times = re.findall(r"2026-03-29T\S+", asked(path, *arguments).stdout)
    shown = {re.sub(r"\.0+", "", time) for time in times}
    assert {"2026-03-29T01:59:59+01:00", "2026-03-29T03:00:00+02:00"} <= shown
    assert not [time for time in shown if time.endswith("Z")]


@pytest.mark.parametrize(
    "arguments",
    [
        ("sql", ANSWERS, "--format", "csv"),
        ("sql", ANSWERS, "--json"),
        ("ask", "find", "--kind", "answer", "--json"),
    ],
)
def test_programs_read_utc_whatever_people_asked_for(path: Path, arguments: tuple[str, ...]) -> None:
    there, here = (asked(path, *arguments, time_zone=name) for name in ("Asia/Kolkata", "UTC"))
    assert there.exit_code == here.exit_code == 0
    assert there.stdout == here.stdout
    assert "2026-03-29T00:59:59" in here.stdout


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("Europe/Zürich", "Europe/Zurich"),
        ("zurich", "Europe/Zurich"),
        ("Asia/Kolkatta", "Asia/Kolkata"),
        ("../../etc/passwd", None),
        ("Europe", None),
        ("utc", "UTC"),
    ],
)
def test_a_zone_that_is_none_is_an_error_with_the_nearest(path: Path, name: str, nearest: str | None) -> None:
    ended = asked(path, "sql", ANSWERS, time_zone=name)
    assert ended.exit_code == 2
    assert f"there is no time zone {name!a}; the nearest is {nearest or ''}" in ended.stderr
    assert not ended.stdout


def test_a_variable_that_names_none_is_said_to_be_at_fault() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "streams.cli", "topology"],
        capture_output=True,
        text=True,
        env={**os.environ, "SIGHTLINE_TIME_ZONE": "Zurich"},
        timeout=PATIENCE_S,
        check=False,
    )
    assert ended.returncode == 2
    assert "SIGHTLINE_TIME_ZONE: there is no time zone 'Zurich'; the nearest is Europe/Zurich" in ended.stderr
