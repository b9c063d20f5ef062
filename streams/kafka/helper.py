"""Helpers: processes of one file each that go on when the process that started them is killed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from types import ModuleType


def start(module: ModuleType, *flags: str, arguments: Iterable[object]) -> subprocess.Popen[bytes]:
    """Run the file of a module with Python's `flags`; the helper holds the other end of its standard input.

    That input is in nobody else's hands: the system closes it with this process, however this one ends. The
    helper is in a session of its own, since whoever ends all processes of a session would end it too.
    """
    return subprocess.Popen(
        [sys.executable, *flags, str(module.__file__), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
