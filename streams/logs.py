"""The log of a process: warnings and errors on standard error, one line for each record.

A short command prints each as a sentence. A command that stays (worker, snapshots, broker) adds time, level,
agent and partition, or writes one JSON object per line. Messages of foreign code are shown rarely and without
the values that they quote: a client without a broker repeats the same message many times a second.
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
#: Forms that can be chosen for a command that stays.
LINES = tuple(form for form in get_args(Form) if form != "sentence")
#: Loggers of our own code, whose messages contain no value of a record.
_OURS = ("streams", "device_sim", "bench")
_CLIENT = "aiokafka"
_place: ContextVar[tuple[str, int | None]] = ContextVar("place", default=("-", None))


@contextlib.contextmanager
def at(agent: str, partition: int | None = None) -> Iterator[None]:
    """Add an agent and a partition to what is logged in the block and in tasks that start in it."""
    token = _place.set((agent, partition))
    try:
        yield
    finally:
        _place.reset(token)


def to_stderr(program: str, form: Form = "sentence") -> None:
    """Write warnings and errors to standard error, which replaces an earlier handler of this module."""
    handler = _Stderr()
    handler.setFormatter(_Formatter(program, form))
    handler.addFilter(_Foreign())
    root = logging.getLogger()
    for former in [each for each in root.handlers if isinstance(each.formatter, _Formatter)]:
        root.removeHandler(former)
    root.addHandler(handler)


@contextlib.contextmanager
def silenced(name: str) -> Iterator[None]:
    """Silence a logger in the block, because what it would log is part of what the command prints."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def unconnected() -> None:
    """Silence the Kafka client until a broker has answered.

    Whoever waits for the broker reports once that none answers.
    """
    logging.getLogger(_CLIENT).setLevel(logging.CRITICAL)


def connected() -> None:
    """Log the Kafka client's errors from now on, because a broker has answered."""
    logging.getLogger(_CLIENT).setLevel(logging.NOTSET)


def form() -> Form | None:
    """Return the form in which this process logs; None if none was set."""
    formatters = (each.formatter for each in logging.getLogger().handlers)
    return next((each.form for each in formatters if isinstance(each, _Formatter)), None)


class _Stderr(logging.Handler):
    """Writes to the current standard error; ignores it if that is closed or full."""

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(f"{self.format(record)}\n")
            sys.stderr.flush()


class _Foreign(logging.Filter):
    """Passes only errors of foreign code, each line of code at most once in FOREIGN_LOG_INTERVAL_S."""

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
    """Formats a record as one line, an error as its type; a traceback only if SIGHTLINE_DEBUG is set."""

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
    """Foreign message with types in place of the quoted values; numbers stay.

    A message that was formatted before it arrived here is not shown at all, since it may quote anything.
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
    """Placeholder for a value; its `repr` has no quotes either."""

    __slots__ = ()
    __repr__ = str.__str__
