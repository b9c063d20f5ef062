"""How a process of ours ends: its exit code, and always a sentence on standard error.

`docs/operations.md` lists the same ends; a test compares both.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from enum import Enum, unique
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, NoReturn

import click

from streams import files, logs, moving, settings
from streams.errors import DamagedError, InputError, SightlineError, UnavailableError, reason
from streams.locking import require_posix
from streams.printing import printable, say

if TYPE_CHECKING:
    import asyncio

log = logging.getLogger(__name__)
_ending = threading.RLock()


@unique
class End(Enum):
    """A way to end: exit code, when it is used, and what the person who runs the process should do."""

    DONE = (
        0,
        "It did what it was asked to; one that stays was asked to stop (SIGINT, SIGTERM) and did.",
        "Nothing.",
    )
    SLOW = (
        0,
        "The worker was asked to stop, did not within 4.5 s, and ended at once.",
        "Nothing: the next start goes on from the committed offset.",
    )
    CHECK = (1, "A check failed, or a part of the loop did not do what it must.", "Read the sentence.")
    INPUT = (
        2,
        "An argument or a file is wrong: also a journal or state that cannot be read, a store of another "
        "version, topics that are not as declared, records that went before anybody read them.",
        "Correct what the sentence names; a start without that ends in the same way.",
    )
    UNAVAILABLE = (
        3,
        "Broker, store, port, lock, disk or network is not there, is full, or is taken.",
        "Give back what the sentence names, then start it again; a supervisor may do that alone.",
    )
    DAMAGED = (
        3,
        "A file of a store is missing, or is not what its writer wrote.",
        "Bring the store back from a copy, or make it again from glasses.lineage in a new directory.",
    )
    UNEXPECTED = (
        4,
        "An error that nobody expected, in the command, a thread or a task that must not end.",
        "Start it again. If it comes back, set SIGHTLINE_DEBUG=1 and report the traceback.",
    )
    FETCH = (
        4,
        "An agent failed on a fetch for a reason that is not in its data.",
        "Start the worker again: nothing of the fetch was committed. If it comes back, report it.",
    )
    OWNER = (
        4,
        "A partition cannot be owned: state and offset do not fit, or the log lacks what comes next.",
        "Read the sentence; what it names must be put right before a worker can go on.",
    )
    NO_ASSIGNMENT = (
        4,
        "The group's leader asked five times for another assignment, and none came.",
        "Start the worker again; if it comes back, look at the broker.",
    )
    PARENT_GONE = (
        4,
        "A child process, which fits models or checks policies, found its worker gone.",
        "Nothing for the child; look why the worker ended.",
    )
    INTERRUPTED = (
        130,
        "Ctrl-C (SIGINT) before the command had done its work; the second one for demo and device-sim.",
        "Nothing: what was begun is whole or absent.",
    )
    OUTPUT_GONE = (
        141,
        "Whoever read the output has gone (SIGPIPE), as `head` does.",
        "Nothing; the answer was not whole.",
    )
    TERMINATED = (
        143,
        "SIGTERM before the command had done its work.",
        "Nothing: what was begun is whole or absent.",
    )

    def __init__(self, code: int, when: str, advice: str) -> None:
        self.code, self.when, self.advice = code, when, advice


#: Sentences for ends that no error of ours explains.
_SENTENCES = {
    End.INTERRUPTED: "stopped by Ctrl-C before its end",
    End.TERMINATED: "stopped by SIGTERM before its end",
    End.OUTPUT_GONE: "whoever read the output has gone; stopped before its end",
}


#: On a failed event, Faust would acknowledge it and continue, or restart the agent with the next event; both
#: lose data. So the process ends, and another worker or the next start reads from the committed offset.
NOTHING_LOST = "this worker ends now, nothing is lost: the next one goes on from the committed offset"
#: Said where log or state may be the reason: then the next worker ends in the same way.
COMMITTED_STANDS = "this worker ends now, and what was committed stands"


class TerminatedError(BaseException):
    """SIGTERM arrived. Like Ctrl-C, it is no Exception, so no handler of errors catches it."""


def end_process(why: str, error: BaseException | None = None, end: End = End.UNEXPECTED) -> NoReturn:
    """Print the reason and end the process at once, so that no handler of foreign code can continue it."""
    # If two threads do this, the first one prints; the other waits here until the process ends.
    with _ending, contextlib.suppress(Exception):
        moving.leave()
        if logs.form() is None:
            logs.to_stderr("sightline")
        log.critical(why, exc_info=error)
        os._exit(end.code)
    os._exit(end.code)


def end_with(task: asyncio.Task[Any]) -> None:
    """End the process if a task ends that must run for ever; to be used as its `add_done_callback`."""
    if not task.cancelled() and (error := task.exception()) is not None:
        end_process(f"The {task.get_name()} ended: {reason(error)}; this process ends now", error)


def end_of(error: BaseException) -> tuple[End, str]:
    """Return the end and the sentence for a command in which `error` was raised."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, SightlineError):
        ends = ((InputError, End.INPUT), (UnavailableError, End.UNAVAILABLE), (DamagedError, End.DAMAGED))
        return next((end for kind, end in ends if isinstance(error, kind)), End.CHECK), str(error)
    if isinstance(error, OSError) and error.errno == errno.EPIPE:
        return End.OUTPUT_GONE, _SENTENCES[End.OUTPUT_GONE]
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return End.INTERRUPTED, _SENTENCES[End.INTERRUPTED]
    if isinstance(error, TerminatedError):
        return End.TERMINATED, _SENTENCES[End.TERMINATED]
    if isinstance(error, OSError) and error.errno:
        named = f"{error.filename}: " if error.filename else ""
        return End.UNAVAILABLE, (
            f"{named}the system refused ({reason(error)}, {_place(error)}); make it possible and start again"
        )
    return End.UNEXPECTED, (
        f"ended by an error that nobody expected: {reason(error)} {_place(error)}. Start it again; "
        "SIGHTLINE_DEBUG=1 shows the traceback"
    )


