"""Make a worker leave its consumer groups at once even if it is killed.

Otherwise the broker waits for the end of the member's session, and meanwhile all partitions of the group may
stand still. So the worker starts a helper process (`streams/kafka/leaving.py`) and writes its member ids to
the helper's standard input; when the worker is gone, the helper sends the broker a request to leave the
groups. This is an optimisation only: a new owner fences the worker's producers in any case, and if the whole
machine or container fails, the session times out.
"""

from __future__ import annotations

import contextlib
import subprocess
import threading

from streams.kafka import helper, leaving


class LastWill:
    """The memberships to end when this process is gone. The first `joined` starts the helper.

    `wait_s`: seconds for which the helper retries if no broker answers.
    """

    def __init__(self, wait_s: float) -> None:
        self._tries = round(wait_s / leaving.PAUSE_S)
        self._process: subprocess.Popen[bytes] | None = None
        self._told: dict[tuple[str, str], str] = {}
        # Each agent's consumer has a thread of its own.
        self._lock = threading.Lock()

    def joined(self, broker: str, group: str, member: str) -> None:
        """Note that this process is `member` of `group` on the broker HOST:PORT; replaces its earlier id."""
        with self._lock:
            if self._told.get((broker, group)) == member:
                return
            if self._process is None:
                self._process = helper.start(leaving, "-I", "-S", arguments=(self._tries,))
            self._write(broker, group, member)

    def left(self, broker: str, group: str) -> None:
        """Note that this process has left `group` itself."""
        with self._lock:
            self._write(broker, group, "")

    def _write(self, broker: str, group: str, member: str) -> None:
        self._told[broker, group] = member
        host, _, port = broker.rpartition(":")
        if self._process is not None and self._process.stdin is not None:
            # If the helper is gone, the session timeout applies.
            with contextlib.suppress(OSError):
                self._process.stdin.write("\t".join((host, port, group, member)).encode() + b"\n")
                self._process.stdin.flush()
