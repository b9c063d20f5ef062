"""The store's directory: its files, its lock, and writing files so that a crash leaves only complete ones."""

from __future__ import annotations

import os
import re
import shutil
from io import FileIO
from pathlib import Path

from streams import files, locking
from streams.errors import InputError, UnavailableError

HOT, CATALOG, SEGMENTS, LOCK = "hot.duckdb", "catalog.duckdb", "segments", "writer.lock"
#: DuckDB of this version and later can open a catalog and an index.
STORAGE_VERSION = "v1.5.0"
TEMPORARY = ".tmp"
FOLDING = f"fold{TEMPORARY}"
"""Directory for temporary files of a running fold."""
_OURS = re.compile(
    r"(hot\.duckdb(\.wal.*)?|hot\.duckdb\.tmp|catalog(-\d+)?\.duckdb|segments|writer\.lock|reads\.jsonl|.*\.tmp(\.wal)?)"
)

_CATALOG = re.compile(r"catalog-(\d+)\.duckdb")


def catalog_name(epoch: int) -> str:
    """File name of an epoch's catalog."""
    return f"catalog-{epoch:08d}.duckdb"


def epochs_of(directory: Path) -> list[int]:
    """Epochs that have a catalog in the directory, sorted."""
    return sorted(
        int(name[1]) for path in directory.iterdir() if (name := _CATALOG.fullmatch(path.name)) is not None
    )


def claim(directory: Path) -> FileIO:
    """Lock `directory` for writing; return the file that holds the lock until it is closed.

    The lock is on a file inside, so another path to the same directory (a symlink) has the same lock, and the
    system releases it when the process dies.

    Raises
    ------
    UnavailableError
        Another writer has it.
    InputError
        It is no directory, belongs to another user, has other files than a store's, or is a store without its
        hot file.
    """
    files.make_directory(directory)
    present = sorted(entry.name for entry in directory.iterdir())
    if HOT not in present:
        foreign = [name for name in present if not _OURS.fullmatch(name)]
        if foreign:
            raise InputError(
                f"{directory}: found {foreign[0]}, which is no file of a store; expected a store or an empty "
                "directory. Name another one"
            )
        if CATALOG in present:
            raise InputError(
                f"{directory}: found a catalog but no {HOT}; without it nobody knows where to go on. Put it "
                "back, or begin an empty directory"
            )
    if HOT in present:
        files.refuse_planted(directory / HOT, (directory / HOT).lstat())
    lock = files.append(directory / LOCK)
    try:
        locking.claim(lock)
    except BlockingIOError:
        lock.close()
        raise UnavailableError(
            f"{directory}: the store directory is in use by another writer. "
            "Stop that one, or name another directory"
        ) from None
    files.make_directory(directory / SEGMENTS)
    return lock


def sync(path: Path) -> None:
    """Force a file, or the names in a directory, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def point(directory: Path, epoch: int) -> None:
    """Move the link `catalog.duckdb` to an epoch's catalog, atomically.

    The link is relative, so that a store can be moved.
    """
    link = directory / f"{CATALOG}{TEMPORARY}"
    link.unlink(missing_ok=True)
    link.symlink_to(catalog_name(epoch))
    link.replace(directory / CATALOG)
    sync(directory)


def pointed(directory: Path) -> str | None:
    """Return the file name that `catalog.duckdb` leads to; None before the first epoch."""
    path = directory / CATALOG
    return path.readlink().name if path.is_symlink() else None


def remove_leftovers(directory: Path, current: set[str]) -> None:
    """Remove what a crash left: temporary files, and segments of no epoch.

    `current` are the names of the known segments, relative to the directory.
    """
    shutil.rmtree(directory / FOLDING, ignore_errors=True)
    for path in directory.glob(f"*{TEMPORARY}*"):
        path.unlink()
    for path in directory.glob(f"{SEGMENTS}/*"):
        if f"{SEGMENTS}/{path.name}" not in current:
            path.unlink()
