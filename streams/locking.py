"""Locks on open files, by which a store, a journal or a broker's directory has one writer.

They are those of POSIX: whoever is killed has let go of them, which no file that we write could say. Windows
has none, nor the owners and modes by which `files` keeps data private, and is refused in a sentence.
"""

from __future__ import annotations

import importlib.util
import sys
from io import FileIO

from streams.errors import UnavailableError


def require_posix() -> None:
    """Look whether this system has the locks; UnavailableError when it has none."""
    if importlib.util.find_spec("fcntl") is None:
        raise UnavailableError(
            f"found the system {sys.platform}, which has no module fcntl for locks on files, expected Linux "
            "or macOS; on Windows, run Sightline in WSL or in Docker"
        )


def claim(file: FileIO | int, *, wait: bool = False) -> None:
    """Lock an open file or descriptor; it is let go when the last process that has it open closes it.

    BlockingIOError when another one holds it and this one does not `wait`.
    """
    import fcntl  # noqa: PLC0415 - so that what needs no lock can be imported where there are none

    fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
