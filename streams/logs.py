"""The log of a process: warnings and errors on standard error, a record a line.

A command that ends soon says each as a sentence. One that stays (worker, snapshots, broker) puts time, level,
agent and partition in front, or writes one JSON object a line. What foreign code says is shown without the
values that it quotes, and seldom: a client without a broker says the same many times a second.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import traceback
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Literal, get_args

import orjson

from streams import clock, limits, settings
from streams.errors import reason
from streams.printing import printable, printable_json

Form = Literal["sentence", "text", "json"]
#: What a command that stays can be asked for.
LINES = tuple(form for form in get_args(Form) if form != "sentence")
#: Whose messages are ours, and so hold no value of a record.
_OURS = ("streams", "device_sim", "bench")
_CLIENT = "aiokafka"
_place: ContextVar[tuple[str, int | None]] = ContextVar("place", default=("-", None))


@contextlib.contextmanager
def at(agent: str, partition: int | None = None) -> Iterator[None]:
    """Let what is logged in the block, and in tasks begun in it, name an agent and a partition."""
    token = _place.set((agent, partition))
    try:
        yield
    finally:
        _place.reset(token)


def to_stderr(program: str, form: Form = "sentence") -> None:
    """Write warnings and errors to standard error, in place of wherever they went before."""
    handler = _Stderr()
    handler.setFormatter(_Formatter(program, form))
    handler.addFilter(_Foreign())
    root = logging.getLogger()
    for former in [each for each in root.handlers if isinstance(each.formatter, _Formatter)]:
        root.removeHandler(former)
    root.addHandler(handler)


def unconnected() -> None:
    """Let the Kafka client be silent until a broker has answered.

    That none does is said once, by whoever waits for it.
    """
    logging.getLogger(_CLIENT).setLevel(logging.CRITICAL)


def connected() -> None:
    """Let the Kafka client be heard from now on: a broker has answered."""
    logging.getLogger(_CLIENT).setLevel(logging.NOTSET)


def form() -> Form | None:
    """Return in which form this process logs; None when nobody said."""
    formatters = (each.formatter for each in logging.getLogger().handlers)
    return next((each.form for each in formatters if isinstance(each, _Formatter)), None)


class _Stderr(logging.Handler):
    """Writes to what standard error is now; one that is gone or full ends nothing."""

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(f"{self.format(record)}\n")
            sys.stderr.flush()


class _Foreign(logging.Filter):
    """Lets foreign code say errors only, and from the same line of code once in FOREIGN_LOG_INTERVAL_S."""

    def __init__(self) -> None:
        super().__init__()
        self._said_s: dict[tuple[str, int], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if _ours(record):
            return True
        now_s, place = clock.monotonic_s(), (record.name, record.lineno)
        if (
            record.levelno < logging.ERROR
            or now_s - self._said_s.get(place, -limits.FOREIGN_LOG_INTERVAL_S) < limits.FOREIGN_LOG_INTERVAL_S
        ):
            return False
        self._said_s[place] = now_s
        return True


class _Formatter(logging.Formatter):
    """One line a record; of an error its type, and its traceback only when SIGHTLINE_DEBUG is set."""

    def __init__(self, program: str, form: Form) -> None:
        super().__init__()
        self._program, self.form = program, form

    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage() if _ours(record) else _without_values(record)
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and (why := reason(error)) not in message:
            message += f" ({why})"
        agent, partition = _place.get()
        if self.form == "json":
            line: dict[str, object] = {
                "time": _time(record),
                "level": record.levelname,
                "agent": None if agent == "-" else agent,
                "partition": partition,
                "logger": record.name,
                "message": message,
            }
            if error is not None and settings.DEBUG:
                line["traceback"] = "".join(traceback.format_exception(error))
            return printable_json(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE).decode().rstrip("\n"))
        where = "-" if partition is None else str(partition)
        head = (
            f"{self._program}:"
            if self.form == "sentence"
            else f"{_time(record)} {record.levelname} {agent} {where}"
        )
        lines = [printable(f"{head} {message}")]
        if error is not None and settings.DEBUG:
            lines += map(printable, "".join(traceback.format_exception(error)).rstrip().split("\n"))
        return "\n".join(lines)


def _ours(record: logging.LogRecord) -> bool:
    return record.name.partition(".")[0] in _OURS


def _time(record: logging.LogRecord) -> str:
    return clock.rfc3339_ms(int(record.created * 1000))


def _without_values(record: logging.LogRecord) -> str:
    """What foreign code said, with its types in place of what it quotes; numbers stay.

    A text that was put together before it came here is not shown at all: nobody can tell what it quotes.
    """
    quoted = ""
    if isinstance(record.args, tuple) and record.args:
        with contextlib.suppress(TypeError, ValueError):
            quoted = f": {record.msg % tuple(map(_shown, record.args))}"
    return f"{record.name} line {record.lineno}{quoted or ' reports an error'}"


def _shown(value: object) -> object:
    if isinstance(value, int | float):
        return value
    return _Word(reason(value) if isinstance(value, BaseException) else type(value).__name__)


class _Word(str):
    """Stands for a value; without quotes also where its `repr` is asked for."""

    __slots__ = ()
    __repr__ = str.__str__
