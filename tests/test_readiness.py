"""Readiness is reported once, by a descriptor, a socket or a file, to the process that waits for it."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from streams import settings
from streams.errors import InputError
from streams.readiness import READY, Awaited, Ready
from tests.patience import PATIENCE_S

ROOT = Path(__file__).parent.parent
CHILD = """
import sys
from streams.readiness import Ready
with Ready(int(sys.argv[2])) as ready:
    sys.stdin.readline()
    ready.say()
    sys.stdin.readline()
"""


def test_a_child_is_ready_when_it_says_so_and_not_before() -> None:
    awaited = Awaited()
    with awaited.given():
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, *awaited.arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            pass_fds=awaited.descriptors,
        )
    assert child.stdin is not None
    assert not awaited.is_ready()
    child.stdin.write(b"\n")
    child.stdin.flush()
    os.set_blocking(awaited._read, True)
    assert awaited.is_ready()
    child.communicate(b"\n", timeout=PATIENCE_S)
    assert (child.returncode, awaited.is_ready()) == (0, True)


def test_a_child_that_ends_before_was_never_ready() -> None:
    awaited = Awaited()
    with awaited.given():
        subprocess.run([sys.executable, "-c", ""], pass_fds=awaited.descriptors, check=True)
    assert not awaited.is_ready()


def test_the_descriptor_is_closed_once_it_is_said_and_is_not_the_childrens() -> None:
    read, write = os.pipe()
    os.set_inheritable(write, True)
    with Ready(write) as ready:
        assert not os.get_inheritable(write)
        ready.say()
        assert os.read(read, 100) == READY
        assert os.read(read, 100) == b""
        ready.say()
    os.close(read)


def test_nobody_waits_any_more() -> None:
    read, write = os.pipe()
    os.close(read)
    with Ready(write) as ready:
        ready.say()


def test_a_descriptor_that_is_not_there_is_a_sentence() -> None:
    with pytest.raises(InputError, match="--ready-fd 999: found no such descriptor"):
        Ready(999)


def test_the_file_is_there_as_long_as_the_process_is_ready(tmp_path: Path) -> None:
    file, victim = tmp_path / "ready", tmp_path / "victim"
    victim.write_text("untouched")
    file.symlink_to(victim)
    with Ready(file=file) as ready:
        assert not file.is_symlink(), "what an earlier one left says nothing of this one"
        ready.say()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not file.exists()
    assert victim.read_text() == "untouched"


@pytest.mark.parametrize("abstract", [False, True])
def test_a_service_manager_hears_it(abstract: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"@sightline-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    monkeypatch.setattr(settings, "NOTIFY_SOCKET", name)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name.replace("@", "\0", 1))
        with Ready() as ready:
            ready.say()
        assert manager.recv(100) == READY
