"""Errors that a person reads: what was found where, what was expected, what to do.

Exit codes follow the commands' contract: 1 the check failed, 2 wrong arguments or files, 3 could not run.
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
    """Exceptions that are raised by whoever wants an end of what is running: to be used behind `except`.

    Everything else that code of others raises is a failure of that code, also where it is no Exception: a
    panic of the CEL library is none.
    """
    # Where nobody has loaded asyncio (a question need not wait for it), nobody cancels a task of it.
    loops: Any = sys.modules.get("asyncio")
    return _CALLED_OFF if loops is None else (*_CALLED_OFF, loops.CancelledError)


class SightlineError(Exception):
    """A sentence for the person at the terminal; `exit_code` is what the command returns."""

    exit_code = 1


class InputError(SightlineError):
    """An argument or a file is wrong; the message names path, found, expected and what to do."""

    exit_code = 2


class UnavailableError(SightlineError):
    """A broker, a store, a port or the network is not there (or is taken)."""

    exit_code = 3


class DamagedError(SightlineError):
    """A file of a store is missing, or not what its writer wrote."""

    exit_code = 3


class MalformedError(ValueError):
    """A record cannot be understood; it leaves by `glasses.rejected` with `reason` and the stream goes on.

    The message never contains a value of the record, only names, types and counts.
    """


class OperatorError(Exception):
    """An operator failed on what it was given, by an error that is its cause; `operator` is its name."""

    def __init__(self, operator: str) -> None:
        super().__init__(operator)
        self.operator = operator


@contextmanager
def operating(operator: str) -> Iterator[None]:
    """Name the operator whose code runs inside, whatever it fails with; what is merely away passes as it is.

    OperatorError, with the failure as its cause.
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
    """Say what went wrong in words that are ours or the system's.

    Of a foreign exception only its type: its message may quote the value that it choked on.
    """
    if type(error).__module__.partition(".")[0] in ("streams", "device_sim"):
        return str(error)
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return type(error).__name__


def without_values(error: BaseException) -> str:
    """Say why a record failed: of a foreign exception its type and where it was raised, of ours the sentence.

    Messages of foreign exceptions quote what they choke on.
    """
    if isinstance(error, MalformedError):
        return str(error)
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}"