class Commands(click.Group):
    """A group of commands; each ends with an exit code of `End` and a sentence on standard error."""

    program = "sightline"

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run as a program; on a system without file locks nothing runs, not even `--help`."""
        try:
            require_posix()
        except UnavailableError as error:
            self._say(str(error), error)
            sys.exit(End.UNAVAILABLE.code)
        return super().main(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error becomes a sentence and an exit code, and new files are private."""
        with files.owner_only(), _watched():
            try:
                return super().invoke(ctx)
            except (click.exceptions.Exit, SystemExit):
                raise
            except click.ClickException as error:
                error.message = printable(error.message)
                raise
            except BaseException as error:  # noqa: BLE001  PanicException and its like are no Exception
                end, sentence = end_of(error)
                self._say(sentence, error)
                if end is End.OUTPUT_GONE:
                    _drop_output()
                ctx.exit(end.code)

    def _say(self, sentence: str, error: BaseException) -> None:
        with contextlib.suppress(OSError):
            if logs.form() in logs.LINES or settings.DEBUG:
                if logs.form() is None:
                    logs.to_stderr(self.program)
                log.critical(sentence, exc_info=error)
            else:
                say(f"{self.program}: {sentence}", err=True)


@contextlib.contextmanager
def _watched() -> Iterator[None]:
    """Raise TerminatedError on SIGTERM, and end the process if a thread fails."""
    in_main = threading.current_thread() is threading.main_thread()
    former = signal.getsignal(signal.SIGTERM)
    ours = in_main and former is signal.SIG_DFL
    if ours:
        signal.signal(signal.SIGTERM, _terminated)
    hook, threading.excepthook = threading.excepthook, _thread_ended
    try:
        yield
    finally:
        threading.excepthook = hook
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _terminated(_number: int, _frame: FrameType | None) -> NoReturn:
    raise TerminatedError


def _thread_ended(ended: threading.ExceptHookArgs) -> None:
    if ended.exc_value is not None and not isinstance(ended.exc_value, SystemExit):
        name = ended.thread.name if ended.thread is not None else "without a name"
        end_process(f"The thread {name} ended: {end_of(ended.exc_value)[1]}", ended.exc_value)


def _place(error: BaseException) -> str:
    """Return where an error was raised: the innermost line of our code, else the innermost line."""
    places = [_line(each) for each in _frames(error.__traceback__)]
    ours = [place for place in places if place.startswith(("streams/", "device_sim/"))]
    return f"in {(ours or places or ['a place unknown'])[-1]}"


def _frames(trace: TracebackType | None) -> Iterator[TracebackType]:
    while trace is not None:
        yield trace
        trace = trace.tb_next


def _line(trace: TracebackType) -> str:
    room = trace.tb_frame.f_globals.get("__name__", "?").replace(".", "/")
    return f"{room}.py:{trace.tb_lineno}"


def _drop_output() -> None:
    """Discard output that is buffered for a reader that has gone, or Python would complain at exit."""
    with contextlib.suppress(OSError, ValueError):
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, sys.stdout.fileno())
        os.close(sink)
