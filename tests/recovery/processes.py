"""The subjects, each in a process of its own, and what can be done to one.

That is: start it, kill it, freeze it, fill its disk.
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import psutil

from streams import clock
from streams.readiness import Awaited

STOP_WAIT_S = 10.0
#: What a writer with a full disk may still write: less than the head of any file that it makes.
FULL_BYTES = 4096


class Child:
    """One command, started again as often as it is asked to.

    Its words go into `log` through us, whatever its disk does.
    """

    def __init__(self, name: str, arguments: Sequence[str], log: Path, *, says_ready: bool = False) -> None:
        self.name, self.log, self._says_ready = name, log, says_ready
        self._arguments = [sys.executable, "-m", *arguments]
        self._process: subprocess.Popen[bytes] | None = None
        self._awaited: Awaited | None = None
        self._groups: list[int] = []
        self.starts = 0
        self.frozen = False
        #: What the environment of the next starts has besides ours.
        self.environment: dict[str, str] = {}
        #: Where the next starts run, and so whose code.
        self.directory: Path | None = None

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def code(self) -> int | None:
        """Exit code of the last start once it has ended; of a signal the negative number."""
        return None if self._process is None else self._process.poll()

    @property
    def ready(self) -> bool:
        """Whether the last start has said that it is ready."""
        return self._awaited is not None and self._awaited.is_ready()

    def times_said(self, words: str | re.Pattern[str]) -> int:
        """How often its log has these words."""
        said = self.log.read_text(encoding="utf-8") if self.log.exists() else ""
        return said.count(words) if isinstance(words, str) else len(words.findall(said))

    def start(self, *arguments: str) -> None:
        """Start it, unless it runs; this time with some arguments more."""
        if self.pid is not None:
            return
        awaited = Awaited() if self._says_ready else None
        with awaited.given() if awaited else contextlib.nullcontext():
            # A session of its own: Ctrl-C reaches the harness alone, and its group can be ended as a whole.
            self._process = subprocess.Popen(
                [*self._arguments, *arguments, *(awaited.arguments if awaited else ())],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env={**os.environ, **self.environment},
                cwd=self.directory,
                pass_fds=awaited.descriptors if awaited else (),
            )
        self._awaited = awaited
        self._groups.append(self._process.pid)
        self.starts += 1
        self.frozen = False
        threading.Thread(target=_pour, args=(self._process.stdout, self.log), daemon=True).start()

    def add(self, *arguments: str) -> None:
        """Let further starts have these arguments too; of an option that stands twice the last one counts."""
        self._arguments += arguments

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process alone. Nothing happens when it does not run."""
        if self.pid is not None:
            self.frozen = number == signal.SIGSTOP or (self.frozen and number != signal.SIGCONT)
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once and wait for that."""
        self.send(signal.SIGKILL)
        self.wait()

    def stop(self) -> bool:
        """Ask it to stop; kill it and return False when it does not within 10 s."""
        self.send(signal.SIGTERM)
        self.send(signal.SIGCONT)
        if self.wait(STOP_WAIT_S):
            return True
        self.kill()
        return False

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for its end; False when it has not come in time."""
        if self._process is not None:
            try:
                self._process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                return False
        return True

    def fill_disk(self, *, full: bool) -> None:
        """Let every write of it to a file fail, or succeed again."""
        if self.pid is not None:
            limit = FULL_BYTES if full else resource.RLIM_INFINITY
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

    def sweep(self) -> int:
        """End whatever any start of it has left behind; return how many groups still had a process."""
        running = set()
        for process in psutil.process_iter(["status"]):
            with contextlib.suppress(ProcessLookupError):
                if process.info["status"] != psutil.STATUS_ZOMBIE:
                    running.add(os.getpgid(process.pid))
        left = running & set(self._groups)
        for group in left:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        self.wait()
        self._groups = []
        return len(left)

    def last_line(self) -> str:
        """What it said last."""
        said = (
            self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            if self.log.exists()
            else []
        )
        return said[-1][:300] if said else "it said nothing"


def _pour(source: IO[bytes] | None, log: Path) -> None:
    """Carry what a process says into its log, start behind start, with the time of each line."""
    if source is None:
        return
    with source, log.open("ab", buffering=0) as out:
        for line in source:
            out.write(f"{clock.now_ns() / 1e9:.3f} ".encode() + line)
