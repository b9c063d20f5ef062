"""Takes a worker that was killed out of its groups at once.

A broker that hears nothing more of a member waits until its session is over, and all partitions of the group
may stand still as long. Here a process of its own, `python -I -S last_will.py TRIES`, holds what the broker
is to be told: the worker writes to its standard input who it is in which group, a line each. The system
closes that when the worker is gone, whatever ended it; then the process tells the broker that those members
have left. Nothing relies on it. A worker that is still there has never told so; whoever takes its partitions
over fences its producers; and where the whole machine or container goes, the end of the session decides. It
needs the standard library alone, so that it takes little memory and is quick.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

_CONNECT_WAIT_S = 1.0
PAUSE_S = 0.2
#: Requests of Kafka's protocol: key of each, all in their version 0.
_FIND_COORDINATOR, _LEAVE_GROUP = 10, 13
#: The coordinator loads, is not there, or is another one by now.
_PASSING = (14, 15, 16)


class Member(NamedTuple):
    """Who is in which group of the cluster that a broker belongs to."""

    host: str
    port: int
    group: str
    member: str


class LastWill:
    """What brokers are told when this process is gone; the first word of it starts the one that tells them.

    `wait_s`: for how long that one tries where no broker answers.
    """

    def __init__(self, wait_s: float) -> None:
        self._tries = round(wait_s / PAUSE_S)
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
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", str(Path(__file__)), str(self._tries)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    # Who ends all processes of a session ends the worker with it.
                    start_new_session=True,
                )
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


def main() -> None:
    """Read members to the end of standard input, then let each leave its group."""
    for number in (signal.SIGINT, signal.SIGTERM):
        # They end the worker, and with it this one.
        signal.signal(number, signal.SIG_IGN)
    members: dict[tuple[str, str, str], Member] = {}
    for line in sys.stdin.buffer:
        host, port, group, member = line.decode().rstrip("\n").split("\t")
        members[host, port, group] = Member(host, int(port), group, member)
    staying = [each for each in members.values() if each.member]
    for _ in range(int(sys.argv[1])):
        staying = [each for each in staying if not _left(each)]
        if not staying:
            break
        time.sleep(PAUSE_S)


def _left(member: Member) -> bool:
    """Say that a member has left; False where nobody could hear it now."""
    try:
        coordinator = _asked((member.host, member.port), _FIND_COORDINATOR, _text(member.group))
        code, _node, size = struct.unpack_from(">hih", coordinator)
        if code:
            return code not in _PASSING
        host, (port,) = coordinator[8 : 8 + size].decode(), struct.unpack_from(">i", coordinator, 8 + size)
        body = _text(member.group) + _text(member.member)
        (code,) = struct.unpack_from(">h", _asked((host, port), _LEAVE_GROUP, body))
    except (OSError, struct.error):
        return False
    return code not in _PASSING


def _text(text: str) -> bytes:
    return struct.pack(">h", len(text.encode())) + text.encode()


def _asked(address: tuple[str, int], key: int, body: bytes) -> bytes:
    """Send one request over a connection of its own; return the answer behind its head."""
    request = struct.pack(">hhih", key, 0, 1, -1) + body
    with socket.create_connection(address, _CONNECT_WAIT_S) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        with connection.makefile("rb") as answer:
            (size,) = struct.unpack(">i", answer.read(4))
            return answer.read(size)[4:]


if __name__ == "__main__":
    main()
