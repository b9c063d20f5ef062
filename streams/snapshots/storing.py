"""Store rows in a thread while the next records are read and decoded.

This runs in parallel because DuckDB releases Python's global interpreter lock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from streams import clock
from streams.snapshots.retrying import RetryingWriter
from streams.snapshots.rows.poll import Poll


class Storing:
    """Stores and publishes in a thread what was passed to `next`, one poll at a time.

    Delivery: that of `Writer`. `epoch` is the last epoch published here, `rows` the number of rows taken in.
    """

    def __init__(self, retrying: RetryingWriter) -> None:
        self._retrying = retrying
        # Always the same thread, because the allocator keeps freed memory for each thread.
        self._thread = ThreadPoolExecutor(1, "storing")
        self._task: asyncio.Future[None] | None = None
        self.epoch: int | None = None
        self.rows = 0

    async def next(self, poll: Poll | None, positions: Mapping[int, int], arrived_ns: int) -> None:
        """Wait until the previous rows are stored, then begin with these; UnavailableError if that failed."""
        await self.settled()
        self.result()
        self._task = asyncio.get_running_loop().run_in_executor(
            self._thread, self._store, poll, positions, arrived_ns
        )

    async def run(self, work: Callable[[], int | None]) -> None:
        """Do other work on the store in the same thread; the result is an epoch, if there is a new one.

        UnavailableError if storing failed before, or this does.
        """
        await self.settled()
        self.result()
        self.epoch = await asyncio.get_running_loop().run_in_executor(self._thread, work) or self.epoch

    async def settled(self) -> None:
        """Wait until no thread works on the store."""
        if self._task is not None:
            await asyncio.wait({self._task})

    def result(self) -> None:
        """Raise UnavailableError if storing failed the last time."""
        if self._task is not None:
            self._task.result()

    def _store(self, poll: Poll | None, positions: Mapping[int, int], arrived_ns: int) -> None:
        if poll is not None:
            self.rows += self._retrying.take_in(poll, positions, arrived_ns)
        self.epoch = self._retrying.publish_due(clock.monotonic_ns()) or self.epoch
