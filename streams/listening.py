"""Sockets on which a process is asked for something."""

from __future__ import annotations

import socket
from collections.abc import Callable

from streams.errors import UnavailableError, reason

#: Names of this machine that no other one reaches.
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def bound(host: str, port: int, unknown: Callable[[str], str], taken: Callable[[str], str]) -> socket.socket:
    """Bind a socket to listen on; port 0 is any that is free.

    UnavailableError if there is no such host or its port is taken; `unknown` and `taken` make its sentence of
    the reason, because each command has options of its own.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UnavailableError(unknown(reason(error))) from None
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen()
    except OSError as error:
        listening.close()
        raise UnavailableError(taken(reason(error))) from None
    return listening
