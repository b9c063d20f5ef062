"""Storing beside decoding: a thread stores rows while the next records are read and decoded.

That helps since DuckDB releases Python's lock while it works.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from streams import clock
from streams.snapshots.retrying import RetryingWriter
from streams.snapshots.rows.poll import Poll


class Storing:
    """Stores and publishes in a thread what the last call of `next` gave it; one call at a time.

    Delivery: that of `Writer`. `epoch` is the last one published here, `rows` how many were taken in.
    """

    def __init__(self, retrying: RetryingWriter) -> None:
        self._retrying = retrying
        # Always the same thread, since each thread would keep freed memory of its own.
        self._thread = ThreadPoolExecutor(1, "storing")
        self._task: asyncio.Future[None] | None = None
        self.epoch: int | None = None
        self.rows = 0

    async def next(self, poll: Poll | None, positions: Mapping[int, int], arrived_ns: int) -> None:
        """Wait until the rows before are stored, then store these; UnavailableError where that failed."""
        await self.settled()
        self.result()
        self._task = asyncio.get_running_loop().run_in_executor(
            self._thread, self._store, poll, positions, arrived_ns
        )

    async def settled(self) -> None:
        """Wait until no thread works on the store."""
        if self._task is not None:
            await asyncio.wait({self._task})

    def result(self) -> None:
        """UnavailableError when what was stored last failed."""
        if self._task is not None:
            self._task.result()

    def _store(self, poll: Poll | None, positions: Mapping[int, int], arrived_ns: int) -> None:
        if poll is not None:
            self.rows += self._retrying.take_in(poll, positions, arrived_ns)
        self.epoch = self._retrying.publish_due(clock.monotonic_ns()) or self.epoch
