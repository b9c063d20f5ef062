"""docs/extending.md is followed to the letter: its files in an empty folder, its commands in their order.

The Kafka is the test's own, so `127.0.0.1:9092` stands for its address; commands that stay are waited for.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from streams import clock, limits, unfiltered
from streams.errors import UnavailableError
from streams.processing.shipped import SHIPPED_OPERATORS
from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
ADDRESS = "127.0.0.1:9092"
PROGRAMS = {"sightline": "streams.cli", "device-sim": "device_sim"}
#: A file of the page with its name before it, or commands.
_BLOCK = re.compile(r"(?:^`([\w.]+)`:\n\n)?^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def folder(directory: Path) -> Path:
    """An empty folder, and beside it the programs that the page calls, from this checkout."""
    programs = directory / "programs"
    programs.mkdir()
    for name, module in (*PROGRAMS.items(), ("python", "")):
        words = f'-m {module} "$@"' if module else '"$@"'
        program = programs / name
        program.write_text(f"#!/bin/sh\nexec {sys.executable} {words}\n", encoding="utf-8")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    (directory / "empty").mkdir()
    return directory / "empty"


class Reader:
    """Somebody who follows the page; `said` is what its commands print, by command."""

    def __init__(self, home: Path, broker: str) -> None:
        self.home, self.said = home, dict[str, str]()
        self._staying: list[tuple[subprocess.Popen[bytes], Path]] = []
        self._broker = broker
        left_out = {name for name in os.environ if name.startswith("SIGHTLINE_")}
        self._environment = {
            **{name: value for name, value in os.environ.items() if name not in left_out},
            "PATH": f"{home.parent / 'programs'}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "SIGHTLINE_BROKER": broker,
        }

    def follow(self) -> None:
        """Write each file and run each command, in the order of the page."""
        for name, form, content in _BLOCK.findall(PAGE):
            if name:
                (self.home / name).write_text(content, encoding="utf-8")
            elif form == "sh":
                for line in content.splitlines():
                    if line.endswith(" &"):
                        self._stay(line.removesuffix(" &"))
                    else:
                        self._run(line)

    def _stay(self, line: str) -> None:
        log, ready = self.home.parent / f"{line}.log", self.home.parent / f"{line}.ready"
        words = [*line.split(), "--ready-file", str(ready)]
        with log.open("wb") as output:
            process = subprocess.Popen(
                words, cwd=self.home, env=self._environment, stdout=output, stderr=subprocess.STDOUT
            )
        self._staying.append((process, log))
        wait_for(lambda: ready.exists() or process.poll() is not None, log)
        assert process.poll() is None, log.read_text(encoding="utf-8")

    def _run(self, line: str) -> None:
        ended = subprocess.run(
            line.replace(ADDRESS, self._broker),
            shell=True,
            cwd=self.home,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert ended.returncode == 0, (line, ended.stdout, ended.stderr)
        self.said[line] = ended.stdout
        if line.startswith("python send.py"):
            # A person needs longer to read on than what was sent to come into the store.
            wait_for(self._arrived, self.home)

    def _arrived(self) -> bool:
        """Whether the store has all that the page says will come of what was sent."""
        with contextlib.suppress(UnavailableError), unfiltered(self.home / "lineage-store") as store:
            made = store.sql("SELECT count(*) AS warmths FROM events WHERE kind = 'warmth'").to_dicts()
            return made == [{"warmths": 6}]
        return False

    def stop(self) -> Iterator[str]:
        """Stop what stays; what each of them has said."""
        for process, log in reversed(self._staying):
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE_S) == 0, log.read_text(encoding="utf-8")
            yield log.read_text(encoding="utf-8")

    def end(self) -> None:
        """Let nothing stay behind a test that failed."""
        for process, _ in self._staying:
            if process.poll() is None:
                process.kill()
                process.wait()


def wait_for(condition: Callable[[], bool], about: Path) -> None:
    began_s = clock.monotonic_s()
    while not condition():
        assert clock.monotonic_s() - began_s < PATIENCE_S, about
        time.sleep(0.1)


@contextmanager
def reading(home: Path, broker: str) -> Iterator[Reader]:
    reader = Reader(home, broker)
    try:
        yield reader
    finally:
        reader.end()


def test_a_stranger_who_follows_the_page_gets_what_it_says(own_broker: str, tmp_path: Path) -> None:
    with reading(folder(tmp_path), own_broker) as reader:
        reader.follow()
        said = reader.said
        assert "2 passed" in said["python -m pytest -q test_my_glasses.py"]
        assert "each comes out as the file says" in said["sightline policy test mine.toml"]
        last = re.search(r"`(kinds that it does not name, so refused) +(temple, warmth)`", PAGE)
        assert last is not None
        assert re.search(rf"{last[1]} +{last[2]}\n", said["sightline policy check household"])
        # 120 samples, twenty a window: numbers that the page says, and that no code of ours was asked for.
        assert said["sightline sql < warmth.sql"].splitlines()[-1].split() == ["home-private", "6", "120"]
        ancestors = said["sightline ask ancestors g8/warmth/20"]
        assert "g8/temple/20      20  home-private  g8/warmth  warmth" in ancestors
        assert said[f"sightline ledger journal --broker {ADDRESS}"].splitlines()[-1] == "clean"
        replayed = said["sightline replay journal --inputs lineage-store --compare"]
        assert replayed.rstrip().endswith("equal")
        assert sorted(path.name for path in (reader.home / "schemas").iterdir()) == [
            "kinds.md",
            "temple.json",
            "warmth.json",
        ]
        logs = list(reader.stop())
        assert len(logs) == 2
        assert not any("Traceback" in log or "is not known here" in log for log in logs)


def test_the_bytes_that_the_page_leaves_to_own_operators_are_what_is_left() -> None:
    shipped = sum(operator.open_bytes_max for operator in SHIPPED_OPERATORS.values())
    allowed = limits.OPEN_WINDOWS_BYTES_MAX // limits.STREAMS_PER_DEVICE_MAX
    left = allowed - shipped
    assert f"may hold {allowed:,} bytes" in PAGE
    assert f"need {shipped:,} of these, so {left // 8} samples of `<f8` are left, or {left // 4} of" in PAGE
