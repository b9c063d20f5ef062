"""Errors for people: path, what was found, what was expected, what to do.

Exit codes are the same for all commands: 1 the check failed, 2 wrong arguments or files, 3 could not run.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_CALLED_OFF = (KeyboardInterrupt, SystemExit, GeneratorExit)


def called_off() -> tuple[type[BaseException], ...]:
    """Exceptions that stop running code on purpose, such as a cancellation; for use behind `except`.

    Everything else that foreign code raises is a failure of that code, even if it is no Exception, as a panic
    of the CEL library.
    """
    # A question does not load asyncio, because that takes time. Without it no task can be cancelled.
    loops: Any = sys.modules.get("asyncio")
    return _CALLED_OFF if loops is None else (*_CALLED_OFF, loops.CancelledError)


class SightlineError(Exception):
    """Its message is a sentence for the person at the terminal; `exit_code` is that of the command."""

    exit_code = 1


class InputError(SightlineError):
    """An argument or a file is wrong; the message names path, found, expected and what to do."""

    exit_code = 2


class UnavailableError(SightlineError):
    """A broker, a store, a port or the network is absent, or in use by another process."""

    exit_code = 3


class PendingError(UnavailableError):
    """A store has a writer and no epoch yet, so it is worth waiting for."""


class DamagedError(SightlineError):
    """A file of a store is missing, or its content is not what the writer wrote."""

    exit_code = 3


class MalformedError(ValueError):
    """A record is malformed; it goes to `glasses.rejected` with `reason`, and the stream continues.

    The message never contains a value of the record, only names, types and counts.
    """


class OperatorError(Exception):
    """An operator failed on its input; `operator` is its name, and the cause is its error."""

    def __init__(self, operator: str) -> None:
        super().__init__(operator)
        self.operator = operator


@contextmanager
def operating(operator: str) -> Iterator[None]:
    """Raise a failure in the block as an OperatorError that names the operator; the failure is its cause.

    UnavailableError, OSError and cancellation pass unchanged.
    """
    try:
        yield
    except (UnavailableError, OSError):
        raise
    except called_off():
        raise
    except BaseException as error:
        raise OperatorError(operator) from error


def reason(error: BaseException) -> str:
    """Return a description that quotes only words of ours or of the operating system.

    For a foreign exception that is its type alone, because its message may quote the value that caused it.
    """
    if type(error).__module__.partition(".")[0] in ("streams", "device_sim"):
        return str(error)
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return type(error).__name__


def without_values(error: BaseException) -> str:
    """Say why a record failed: our own message, or the type of a foreign exception and where it was raised.

    Messages of foreign exceptions quote the values that cause them.
    """
    if isinstance(error, MalformedError):
        return str(error)
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}"
