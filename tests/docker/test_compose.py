"""The image and `docker-compose.yml` as a stranger uses them.

Up, a question, down in the middle, up again, and the ledger over both runs.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pytest

from streams.errors import SightlineError
from streams.kafka.broker import free_port
from streams.ledger import run_ledger
from streams.ledger.result import Ledger
from streams.queries.store import Store
from tests.page.serving import entered

pytestmark = pytest.mark.docker
ROOT = Path(__file__).parents[2]
#: The first is longer than anybody waits: it ends by `down`.
FIRST_PLAY, SECOND_PLAY = "--speed 10 --duration-s 3000", "--speed 10 --duration-s 150 --json"
#: Guards against what hangs, long enough for a machine with ten times its work.
UP_TIMEOUT_S, WAIT_S, DRAIN_S = 600.0, 600.0, 300.0


def _run(
    *command: str, env: dict[str, str] | None = None, timeout_s: float = 120.0
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, timeout=timeout_s, check=False, cwd=ROOT, env=env
    )


def _compose_command() -> tuple[str, ...]:
    """`docker compose`, or the older `docker-compose`.

    Skips, and says why, when there is none or no engine answers.
    """
    try:
        engine = _run("docker", "info", "--format", "{{.ServerVersion}}")
    except FileNotFoundError:
        pytest.skip("there is no `docker` command on this machine")
    if engine.returncode:
        pytest.skip(f"no Docker engine answers: {(engine.stderr.strip().splitlines() or ['no message'])[-1]}")
    for command in (("docker", "compose"), ("docker-compose",)):
        try:
            if _run(*command, "version").returncode == 0:
                return command
        except FileNotFoundError:
            continue
    pytest.skip("neither `docker compose` nor `docker-compose` is on this machine")


@dataclass
class Composed:
    """The services under a project name, port and directory of their own, so that they meet nobody else's."""

    command: tuple[str, ...]
    data: Path
    port: int = field(default_factory=free_port)
    page_port: int = field(default_factory=free_port)
    project: str = f"sightline-test-{os.getpid()}"
    #: The files are to be the tester's, but in the container nothing is to be root.
    user: int = os.getuid() or 1000

    def __call__(self, *arguments: str, play: str = "", timeout_s: float = UP_TIMEOUT_S) -> str:
        """Run a compose command that must succeed; return what it printed."""
        env = {
            **os.environ,
            "SIGHTLINE_DATA": str(self.data),
            "SIGHTLINE_KAFKA_PORT": str(self.port),
            "SIGHTLINE_PAGE_PORT": str(self.page_port),
            "SIGHTLINE_UID": str(self.user),
            "SIGHTLINE_PLAY": play,
            "COMPOSE_PROJECT_NAME": self.project,
        }
        done = _run(*self.command, *arguments, env=env, timeout_s=timeout_s)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    @property
    def store(self) -> Path:
        return self.data / "lineage-store"

    def made(self, kind: str) -> int:
        """Events of a kind in the published store, read from the host; 0 before the first epoch."""
        try:
            with Store.open(self.store) as store:
                return int(
                    store.sql(f"SELECT coalesce(sum(count), 0) FROM events WHERE kind = '{kind}'").rows[0][0]
                )
        except SightlineError:
            return 0

    def sent(self) -> int:
        lines = [
            json.loads(line)
            for path in (self.data / "journal").glob("*.jsonl")
            for line in path.read_text("utf-8").splitlines()
        ]
        return sum(line["n"] for line in lines if line["line"] == "sent")

    def ledger(self) -> Ledger:
        return run_ledger(self.data / "journal", f"127.0.0.1:{self.port}", self.store)


@dataclass
class Played:
    """The services after both runs, still up, and what was seen on the way."""

    compose: Composed
    kept_volumes: str
    answers_before: int
    sent_before: int
    device_said: dict[str, int]
    ledger: Ledger


