"""The file of the audit log: lines are added by whoever reads a store, and an erasure writes it again.

Both hold the lock of the file, and who adds a line looks whether it is still the file of that name, so no
line is lost while it is replaced.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from io import FileIO
from pathlib import Path

from streams import files, locking

AUDIT_LOG = "reads.jsonl"


def add_line(path: Path, line: bytes) -> None:
    """Append one line in one write, and sync it. OSError or InputError (`files.append`) if it cannot."""
    with _locked(path) as file:
        file.write(line)
        os.fsync(file.fileno())


def change_lines(path: Path, change: Callable[[bytes], bytes]) -> int:
    """Replace the file by one with changed lines; return how many differ.

    It has its name when it is whole and on disk. If no line differs, or there is no file, nothing is done.
    `change` gives what it gives for a line that it changed already. OSError or InputError if it cannot be
    written.
    """
    if not path.exists():
        return 0
    with _locked(path) as lock, open(lock.fileno(), "rb", closefd=False) as file:
        file.seek(0)
        if not (changed := sum(change(line) != line for line in file)):
            return 0
        file.seek(0)
        with files.written(path) as whole:
            whole.writelines(map(change, file))
            whole.flush()
            os.fsync(whole.fileno())
    return changed


def _locked(path: Path) -> FileIO:
    """The file of this name, which stays it until it is closed."""
    while True:
        file = files.append(path)
        try:
            locking.claim(file, wait=True)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), path.stat(follow_symlinks=False)):
                    return file
        except BaseException:
            file.close()
            raise
        file.close()
