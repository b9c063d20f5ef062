"""Commands run in this process as somebody types them, and those that stay as processes."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import click
import orjson
from click.testing import CliRunner, Result

from device_sim.__main__ import main as device_sim
from streams.cli.main import main as sightline
from tests.cli.samples import Sample
from tests.patience import PATIENCE_S

PROGRAMS: dict[str, click.Group] = {"sightline": sightline, "device-sim": device_sim}
ROOT = Path(__file__).parents[2]


def commands(
    command: click.Command, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """All commands of a program by their paths, as click itself knows them."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=path[-1])
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from commands(found, (*path, name))


TREE = {path: one for name, program in PROGRAMS.items() for path, one in commands(program, (name,))}


def options(command: click.Command) -> set[str]:
    return {
        name
        for one in command.params
        if isinstance(one, click.Option)
        for name in (*one.opts, *one.secondary_opts)
        if name.startswith("--")
    }


def path_of(line: str) -> tuple[str, ...]:
    """The command that a line runs."""
    words = shlex.split(line)
    return max((path for path in TREE if tuple(words[: len(path)]) == path), key=len)


def run(sample: Sample, **made: object) -> Result:
    words = shlex.split(sample.line.format(**made))
    result = CliRunner().invoke(PROGRAMS[words[0]], words[1:], input=sample.stdin)
    assert result.exit_code == sample.code, (sample.line, result.exit_code, result.output)
    assert "nobody expected" not in result.stderr, result.stderr
    if sample.code == 0:
        assert result.stdout or "--out" in words or "--follow" in words or "--migrate" in words
    if "--json" in words and sample.code in (0, 1):
        assert [orjson.loads(line) for line in result.stdout.splitlines()]
    return result


@contextlib.contextmanager
def asked_to_stay(tmp: Path) -> Iterator[dict[str, object]]:
    """A descriptor and a file that say *ready*; who stays in this process is stopped once the file does."""
    read, write = os.pipe()
    ready, done = tmp / "ready", threading.Event()

    def stop() -> None:
        while not done.wait(0.05):
            if ready.exists():
                os.kill(os.getpid(), signal.SIGINT)
                return

    former = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    stopping = threading.Thread(target=stop, daemon=True)
    try:
        yield {"fd": write, "ready": ready, "stopping": stopping}
        assert os.read(read, 64) == b"READY=1\n"
        assert not ready.exists()
    finally:
        done.set()
        for number, handler in former.items():
            signal.signal(number, handler)
        os.close(read)


def run_until_stopped(sample: Sample, given: Mapping[str, object]) -> None:
    with asked_to_stay(Path(str(given["tmp"]))) as staying:
        stopping = staying.pop("stopping")
        assert isinstance(stopping, threading.Thread)
        stopping.start()
        run(sample, **{**given, **staying})


@contextlib.contextmanager
def staying(line: str, *, tmp: Path, **made: object) -> Iterator[None]:
    """A command that stays, as a process; ready when the block begins, asked to stop after it."""
    read, write = os.pipe()
    words = shlex.split(line.format(tmp=tmp, fd=write, ready=tmp / "ready-file", **made))
    module = {"sightline": "streams.cli", "device-sim": "device_sim"}[words[0]]
    with (tmp / f"{words[1]}.log").open("w+", encoding="utf-8") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *words[1:]], cwd=ROOT, stdout=log, stderr=log, pass_fds=(write,)
        )
        os.close(write)
        try:
            assert os.read(read, 64) == b"READY=1\n", (tmp / f"{words[1]}.log").read_text(encoding="utf-8")
            yield
            assert (tmp / "ready-file").exists()
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE_S) == 0, (tmp / f"{words[1]}.log").read_text(encoding="utf-8")
            assert not (tmp / "ready-file").exists()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            os.close(read)
