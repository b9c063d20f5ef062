"""A child process for work that would block the event loop or may crash: training, and checking policies.

It has its own memory, and if it crashes, the worker continues. It is started when there is work, ends after
some idle time, and ends with its parent, however that ends.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import multiprocessing
import pickle
import resource
import signal
import threading
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, NoReturn, ParamSpec, TypeVar

from streams import limits, logs
from streams.ends import End, end_process
from streams.errors import UnavailableError, called_off, reason

Arguments = ParamSpec("Arguments")
T = TypeVar("T")


class Child:
    """Runs one function at a time in a child process; arguments and results are pickled.

    Parameters
    ----------
    does
        Its purpose for messages, such as "fits models".
    idle_s
        It ends after this time without work.
    wait_s
        It is killed if an answer takes longer; None: no bound.
    address_bytes
        Bound of its address space; None: no bound.
    """

    def __init__(
        self,
        does: str = "fits models",
        *,
        idle_s: float = limits.CHILD_IDLE_S,
        wait_s: float | None = None,
        address_bytes: int | None = None,
    ) -> None:
        self._does, self._idle_s, self._wait_s, self._address_bytes = does, idle_s, wait_s, address_bytes
        self._child: _Child | None = None
        self._turn = asyncio.Lock()
        self._end: asyncio.TimerHandle | None = None
        # Runs before `multiprocessing` waits for its children at exit. This child ignores the signal to end,
        # so waiting for it would take for ever.
        atexit.register(self.close)

    async def run(
        self, function: Callable[Arguments, T], *arguments: Arguments.args, **named: Arguments.kwargs
    ) -> T:
        """Run `function` in the child and return its result. If the caller is cancelled, the child is killed.

        Raises
        ------
        UnavailableError
            The child ended before it answered, or did not answer in time.
        """
        async with self._turn:
            if self._end is not None:
                self._end.cancel()
            child = self._child = self._child or _Child(self._does, self._address_bytes)
            try:
                returned, answer = await asyncio.wait_for(
                    asyncio.to_thread(child.ask, functools.partial(function, *arguments, **named)),
                    self._wait_s,
                )
            except TimeoutError:
                self.close()
                raise UnavailableError(
                    f"the child process that {self._does} had no answer within {self._wait_s} s and was"
                    " ended; there is a new one at the next try"
                ) from None
            except (EOFError, OSError):
                self.close()
                raise UnavailableError(
                    f"the child process that {self._does} ended; there is a new one at the next try"
                ) from None
            except BaseException:
                # Otherwise its answer would be taken for that of the next call.
                self.close()
                raise
            self._end = asyncio.get_running_loop().call_later(self._idle_s, self.close)
        if not returned:
            raise answer
        result: T = answer
        return result

    def close(self) -> None:
        """Kill the child; the next `run` starts another one."""
        if self._end is not None:
            self._end.cancel()
        if self._child is not None:
            self._child.end()
            self._child = None


class _Child:
    """The process and a pipe to it. Not a queue, whose semaphores would remain if the parent is killed."""

    def __init__(self, does: str, address_bytes: int | None) -> None:
        spawning = multiprocessing.get_context("spawn")
        self._connection, theirs = spawning.Pipe()
        self._process = spawning.Process(
            target=_serve, args=(theirs, does, logs.form(), address_bytes), daemon=True
        )
        self._process.start()
        # Only the child may hold its end of the pipe, so that the pipe closes with the child.
        theirs.close()

    def ask(self, function: Callable[[], Any]) -> tuple[bool, Any]:
        """Run `function` in the child; return (True, result) or (False, exception).

        EOFError or OSError if the child is gone.
        """
        self._connection.send(function)
        answer: tuple[bool, Any] = self._connection.recv()
        return answer

    def end(self) -> None:
        """Kill the process.

        The pipe stays open, because a thread may still wait for an answer; garbage collection closes it.
        """
        self._process.kill()
        self._process.join()


def _serve(connection: Connection, does: str, form: logs.Form | None, address_bytes: int | None) -> None:
    """Answer requests until the parent closes the pipe; other ends are logged like the parent's."""
    logs.to_stderr("sightline", form or "sentence")
    _as_child()
    if address_bytes is not None:
        resource.setrlimit(resource.RLIMIT_AS, (address_bytes, address_bytes))
    try:
        while True:
            asked = connection.recv_bytes()
            connection.send(_answer(asked))
    except (EOFError, OSError):
        _parent_gone()
    except BaseException as error:  # noqa: BLE001  the child must not end without a message
        end_process(f"The child that {does} ended: {reason(error)}", error)


def _answer(asked: bytes) -> tuple[bool, Any]:
    try:
        return True, pickle.loads(asked)()  # noqa: S301  written by the parent
    except called_off():
        raise
    except Exception as error:  # noqa: BLE001  passed on to the caller
        error.add_note(traceback.format_exc())
        return False, error
    except BaseException as error:  # noqa: BLE001  the parent may not be able to unpickle such an error
        return False, RuntimeError(f"found {type(error).__name__} in a child process, expected an answer")


def _as_child() -> None:
    """Ignore SIGINT and SIGTERM, because the worker may still need an answer, but end with the worker.

    A thread watches the parent, because a parent that is killed cannot end the child.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        _parent_gone()


def _parent_gone() -> NoReturn:
    end_process("The worker is gone; its child process ends", end=End.PARENT_GONE)