def _until(condition: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline_s, f"{what}: not within {WAIT_S:.0f} s"
        time.sleep(0.5)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    """Up until it has learned twice, down while the device still plays, and up again.

    It stays up until a shorter play has ended and arrived.
    """
    compose = Composed(_compose_command(), tmp_path_factory.mktemp("compose") / "data")
    try:
        compose("build")
        compose("up", "--detach", play=FIRST_PLAY)
        _until(lambda: compose.made("model") >= 3, "three models in the published store")
        _until(lambda: " events  " in compose("logs", "snapshots"), "a line about the store in the log")
        compose("down")
        before = compose.made("answer")
        sent = compose.sent()
        volumes = _run("docker", "volume", "ls", "--quiet", "--filter", f"name={compose.project}").stdout
        compose("up", "--detach", play=SECOND_PLAY)
        device = compose("ps", "--all", "--quiet", "device").strip()
        assert _run("docker", "wait", device, timeout_s=WAIT_S).stdout.strip() == "0", _run(
            "docker", "logs", device
        ).stderr
        said = json.loads(_run("docker", "logs", device).stdout.splitlines()[-1])
        # What is still on its way counts as missing: the ledger is right once everything has arrived.
        deadline_s = time.monotonic() + DRAIN_S
        while not (ledger := compose.ledger())["clean"] and time.monotonic() < deadline_s:
            time.sleep(0.5)
        yield Played(compose, volumes, before, sent, said, ledger)
    finally:
        compose("down", "--volumes")


def test_the_ledger_over_both_runs_is_clean(played: Played) -> None:
    result = played.ledger
    assert result["clean"], result["findings"]
    assert (
        result["events_missing"],
        result["events_twice"],
        result["zone_truth_mismatches"],
        result["orphan_parents"],
    ) == (0, 0, 0, 0)
    assert result["events_sent"] == result["events_stored"] + result["events_rejected"]
    assert result["topics"] is not None
    assert result["topics"]["batches"]["captured"] > 0


def test_the_second_up_went_on(played: Played) -> None:
    assert f"{played.compose.project}_kafka" in played.kept_volumes
    assert played.ledger["events_sent"] == played.sent_before + played.device_said["events_sent"]
    assert played.device_said["unacknowledged"] == 0
    assert played.ledger["answers"] > played.answers_before > 0


def test_the_loop_turned(played: Played) -> None:
    assert len(played.ledger["models"]) >= 3
    assert 0 < played.ledger["examples"] < played.ledger["feedback"]


def test_the_log_says_what_happens(played: Played) -> None:
    assert " model " in played.compose("logs", "snapshots")
    assert "worker ready on kafka:19092" in played.compose("logs", "worker"), "it is for people"


def test_a_question_is_answered_in_a_container_as_on_the_host(played: Played) -> None:
    compose = played.compose
    inside = json.loads(compose("run", "--rm", "-T", "ask", "ancestors", "g1/answer/3", "--json"))
    host = _run(
        sys.executable,
        "-m",
        "streams.cli",
        "ask",
        "ancestors",
        "g1/answer/3",
        "--json",
        "--store",
        str(compose.store),
    )
    assert inside["ancestors"]
    assert {**inside, "epoch": 0} == {**json.loads(host.stdout), "epoch": 0}


def test_the_page_answers_on_the_host_for_each_role(played: Played) -> None:
    links = re.findall(r"(privacy-officer|analyst): (http://\S+)", played.compose("logs", "page"))
    assert {role for role, _ in links} == {"privacy-officer", "analyst"}
    for role, link in links:
        assert link.startswith(f"http://127.0.0.1:{played.compose.page_port}/")
        page = entered(link)
        assert "/event/g" in page
        assert role in page


def test_plain_duckdb_opens_the_store_from_the_host(played: Played) -> None:
    store = played.compose.store
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{store / 'catalog.duckdb'}' AS lineage (READ_ONLY)")
        connection.execute("USE lineage")
        connection.execute(f"SET file_search_path = '{store}'")
        found = connection.execute("SELECT count(*) FROM event_records WHERE kind = 'answer'").fetchone()
    assert found == (played.ledger["answers"],)


def test_nothing_of_ours_is_root_and_the_files_are_the_users(played: Played) -> None:
    compose = played.compose
    for service in ("worker", "snapshots", "page"):
        assert compose("exec", "-T", service, "id", "-u").strip() == str(compose.user)
    assert {path.stat().st_uid for path in compose.data.rglob("*")} == {compose.user}


def test_the_image_holds_both_commands_and_no_tools(played: Played) -> None:
    def inside(*command: str) -> subprocess.CompletedProcess[str]:
        return _run("docker", "run", "--rm", "--network", "none", "sightline", *command)

    assert "glasses.captured" in inside("sightline", "topology").stdout
    assert "classyglass-user17" in inside("device-sim", "list").stdout
    assert inside("id", "-u").stdout.strip() == "1000"
    for module in ("pytest", "mypy", "pip", "setuptools"):
        assert "ModuleNotFoundError" in inside("python", "-c", f"import {module}").stderr
    assert inside("sh", "-c", "command -v gcc cc make").returncode != 0
