"""Check that the files of a store are as its writer wrote them.

Each process reads a file once and compares it with the digest in the catalog. This detects damaged and
exchanged files, but no attacker who may write to the directory, and so could also write a matching catalog.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

import xxhash

from streams.errors import DamagedError, reason

_READ_BYTES = 1024 * 1024
#: What to do about damage; part of every message about it.
REMEDY = (
    "bring the store back from a copy, or make it again from glasses.lineage with `sightline snapshots` in a "
    "new directory"
)
#: Files that were found correct: (device, inode, time of change, size) by path and digest.
_known: dict[tuple[str, str], tuple[int, int, int, int]] = {}


def check(directory: Path, digests: Mapping[str, str]) -> None:
    """Compare files with their XXH3-128 (hexadecimal), unless this was done and they are unchanged since.

    Parameters
    ----------
    directory
        The store's.
    digests
        By name of the file relative to the directory, as its catalog has them.

    Raises
    ------
    DamagedError
        A file is missing, is not a regular file, or has another content than was written.
    """
    for file, digest in digests.items():
        path = directory / file
        try:
            now = _state(path)
            if now is None:
                raise damaged(path, "found a link or a directory, expected a plain file")
            if _known.get((str(path), digest)) == now:
                continue
            actual = digest_of(path)
        except OSError as error:
            raise damaged(path, f"found no file that can be read ({reason(error)})") from None
        if actual != digest:
            raise damaged(path, f"found a file with another digest, expected {digest}")
        _known[str(path), digest] = now


def damaged(path: Path | str, fault: str) -> DamagedError:
    """Error about a file of a store that is not as its writer left it."""
    return DamagedError(f"{path}: {fault}; the store is damaged. To go on, {REMEDY}")


def _state(path: Path) -> tuple[int, int, int, int] | None:
    """Metadata that changes if a file is written to or replaced; None if it is not a regular file."""
    state = path.lstat()
    if not stat.S_ISREG(state.st_mode):
        return None
    return state.st_dev, state.st_ino, state.st_ctime_ns, state.st_size


def digest_of(path: Path) -> str:
    """XXH3-128 of a file in hexadecimal, as segments have it; OSError if it cannot be read or is a link."""
    state = xxhash.xxh3_128()
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        while piece := file.read(_READ_BYTES):
            state.update(piece)
    return state.hexdigest()
