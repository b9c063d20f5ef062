"""A key service in this process: the application on a real socket."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping

import uvicorn

from streams.policy.policy import Policy
from streams.sealing.key_store import KeyStore
from streams.sealing.service import application


@contextlib.contextmanager
def served(
    store: KeyStore, tokens: Mapping[str, str], in_force: Callable[[], Awaitable[Policy]]
) -> Iterator[str]:
    """Address of a key service, for as long as the block runs."""
    ready = threading.Event()

    class Server(uvicorn.Server):
        async def startup(self, sockets: object = None) -> None:
            await super().startup(sockets)  # type: ignore[arg-type]
            ready.set()

    app = application(store, tokens, in_force)
    server = Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off", access_log=False))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    assert ready.wait(30)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
