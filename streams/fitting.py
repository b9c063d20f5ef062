"""The child process that fits models: a fit would stop the event loop, and its libraries' memory is not the worker's.

It is started when there is something to fit, ends after a while without, and ends with its parent whatever ends that one.
"""

from __future__ import annotations

import asyncio
import functools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import ParamSpec, TypeVar

from streams import limits
from streams.errors import UnavailableError

Arguments = ParamSpec("Arguments")
T = TypeVar("T")


class FittingChild:
    """Runs one function at a time in a child process; arguments and results are pickled."""

    def __init__(self, idle_s: float = limits.FITTING_CHILD_IDLE_S) -> None:
        self._idle_s = idle_s
        self._pool: ProcessPoolExecutor | None = None
        self._running = 0
        self._end: asyncio.TimerHandle | None = None

    async def run(self, function: Callable[Arguments, T], *arguments: Arguments.args, **named: Arguments.kwargs) -> T:
        """Return what `function` returns.

        Raises
        ------
        UnavailableError
            The child ended before it had an answer.
        """
        loop = asyncio.get_running_loop()
        if self._end is not None:
            self._end.cancel()
        if self._pool is None:
            self._pool = ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn"), initializer=_as_child)
        self._running += 1
        try:
            return await loop.run_in_executor(self._pool, functools.partial(function, *arguments, **named))
        except BrokenProcessPool:
            self.close()
            raise UnavailableError("the child process that fits models ended; there is a new one at the next try") from None
        finally:
            self._running -= 1
            if not self._running:
                self._end = loop.call_later(self._idle_s, self.close)

    def close(self) -> None:
        """End the child; the next `run` starts another one."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None


def _as_child() -> None:
    """Leave Ctrl-C to the worker, and do not outlive it: a killed parent closes nothing."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
