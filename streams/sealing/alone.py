"""One process at a time carries out an erasure: the other one would end it without a receipt."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

from streams import clock, files, locking
from streams.errors import UnavailableError

_SAID_BYTES_MAX = 200


def _claimed(lock: FileIO, path: Path) -> bool:
    """Whether the lock is this process's, and still the one under its name."""
    with contextlib.suppress(BlockingIOError):
        locking.claim(lock)
        return path.exists() and os.path.samestat(path.stat(), os.fstat(lock.fileno()))
    return False


@contextlib.contextmanager
def alone(directory: Path, number: int) -> Iterator[None]:
    """Let nobody else carry out an erasure during the block; erasures of other numbers go on beside it.

    The lock lies in the directory of the key store and ends with the process, however that ends.
    UnavailableError if another process has it, with that one's number and since when.
    """
    path = directory / f"erasure-{number}.lock"
    with files.append(path) as lock:
        if not _claimed(lock, path):
            lock.seek(0)
            holder = (lock.read(_SAID_BYTES_MAX) or b"").decode("ascii", "replace").strip() or "another one"
            raise UnavailableError(
                f"erasure {number}: found it being carried out by {holder}, expected nobody; wait for it, its"
                " receipt and the salt are where that one writes them"
            )
        lock.truncate(0)
        since = clock.rfc3339_ms(clock.now_ns() // 1_000_000)
        lock.write(f"process {os.getpid()}, since {since}\n".encode())
        try:
            yield
        finally:
            # Whoever waits with this file open has lost it, and looks at how far the erasure is.
            path.unlink(missing_ok=True)
