"""Remove a worker that is gone from its consumer groups: `python -I -S leaving.py TRIES`.

This helper process reads the worker's memberships from standard input, one per line, until the input ends,
which happens when the worker is gone. Then it sends the broker a LeaveGroup request for each. It is run by
its path and imports only the standard library, so that it starts quickly and takes little memory
(`streams/kafka/last_will.py` starts it).
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
#: API keys of Kafka's protocol; both requests are sent in version 0.
_FIND_COORDINATOR, _LEAVE_GROUP = 10, 13
#: Error codes to retry: the coordinator is loading, not available, or has moved.
_PASSING = (14, 15, 16)


class Member(NamedTuple):
    """A member of a consumer group, and the address of a broker of the cluster."""

    host: str
    port: int
    group: str
    member: str


def main() -> None:
    """Read members to the end of standard input, then let each leave its group."""
    for number in (signal.SIGINT, signal.SIGTERM):
        # A signal that ends all processes must not end the helper before the worker is gone.
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
    """Send LeaveGroup for a member; False if it must be tried again."""
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
    """Send one request over a new connection; return the response without its header."""
    request = struct.pack(">hhih", key, 0, 1, -1) + body
    with socket.create_connection(address, _CONNECT_WAIT_S) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        with connection.makefile("rb") as answer:
            (size,) = struct.unpack(">i", answer.read(4))
            return answer.read(size)[4:]


if __name__ == "__main__":
    main()
