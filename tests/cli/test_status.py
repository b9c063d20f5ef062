"""`sightline status`: it tells what it can reach, and by its exit code whether that is all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import psutil
import pytest
from click.testing import CliRunner

from streams import limits
from streams.cli.main import main
from streams.cli.status import _command_of, _processes
from streams.kafka import leaving, watchdog
from streams.kafka.broker import free_port
from tests.snapshots.build import HOUSEHOLD, POLICY, event, row, store, stream, tagged

MODEL = tagged("voice_query", "voice-assistant")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def refused(rule: str, outcome: str, count: int, zone: str = "unconfigured") -> dict[str, Any]:
        about = {"source": "g1", "stream": "imu", "count": count, "stage": "zones", "zone": zone}
        return row("rejected", rule=rule, outcome=outcome, policy_version=HOUSEHOLD.version, **about)

    return store(
        tmp_path_factory.mktemp("status") / "s",
        {
            "policies": [POLICY],
            "streams": [stream("g1", "imu")],
            "events": [event("g1", "imu", 0, 20, **tagged())],
            "models": [
                row("models", source="training", stream="intent-model", version=version, accuracy=0.5)
                | {name: MODEL[name] for name in ("zone", "label", "policy_version")}
                for version in (1, 2)
            ],
            "rejected": [
                refused("clock", "clock", 5),
                refused("clock", "clock", 7),
                refused("repeat", "repeated", 9),
                refused("malformed", "malformed", 0, "malformed"),
            ],
        },
    )


def status(store: Path, broker: str, role: str = "privacy-officer") -> tuple[int, Any]:
    result = CliRunner().invoke(
        main, ["status", "--store", str(store), "--broker", broker, "--role", role, "--json"]
    )
    return result.exit_code, orjson.loads(result.stdout)


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> str:
    """An address where no broker is, which is found out at once."""
    monkeypatch.setattr(limits, "STATUS_WAIT_S", 0.2)
    return f"127.0.0.1:{free_port()}"


def test_without_a_broker_the_store_is_told_of(path: Path, away: str) -> None:
    code, answer = status(path, away)
    assert (code, answer["broker"]["present"], answer["store"]["present"]) == (3, False, True)
    assert f"No Kafka answers at {away}" in answer["broker"]["says"]
    assert (answer["store"]["epoch"], answer["store"]["age_s"] > 0) == (1, True)
    assert (answer["model"]["version"], answer["policies"]) == (
        2,
        {"decided last, by the store": f"household {HOUSEHOLD.version}"},
    )
    assert [(one["rule"], one["outcome"], one["batches"], one["events"]) for one in answer["rejected"]] == [
        ("clock", "clock", 2, 12),
        ("malformed", "malformed", 1, 0),
    ]
    assert "no roles.toml: whoever can read the store's files takes any role" in answer["roles"]
    text = CliRunner().invoke(main, ["status", "--store", str(path), "--broker", away])
    assert (text.exit_code, "epoch " in text.stdout, "newest model" in text.stdout) == (3, True, True)


def test_a_role_is_told_what_it_may_see(path: Path, away: str) -> None:
    _, answer = status(path, away, role="analyst")
    assert answer["rejected"] == []
    assert answer["hidden"] == {"rejected": "1-9"}


def test_without_anything_it_says_so(tmp_path: Path, away: str) -> None:
    code, answer = status(tmp_path / "nosuch", away)
    assert (code, answer["store"]["present"], answer["lag"], answer["model"]) == (3, False, [], None)
    assert "there is no store" in answer["store"]["says"]
    assert not (tmp_path / "nosuch").exists()


def test_who_may_take_which_role_is_told(path: Path, tmp_path: Path, away: str) -> None:
    from streams.queries.audit import who_asks  # noqa: PLC0415

    roles = path / "roles.toml"
    roles.write_text(f'[roles]\nprivacy-officer = ["{who_asks()}"]\n', encoding="utf-8")
    os.chmod(roles, 0o644)
    try:
        _, answer = status(path, away)
        refused = CliRunner().invoke(main, ["status", "--store", str(path), "--broker", away])
    finally:
        roles.unlink()
    assert "1 roles are granted to 1 users" in answer["roles"]
    assert (refused.exit_code, "found no grant of the role analyst" in refused.stderr) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["python", "-m", "streams.cli", "worker", "--broker", "x"], "worker"),
        (["/opt/venv/bin/python", "/opt/venv/bin/sightline", "snapshots"], "snapshots"),
        (["python", "-m", "device_sim", "run", "--to", "kafka"], "device-sim run"),
        (["python", "-P", str(watchdog.__file__), "17", "5.0"], "watchdog of a broker"),
        (["python", "-I", "-S", str(leaving.__file__), "30"], "last will of a worker"),
        (["python", "elsewhere/watchdog.py", "17"], ""),
        (["python", "-m", "streams.cli", "status"], ""),
        (["grep", "sightline"], ""),
        ([], ""),
    ],
)
def test_processes_of_ours_are_known_by_their_command(arguments: list[str], command: str) -> None:
    assert _command_of(arguments) == command


def test_children_of_ours_are_listed_with_whose_they_are() -> None:
    waits = "import sys; sys.stdin.read()"
    starts = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {waits!r}])"
    # Its arguments are those of a worker.
    with subprocess.Popen(
        [sys.executable, "-c", starts, "sightline", "worker"], stdin=subprocess.PIPE
    ) as ours:
        children: list[psutil.Process] = []
        # Until it runs its own program it has the arguments of its parent.
        while not children or "sightline" in children[0].cmdline():
            children = psutil.Process(ours.pid).children()
        listed = {row.pid: row.command for row in _processes()}
        assert ours.stdin is not None
        ours.stdin.close()
    assert (listed[ours.pid], listed[children[0].pid]) == ("worker", "child of worker")
