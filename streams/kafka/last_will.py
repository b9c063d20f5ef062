"""A worker that is killed leaves its groups at once.

A broker that hears nothing more of a member waits until its session is over, and all partitions of the group
may stand still as long. So the worker starts a helper (`streams/kafka/leaving.py`) and writes to its standard
input who it is in which group, a line each; the helper tells the broker once the worker is gone. Nothing
relies on it: whoever takes the partitions over fences the worker's producers, and where the whole machine or
container goes, the end of the session decides.
"""

from __future__ import annotations

import contextlib
import subprocess
import threading

from streams.kafka import helper, leaving


class LastWill:
    """What brokers are told when this process is gone; its first call starts the helper that tells them.

    `wait_s`: for how many seconds the helper tries where no broker answers.
    """

    def __init__(self, wait_s: float) -> None:
        self._tries = round(wait_s / leaving.PAUSE_S)
        self._process: subprocess.Popen[bytes] | None = None
        self._told: dict[tuple[str, str], str] = {}
        # Each agent's consumer has a thread of its own.
        self._lock = threading.Lock()

    def joined(self, broker: str, group: str, member: str) -> None:
        """Note that this process is `member` of `group` on the broker HOST:PORT, in place of what it was."""
        with self._lock:
            if self._told.get((broker, group)) == member:
                return
            if self._process is None:
                self._process = helper.start(leaving, "-I", "-S", arguments=(self._tries,))
            self._write(broker, group, member)

    def left(self, broker: str, group: str) -> None:
        """Note that this process has left `group` itself: nobody is to be told."""
        with self._lock:
            self._write(broker, group, "")

    def _write(self, broker: str, group: str, member: str) -> None:
        self._told[broker, group] = member
        host, _, port = broker.rpartition(":")
        if self._process is not None and self._process.stdin is not None:
            # Without it all goes on; a dead worker is then missed later.
            with contextlib.suppress(OSError):
                self._process.stdin.write("\t".join((host, port, group, member)).encode() + b"\n")
                self._process.stdin.flush()
