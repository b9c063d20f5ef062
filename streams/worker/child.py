"""A child process for work that would stop the event loop, or may end badly: fits, policies from outside.

Its memory is not the worker's, and whatever ends it ends nothing else.

It is started when there is work, ends after some time without any, and ends with its parent however that
one ends.
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
        What it is for, in a sentence about its end: "fits models".
    idle_s
        It ends after so long without work.
    wait_s
        It is ended when an answer takes longer; None: it has any time.
    address_bytes
        Bound of its address space; None: that of the machine.
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
            The child ended before it had an answer, or had none in time.
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

    def __init__(self, does: str, address_bytes: int | None) -> None:
        spawning = multiprocessing.get_context("spawn")
        self._connection, theirs = spawning.Pipe()
        self._process = spawning.Process(
            target=_serve, args=(theirs, does, logs.form(), address_bytes), daemon=True
        )
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

        The pipe is left open, since a thread may still wait for an answer; it closes when nobody holds it.
        """
        self._process.kill()
        self._process.join()


def _serve(connection: Connection, does: str, form: logs.Form | None, address_bytes: int | None) -> None:
    """Answer until the parent hangs up; whatever ends the child is said where the parent's log goes."""
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
    except BaseException as error:  # noqa: BLE001  whatever it is, the child must not end without a word
        end_process(f"The child that {does} ended: {reason(error)}", error)


def _answer(asked: bytes) -> tuple[bool, Any]:
    try:
        return True, pickle.loads(asked)()  # noqa: S301  the parent's own words
    except called_off():
        raise
    except Exception as error:  # noqa: BLE001  whoever asked is told what went wrong, whatever it was
        error.add_note(traceback.format_exc())
        return False, error
    except BaseException as error:  # noqa: BLE001  what is no Exception may not be known to the parent at all
        return False, RuntimeError(f"found {type(error).__name__} in a child process, expected an answer")


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
        _parent_gone()


def _parent_gone() -> NoReturn:
    end_process("The worker is gone; its child process ends", end=End.PARENT_GONE)
