"""The child process that fits models.

A fit would stop the event loop, and its libraries' memory is not the worker's.

It is started when there is something to fit, ends after a while without, and ends with its parent whatever
ends that one.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, ParamSpec, TypeVar

from streams import limits
from streams.errors import UnavailableError

Arguments = ParamSpec("Arguments")
T = TypeVar("T")


class FittingChild:
    """Runs one function at a time in a child process; arguments and results are pickled."""

    def __init__(self, idle_s: float = limits.FITTING_CHILD_IDLE_S) -> None:
        self._idle_s = idle_s
        self._child: _Child | None = None
        self._turn = asyncio.Lock()
        self._end: asyncio.TimerHandle | None = None
        # Before `multiprocessing` waits for its children at the end of the process: this one would not hear
        # that it should end.
        atexit.register(self.close)

    async def run(
        self, function: Callable[Arguments, T], *arguments: Arguments.args, **named: Arguments.kwargs
    ) -> T:
        """Return what `function` returns. Whoever is cancelled while it runs ends it, and the child with it.

        Raises
        ------
        UnavailableError
            The child ended before it had an answer.
        """
        async with self._turn:
            if self._end is not None:
                self._end.cancel()
            child = self._child = self._child or _Child()
            try:
                returned, answer = await asyncio.to_thread(
                    child.ask, functools.partial(function, *arguments, **named)
                )
            except (EOFError, OSError):
                self.close()
                raise UnavailableError(
                    "the child process that fits models ended; there is a new one at the next try"
                ) from None
            except BaseException:
                # Its answer would be taken for that of the next function.
                self.close()
                raise
            self._end = asyncio.get_running_loop().call_later(self._idle_s, self.close)
        if not returned:
            raise answer
        result: T = answer
        return result

    def close(self) -> None:
        """End the child, whatever it is doing; the next `run` starts another one."""
        if self._end is not None:
            self._end.cancel()
        if self._child is not None:
            self._child.end()
            self._child = None


class _Child:
    """The process and a pipe to it: no queue, whose semaphores would outlive a parent that is killed."""

    def __init__(self) -> None:
        spawning = multiprocessing.get_context("spawn")
        self._connection, theirs = spawning.Pipe()
        self._process = spawning.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        # The child's end of the pipe is the child's alone, so that the pipe ends with it.
        theirs.close()

    def ask(self, function: Callable[[], Any]) -> tuple[bool, Any]:
        """Return whether `function` returned, and what it returned or raised.

        EOFError or OSError when the child is gone.
        """
        self._connection.send(function)
        answer: tuple[bool, Any] = self._connection.recv()
        return answer

    def end(self) -> None:
        """Kill the process.

        The pipe closes with the last who holds it: a thread may still wait for an answer.
        """
        self._process.kill()
        self._process.join()


def _serve(connection: Connection) -> None:
    """Answer until the parent hangs up."""
    _as_child()
    while True:
        try:
            asked = connection.recv_bytes()
        except EOFError:
            return
        try:
            answer = True, pickle.loads(asked)()  # noqa: S301  the parent's own words
        except Exception as error:  # noqa: BLE001  whoever asked is told what went wrong, whatever it was
            error.add_note(traceback.format_exc())
            answer = False, error
        connection.send(answer)


def _as_child() -> None:
    """Leave Ctrl-C and a call to end to the worker, who may need an answer yet; but do not outlive it.

    A killed parent closes nothing.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
