"""Errors that a person reads: what was found where, what was expected, what to do.

Exit codes follow the commands' contract: 1 the check failed, 2 wrong arguments or files, 3 could not run.
"""

from __future__ import annotations


class SightlineError(Exception):
    """A sentence for the person at the terminal; `exit_code` is what the command returns."""

    exit_code = 1


class InputError(SightlineError):
    """An argument or a file is wrong; the message names path, found, expected and what to do."""

    exit_code = 2


class UnavailableError(SightlineError):
    """A broker, a store, a port or the network is not there (or is taken)."""

    exit_code = 3


class MalformedError(ValueError):
    """A record cannot be understood; it leaves by `glasses.rejected` with `reason` and the stream goes on.

    The message never contains a value of the record, only names, types and counts.
    """
