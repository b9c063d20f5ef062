"""`sightline watch`: what it prints, as text and as JSON, what it sends, and its exit codes."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import orjson
import pytest
from click.testing import CliRunner, Result

from streams import clock
from streams.cli.main import main
from streams.snapshots.writer import Writer
from tests.patience import PATIENCE_S
from tests.snapshots.build import POLICY, batch, stream, tables
from tests.watching.growing import decision


def published(writer: Writer, number: int, **rows: list[dict[str, object]]) -> None:
    """Add an epoch, dated now."""
    more = {
        "events": [batch("g1", "imu-right", number, offset=number)],
        "streams": [stream("g1", "imu-right")],
    }
    writer.ingest_tables(tables({**more, **rows}), clock.now_ns())
    writer.publish(clock.now_ns())


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    """The writer of a store with a quiet epoch."""
    opened = Writer.open(tmp_path / "store")
    try:
        published(opened, 0, policies=[POLICY])
        yield opened
    finally:
        opened.close()


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """Rules by which every new flow is an alert."""
    path = tmp_path / "rules.toml"
    path.write_text("[new-flow]\nlearned_s = 0\n")
    return path


def watch(store: Path, *words: str, role: str = "privacy-officer") -> Result:
    return CliRunner().invoke(
        main, ["watch", "--store", str(store), "--role", role, "--interval", "0.1", "--once", *words]
    )


@pytest.mark.usefixtures("writer")
def test_a_quiet_store_is_exit_code_0(tmp_path: Path) -> None:
    result = watch(tmp_path / "store")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "not judged: lag-growing (a single look cannot tell)" in result.stderr
    assert "consent-late" in watch(tmp_path / "store", role="analyst").stderr


def test_a_leak_is_exit_code_1_with_its_evidence(writer: Writer, rules: Path, tmp_path: Path) -> None:
    published(writer, 1, decisions=[decision("health", "training-run", first=4)])
    result = watch(tmp_path / "store", "--rules", str(rules))
    assert result.exit_code == 1
    lines = [line.strip() for line in result.stdout.splitlines()]
    assert "begins  new-flow: data of the restricted zone health reached training-run" in lines[0]
    assert lines[1] == "evidence  g1/imu-right/4"
    assert lines[2].endswith("epoch 2")
    assert lines[3].startswith("do        see whether the policy means this")
    assert lines[4] == "ask       sightline ask decisions g1/imu-right/4"
    told = orjson.loads(watch(tmp_path / "store", "--rules", str(rules), "--json").stdout)
    assert (told["state"], told["rule"], told["about"]) == (
        "begins",
        "new-flow",
        {"zone": "health", "sink": "training-run"},
    )
    assert told["evidence"] == ["g1/imu-right/4"]
    # The command that it names answers.
    asked = CliRunner().invoke(
        main, [*told["ask"].split()[1:], "--store", str(tmp_path / "store"), "--role", "privacy-officer"]
    )
    assert asked.exit_code == 0
    assert watch(tmp_path / "store", "--rules", str(rules), role="analyst").exit_code == 0


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["--allow-remote"], 2, "--allow-remote: found no --post"),
        (["--post", "http://192.0.2.1/"], 2, "--allow-remote sends them elsewhere"),
        (["--rules", "absent.toml"], 2, "absent.toml: cannot be read as alert rules"),
        (["--store", "absent"], 3, "there is no store"),
        (["--role", "nobody"], 2, "expected analyst, privacy-officer or wearer:ID"),
    ],
)
@pytest.mark.usefixtures("writer")
def test_what_is_wrong_is_said(words: list[str], code: int, sentence: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["watch", "--once", "--store", str(tmp_path / "store"), *words])
    assert (result.exit_code, sentence in result.stderr) == (code, True), result.stderr


def test_it_follows_sends_and_ends_cleanly(writer: Writer, rules: Path, tmp_path: Path) -> None:
    taken: list[object] = []

    class Target(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taken.append(orjson.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Target)
    Thread(target=server.serve_forever, daemon=True).start()
    ready = tmp_path / "ready"
    command = [sys.executable, "-m", "streams.cli", "watch", "--store", str(tmp_path / "store"), "--json"]
    command += ["--role", "privacy-officer", "--rules", str(rules), "--interval", "0.1"]
    command += ["--post", f"http://127.0.0.1:{server.server_port}/", "--ready-file", str(ready)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            until(ready.exists, process)
            for number, sink in enumerate(("training-run", "review")):
                published(writer, number + 1, decisions=[decision("health", sink)])
                until(lambda expected=number + 1: len(taken) == expected, process)
        finally:
            process.send_signal(signal.SIGINT)
            printed, said = process.communicate(timeout=PATIENCE_S)
            server.shutdown()
            server.server_close()
    assert (process.returncode, "Traceback" in said) == (0, False), said
    lines = [orjson.loads(line) for line in printed.splitlines()]
    assert lines == taken
    assert [line["about"]["sink"] for line in lines] == ["training-run", "review"]


def until(there: object, process: subprocess.Popen[str]) -> None:
    """Wait for something."""
    assert callable(there)
    deadline = time.monotonic() + PATIENCE_S
    while not there():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "it did not come in time"
        time.sleep(0.05)
