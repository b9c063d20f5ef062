"""Every way in which a process can end, each with its sentence on standard error."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import click
import pytest
from click.testing import CliRunner

from device_sim import files as device_files
from device_sim import runner
from device_sim.__main__ import main as device_sim
from streams import ends, limits, locking, logs
from streams.cli.main import main as sightline
from streams.demo import Demo
from streams.ends import Commands, End, TerminatedError
from streams.errors import InputError, SightlineError, UnavailableError
from streams.events.record import AgentSpec
from streams.kafka import broker
from streams.kafka.broker import EmbeddedBroker
from streams.kafka.transport import BatchConsumer
from streams.snapshots.writer import Writer
from streams.worker import run
from tests.patience import PATIENCE_S

ROOT, SECRET = Path(__file__).parent.parent, "turn the light on"
PAGE = ROOT / "docs" / "operations.md"


class Ended(BaseException):
    """Raised in place of the end of the process."""


@pytest.fixture
def codes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Exit codes with which the process would have ended at once."""
    found: list[int] = []

    def end(code: int) -> NoReturn:
        found.append(code)
        raise Ended

    monkeypatch.setattr(os, "_exit", end)
    logs.to_stderr("sightline", "text")
    return found


def row(end: End) -> str:
    """A row of the table in docs/operations.md."""
    return f"| {end.name.lower().replace('_', ' ')} | {end.code} | {end.when} | {end.advice} |"


def test_the_page_lists_the_ends_of_the_code() -> None:
    listed = re.search(r"\| --- \| ---: \| --- \| --- \|\n((?:\|.*\n)+)", PAGE.read_text(encoding="utf-8"))
    assert listed is not None
    assert listed[1].splitlines() == [row(end) for end in End], "python -m tests.test_ends writes them"


def test_every_end_is_one_that_the_code_takes() -> None:
    text = "".join(
        path.read_text(encoding="utf-8")
        for room in ("streams", "device_sim")
        for path in (ROOT / room).rglob("*.py")
    )
    unused = [end.name for end in End if not re.search(rf"End\.{end.name}\b", text)]
    assert unused == ["DONE"], "that is what a process does that nobody ends"


def test_an_error_has_the_code_of_its_end() -> None:
    ends_of = {SightlineError: End.CHECK, InputError: End.INPUT, UnavailableError: End.UNAVAILABLE}
    assert all(kind.exit_code == end.code for kind, end in ends_of.items())


class Panic(BaseException):
    """An exception like a panic of an extension module in Rust."""


@pytest.mark.parametrize(
    ("error", "end", "said"),
    [
        (InputError("policy.toml: found no zone"), End.INPUT, "policy.toml: found no zone"),
        (UnavailableError("No Kafka answers"), End.UNAVAILABLE, "No Kafka answers"),
        (SightlineError("an agent stopped"), End.CHECK, "an agent stopped"),
        (KeyError(SECRET), End.UNEXPECTED, "KeyError in "),
        (Panic(SECRET), End.UNEXPECTED, "Panic in "),
        (MemoryError(), End.UNEXPECTED, "MemoryError in "),
        (ExceptionGroup("x", [ValueError(SECRET)]), End.UNEXPECTED, "ValueError in "),
        (ExceptionGroup("x", [InputError("said")]), End.INPUT, "said"),
        (OSError(errno.ENOSPC, SECRET, "/here"), End.UNAVAILABLE, "/here: the system refused (No space left"),
        (BrokenPipeError(errno.EPIPE, "x"), End.OUTPUT_GONE, "whoever read the output has gone"),
        (KeyboardInterrupt(), End.INTERRUPTED, "stopped by Ctrl-C"),
        (click.Abort(), End.INTERRUPTED, "stopped by Ctrl-C"),
        (TerminatedError(), End.TERMINATED, "stopped by SIGTERM"),
    ],
    ids=lambda value: value.name if isinstance(value, End) else type(value).__name__,
)
@pytest.mark.parametrize("form", [None, "text", "json"])
def test_whatever_a_command_raises_is_a_sentence_and_a_code(
    error: BaseException, end: End, said: str, form: logs.Form | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("logging.root.handlers", [])
    if form:
        logs.to_stderr("sightline", form)

    def fail() -> None:
        raise error

    commands = Commands("x", commands={"fail": click.Command("fail", callback=fail)})
    monkeypatch.setattr(ends, "_drop_output", lambda: None)
    result = CliRunner().invoke(commands, ["fail"])
    assert (result.exit_code, result.stdout) == (end.code, "")
    (line,) = result.stderr.splitlines()
    assert said in (json.loads(line)["message"] if form == "json" else line)
    assert SECRET not in line
    assert "Traceback" not in line


LIVES = """
import asyncio, logging, os, signal, sys, threading, time
# As a library does: where one handler is, `logging.basicConfig` adds none.
logging.getLogger().addHandler(logging.NullHandler())
import click
from streams import logs
from streams.ends import Commands, end_process

@click.group(cls=Commands)
def main(): logs.to_stderr("sightline")

@main.command()
@click.argument("how")
def live(how):
    if how == "loudly":
        end_process("The owner of a partition failed")
    if how == "thread":
        threading.Thread(target=lambda: {}["turn the light on"], name="reader").start()
        time.sleep(600)
    if how == "pipe":
        for _ in range(10_000): click.echo("x" * 80)
    if how == "task":
        async def forget():
            asyncio.get_running_loop().create_task(asyncio.sleep(0, {}["turn the light on"]))
        async def work():
            task = asyncio.ensure_future(forget())
            await asyncio.sleep(0.01)
            del task
        asyncio.run(work())
    else:
        os.kill(os.getpid(), getattr(signal, how))
        time.sleep(600)
main()
"""


@pytest.mark.parametrize(
    ("how", "code", "said"),
    [
        ("thread", 4, "The thread reader ended: ended by an error that nobody expected: KeyError in "),
        ("loudly", 4, "The owner of a partition failed"),
        ("pipe", 141, "whoever read the output has gone"),
        ("task", 0, "asyncio line "),
        ("SIGINT", 130, "stopped by Ctrl-C before its end"),
        ("SIGTERM", 143, "stopped by SIGTERM before its end"),
    ],
)
def test_a_real_process_ends_with_one_sentence(how: str, code: int, said: str) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-c", LIVES, "live", how],
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        timeout=PATIENCE_S,
        check=False,
    )
    os.close(write)
    assert done.returncode == code, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("sightline: ")
    assert said in line
    assert SECRET not in line


