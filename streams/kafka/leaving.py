"""Tells brokers that a worker which is gone has left its groups: `python -I -S leaving.py TRIES`.

It reads who is in which group from its standard input, a line each, until the system closes that because the
worker is gone; then it tells the broker that those members have left. A worker that is still there has never
told so. It is run by its path and needs the standard library alone, so that it takes little memory and starts
quickly (`streams/kafka/last_will.py` starts it).
"""

from __future__ import annotations

import signal
import socket
import struct
import sys
import time
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
