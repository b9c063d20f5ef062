"""The page as a process: a socket, the server on it, and its end."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Callable, Iterator, Sequence

import uvicorn
from starlette.types import ASGIApp

from streams import limits, listening


def bound(host: str, port: int) -> socket.socket:
    """Bind the page's socket; port 0 is any that is free. UnavailableError if that fails."""
    return listening.bound(
        host,
        port,
        lambda why: f"{host}:{port}: cannot be listened on ({why})",
        lambda why: f"{host}:{port}: cannot be listened on ({why}); name another --port, or 0 for any",
    )


class _Server(uvicorn.Server):
    """Says when it answers, and ends at a signal without raising it once more."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer."""
        await super().startup(sockets)
        self._ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End the server at SIGINT and SIGTERM, for as long as the block runs."""
        before = {
            number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def serve(application: ASGIApp, sockets: Sequence[socket.socket], ready: Callable[[], None]) -> None:
    """Serve until SIGINT or SIGTERM; `ready` is called once requests are answered.

    Nothing is logged of requests: their addresses name events and wearers.
    """
    config = uvicorn.Config(
        application,
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        lifespan="off",
        ws="none",
        limit_concurrency=limits.PAGE_REQUESTS_MAX,
    )
    _Server(config, ready).run(sockets=list(sockets))
