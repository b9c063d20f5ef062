"""Helpers: small processes, of one file each, that survive when the process that started them is killed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from types import ModuleType


def start(module: ModuleType, *flags: str, arguments: Iterable[object]) -> subprocess.Popen[bytes]:
    """Run the file of a module with Python's `flags`, in a session of its own.

    This process alone holds the write end of the helper's standard input. The operating system closes it when
    this process ends, however it ends, and the helper takes that as the signal. The session keeps signals to
    the whole process group from ending the helper too.
    """
    return subprocess.Popen(
        [sys.executable, *flags, str(module.__file__), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