def test_an_end_before_anything_is_set_up_is_said_too() -> None:
    command = "from streams.ends import end_process; end_process('The child has lost its worker')"
    done = subprocess.run(
        [sys.executable, "-c", command],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (4, "sightline: The child has lost its worker\n")


def test_a_broker_that_is_away_ends_each_process_with_a_sentence(tmp_path: Path) -> None:
    at = ("--broker", "127.0.0.1:1")
    commands: dict[str, tuple[str, ...]] = {
        "worker": ("streams.cli", "worker", "--log", "json", *at),
        "device": ("device_sim", "run", "--journal", str(tmp_path / "journal"), *at),
    }
    started = {
        name: subprocess.Popen(
            [sys.executable, "-m", *arguments], cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for name, arguments in commands.items()
    }
    for name, process in started.items():
        out, said = process.communicate(timeout=40)
        line = said.decode().splitlines()[-1]
        assert (process.returncode, out) == (End.UNAVAILABLE.code, b""), (name, said)
        assert "No Kafka answers at 127.0.0.1:1" in line, (name, line)
        if name == "worker":
            assert json.loads(line)["level"] == "CRITICAL"


def test_a_port_in_use_a_held_lock_and_a_java_that_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker, "ensure_jars", lambda _progress: [])
    monkeypatch.setattr(broker, "_format", lambda *_arguments: None)
    monkeypatch.setattr(broker, "java", lambda: Path("/bin/false"))
    monkeypatch.setattr("streams.kafka.ahead.options", lambda *_arguments: [])

    def started(port: int) -> Any:
        arguments = ["broker", "--port", str(port), "--directory", str(tmp_path / "kafka")]
        return CliRunner().invoke(sightline, arguments)

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert_said(started(port), End.UNAVAILABLE, f"Port {port} on 127.0.0.1")
    assert_said(started(broker.free_port()), End.UNAVAILABLE, "Apache Kafka ended while it started")
    with (tmp_path / "kafka" / "lock").open("r+") as lock:
        locking.claim(lock.fileno())
        assert_said(started(broker.free_port()), End.UNAVAILABLE, "Another Kafka (process ")
    monkeypatch.setattr(EmbeddedBroker, "start", lambda *_arguments: None)
    monkeypatch.setattr(EmbeddedBroker, "address", "127.0.0.1:9092")

    async def declared(*_arguments: object) -> None:
        return None

    monkeypatch.setattr("streams.cli.broker.declare", declared)
    assert_said(started(9092), End.UNAVAILABLE, "Apache Kafka ended by itself")


def assert_said(result: Any, end: End, said: str) -> None:
    """Check for one sentence, only on standard error, and for the exit code of the end."""
    assert result.exit_code == end.code, result.output
    assert said in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr


def test_a_store_that_is_taken_or_is_none(tmp_path: Path) -> None:
    arguments = ["snapshots", "--store", str(tmp_path / "store")]
    taken = Writer.open(tmp_path / "store")
    assert_said(CliRunner().invoke(sightline, arguments), End.UNAVAILABLE, "in use by another writer")
    taken.close()
    (tmp_path / "store" / "hot.duckdb").write_text("no database")
    assert_said(CliRunner().invoke(sightline, arguments), End.INPUT, "cannot be opened as a store's hot file")


def test_arguments_that_are_wrong(tmp_path: Path) -> None:
    for commands, arguments, said in (
        (sightline, ["worker", "--policy"], "requires an argument"),
        (sightline, ["worker", "--ready-fd", "999"], "--ready-fd 999: found no such descriptor"),
        (sightline, ["worker", "--log", "xml"], "is not one of 'text', 'json'"),
        (sightline, ["sql", "SELEC", "--store", str(tmp_path)], ""),
        (device_sim, ["run", "--journal", str(tmp_path), "--scenario", "none"], "none"),
    ):
        result = CliRunner().invoke(commands, arguments)
        assert result.exit_code in {End.INPUT.code, End.UNAVAILABLE.code}, result.output
        assert said in result.stderr.splitlines()[-1]


def test_a_full_disk_ends_a_device_and_an_export_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, SECRET)

    monkeypatch.setattr(device_files.Journal, "write", full)
    arguments = ["run", "--to", "file", "--journal", str(tmp_path), "--duration-s", "5"]
    result = CliRunner().invoke(device_sim, arguments)
    assert_said(result, End.UNAVAILABLE, "the system refused (No space left on device, in ")
    monkeypatch.setattr("streams.cli.sql.answer", full)
    arguments = ["sql", "SELECT 1", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(sightline, arguments)
    assert_said(result, End.INPUT, "out: cannot be written (No space left on device)")


async def _failed(error: BaseException, name: str) -> asyncio.Task[None]:
    async def fail() -> None:
        raise error

    task = asyncio.create_task(fail(), name=name)
    await asyncio.wait({task})
    return task


async def test_what_must_not_end_takes_the_worker_with_it(
    codes: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    consumer = BatchConsumer.__new__(BatchConsumer)
    owner = await _failed(InputError("state and offset do not fit"), "owner of glasses.captured 3")
    with pytest.raises(Ended):
        consumer._owner_done(owner)
    for error in (Panic(SECRET), KeyError(SECRET)):
        follower = await _failed(error, "follower of glasses.policies")
        with pytest.raises(Ended):
            ends.end_with(follower)
    assert codes == [End.OWNER.code, End.UNEXPECTED.code, End.UNEXPECTED.code]
    first, second, third = capsys.readouterr().err.splitlines()
    assert f"captured 3 failed: state and offset do not fit; {ends.COMMITTED_STANDS}" in first
    assert "The follower of glasses.policies ended: Panic; this process ends now" in second
    assert "The follower of glasses.policies ended: KeyError; this process ends now" in third


async def test_a_group_that_never_gets_an_assignment_ends_the_worker(
    codes: list[int], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "EMPTY_ASSIGNMENT_REJOIN_S", 0.0)

    class Member(BatchConsumer):
        agent = "glasses"

    consumer = Member.__new__(Member)
    consumer._thread = SimpleNamespace(assignor=SimpleNamespace(missed=True), _ensure_consumer=lambda: 1 / 0)
    with logs.at("glasses"), pytest.raises(Ended):
        await consumer._watch_assignments()
    assert codes == [End.NO_ASSIGNMENT.code]
    said = capsys.readouterr().err.splitlines()
    assert said[-1].endswith(ends.COMMITTED_STANDS), "its topic may have been deleted"
    assert "CRITICAL glasses - glasses: asked 5 times for another assignment and none came" in said[-1]


async def test_a_worker_that_does_not_stop_in_time_says_so(
    codes: list[int], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def serve(*_arguments: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(60)

    monkeypatch.setattr(run, "_serve", serve)
    monkeypatch.setattr(run, "STOP_TIMEOUT_S", 0.05)

    async def prepare(_context: object) -> list[AgentSpec]:
        return []

    with pytest.raises(Ended):
        await run._run(run.WorkerSettings("127.0.0.1:1", "household"), prepare, lambda: None)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().remove_signal_handler(number)
    assert codes == [End.SLOW.code]
    assert "The worker did not stop within 0.1 s; this worker ends now" in capsys.readouterr().err


async def test_a_second_signal_ends_a_device_at_once(
    codes: list[int], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: dict[int, Callable[[], None]] = {}
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "add_signal_handler", heard.__setitem__)
    monkeypatch.setattr(loop, "remove_signal_handler", heard.pop)
    stop = asyncio.Event()
    with runner._signals(stop):
        heard[signal.SIGINT]()
        assert stop.is_set()
        with pytest.raises(Ended):
            heard[signal.SIGTERM]()
    assert codes == [End.INTERRUPTED.code]
    assert "stopped at once by a second signal" in capsys.readouterr().err


def test_a_demo_whose_broker_is_gone_says_so(tmp_path: Path) -> None:
    demo = Demo(tmp_path / "store", "household", print, embedded=EmbeddedBroker())
    with pytest.raises(UnavailableError, match=r"Apache Kafka ended by itself; look into .*kafka\.log"):
        demo.watch()


if __name__ == "__main__":
    page = PAGE.read_text(encoding="utf-8")
    head, rule, rest = page.partition("| --- | ---: | --- | --- |\n")
    PAGE.write_text(head + rule + "\n".join(map(row, End)) + rest[rest.index("\n\n") :], encoding="utf-8")
