"""Locks on open files, which give a store, a journal or a broker's directory a single writer.

They are POSIX locks: the system releases those of a killed process, which a lock file could not do. Windows
lacks them, and the owners and modes by which `files` keeps data private, so it is refused with a message.
"""

from __future__ import annotations

import importlib.util
import sys
from io import FileIO

from streams.errors import UnavailableError


def require_posix() -> None:
    """Check that this system has the locks; UnavailableError otherwise."""
    if importlib.util.find_spec("fcntl") is None:
        raise UnavailableError(
            f"found the system {sys.platform}, which has no module fcntl for locks on files, expected Linux "
            "or macOS; on Windows, run Sightline in WSL or in Docker"
        )


def claim(file: FileIO | int, *, wait: bool = False) -> None:
    """Lock an open file or descriptor until the last process that has it open closes it.

    BlockingIOError if another process holds the lock and `wait` is false.
    """
    import fcntl  # noqa: PLC0415 - so that what needs no lock can be imported where there are none

    fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
