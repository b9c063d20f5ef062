"""The only door through which files and directories are made.

They are their owner's alone (directories 0700, files 0600) whatever the umask is. A name that somebody
planted is never followed, and what stands under a name is whole or absent.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from streams import locking
from streams.errors import InputError

FILE_MODE, DIRECTORY_MODE, READ_ONLY_MODE = 0o600, 0o700, 0o400
#: Of a whole process, so that what a library or a child makes is its owner's alone too.
UMASK = 0o077
#: Beside a file while it is written.
TEMPORARY = ".tmp"
_LOCK = "lock"
#: Where the directory above has the set-group-ID bit (`chmod g+s`): its group was told that it may read.
_SHARED_MODE, _GROUP_READS = 0o2750, 0o040


@contextlib.contextmanager
def owner_only() -> Iterator[None]:
    """What libraries and children make meanwhile (DuckDB, the JVM) is the owner's alone."""
    before = os.umask(UMASK)
    try:
        yield
    finally:
        os.umask(before)


def make_directory(path: Path) -> None:
    """Make a directory and those above it that are absent; one that is there keeps its mode.

    Raises
    ------
    InputError
        It cannot be made, is no directory, or belongs to another user, who could exchange what is in it.
    """
    try:
        for absent in [each for each in (path, *path.parents) if not each.exists()][::-1]:
            # Somebody may have made it meanwhile; whose it is then is looked at below.
            with contextlib.suppress(FileExistsError):
                absent.mkdir(DIRECTORY_MODE)
                if absent.parent.stat().st_mode & stat.S_ISGID:
                    absent.chmod(_SHARED_MODE)
        status = path.stat()
    except OSError as error:
        raise InputError(
            f"{path}: cannot be made a directory ({_said(error)}); name one that can be written"
        ) from None
    if not stat.S_ISDIR(status.st_mode):
        raise InputError(f"{path}: found a file, expected a directory; name another one")
    if not _ours(status):
        raise InputError(
            f"{path}: found a directory of user {status.st_uid}, expected one of the user {os.geteuid()} "
            "that runs this; name another one, or let it be given to this user"
        )


def create(path: Path) -> BinaryIO:
    """Open a new file for writing; whatever stands under the name already is an error.

    Raises
    ------
    InputError
        There is something, or the file cannot be made.
    """
    try:
        descriptor = os.open(
            path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE
        )
    except OSError as error:
        raise _unwritable(path, error) from None
    return os.fdopen(descriptor, "wb")


def append(path: Path) -> FileIO:
    """Open a file for reading and for appending, unbuffered; made when absent.

    One of ours that others could read or write is theirs no longer.

    Raises
    ------
    InputError
        It cannot be opened, is a link or no plain file, has a second name, or belongs to another user.
    """
    try:
        descriptor = os.open(
            path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE
        )
    except OSError as error:
        raise _unwritable(path, error) from None
    try:
        refuse_planted(path, os.fstat(descriptor))
        os.fchmod(descriptor, FILE_MODE)
        return FileIO(descriptor, "a+")
    except BaseException:
        os.close(descriptor)
        raise


def read_guarded(path: Path, *, owner: int, bytes_max: int) -> bytes:
    """Content of a file that nobody can have written but the user `owner` (a number) and root.

    Raises
    ------
    InputError
        It cannot be read, is a link or no plain file, has another owner, can be written by others, or holds
        more than `bytes_max` bytes.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            content = file.read(bytes_max + 1) if stat.S_ISREG(status.st_mode) else b""
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({_said(error)}), expected a plain file") from None
    kind = (
        "no plain file"
        if not stat.S_ISREG(status.st_mode)
        else f"a file of user {status.st_uid}"
        if status.st_uid not in (owner, 0)
        else f"a file of mode {stat.S_IMODE(status.st_mode):04o}"
        if status.st_mode & 0o022
        else f"more than {bytes_max:,} bytes"
        if len(content) > bytes_max
        else ""
    )
    if kind:
        raise InputError(
            f"{path}: found {kind}, expected a plain file of at most {bytes_max:,} bytes that nobody but "
            f"user {owner} and root can write: `chown` and `chmod go-w` make it one"
        )
    return content


def refuse_planted(path: Path, status: os.stat_result) -> None:
    """Raise InputError unless `status` is that of a plain file of ours that has no second name."""
    if stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and _ours(status):
        return
    kind = (
        f"a file of user {status.st_uid}"
        if not _ours(status)
        else f"a file with {status.st_nlink} names"
        if stat.S_ISREG(status.st_mode)
        else "a link or a device"
    )
    raise InputError(
        f"{path}: found {kind}, expected a plain file of the user {os.geteuid()} that runs this; take it "
        "away, or name another place"
    )


def written(path: Path) -> contextlib.AbstractContextManager[BinaryIO]:
    """Write a file beside `path` and give it that name at the end of the block, or leave nothing.

    What stood under the name is replaced: a link itself, not what it leads to.

    Raises
    ------
    InputError
        The file cannot be written or renamed.
    """
    return _named_when_whole(path, lambda beside: beside.replace(path))


def added(path: Path) -> contextlib.AbstractContextManager[BinaryIO]:
    """Write a new file beside `path` and give it that name at the end of the block, or leave nothing.

    Raises
    ------
    InputError
        Something stands under the name, at the beginning or by the end; or the file cannot be written.
    """

    def name(beside: Path) -> None:
        try:
            # Unlike a renamed file, a second name replaces nothing.
            os.link(beside, path)
        except FileExistsError:
            raise _taken(path) from None

    if os.path.lexists(path):
        raise _taken(path)
    return _named_when_whole(path, name)


@contextlib.contextmanager
def _named_when_whole(path: Path, name: Callable[[Path], object]) -> Iterator[BinaryIO]:
    """A file beside `path`; `name` gives it that name at the end of the block."""
    beside = path.with_name(f"{path.name}.{secrets.token_hex(4)}{TEMPORARY}")
    file = create(beside)
    try:
        with file:
            yield file
        name(beside)
    except OSError as error:
        raise _unwritable(path, error) from None
    finally:
        beside.unlink(missing_ok=True)


def settle(beside: Path, path: Path) -> None:
    """Give a finished file its name for good: content on disk first, then the name; nobody writes it again.

    In a directory that is shared with its group, the group may read it. The name itself is on disk once the
    directory is synced.
    """
    shared = beside.parent.stat().st_mode & stat.S_ISGID
    descriptor = os.open(beside, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
        os.fchmod(descriptor, READ_ONLY_MODE | (_GROUP_READS if shared else 0))
    finally:
        os.close(descriptor)
    beside.replace(path)


def deliver(made: Path, path: Path) -> None:
    """Copy a finished file to `path`, which names it only when it is whole and on disk.

    Nobody writes it again, and its group reads it in a directory that is shared with it, as `settle` says.
    What stood under the name is replaced: a link itself, not what it leads to.

    Raises
    ------
    InputError
        It cannot be written there.
    """
    beside = path.with_name(f"{path.name}.{secrets.token_hex(4)}{TEMPORARY}")
    try:
        with made.open("rb") as whole, create(beside) as file:
            shutil.copyfileobj(whole, file)
        settle(beside, path)
    except OSError as error:
        raise _unwritable(path, error) from None
    finally:
        beside.unlink(missing_ok=True)


@contextlib.contextmanager
def working_directory(name: str) -> Iterator[Path]:
    """A directory `sightline-<name>-*` while the block lasts, where the system keeps temporary files.

    Those that processes left behind which were killed are removed first. Which are: nobody holds the lock
    of the file inside any more. Neither name nor age says that.
    """
    _sweep(name)
    # Under the name that is swept only once the lock is held.
    made = Path(tempfile.mkdtemp(prefix="sightline-begun-"))
    lock = append(made / _LOCK)
    try:
        locking.claim(lock, wait=True)
        made = made.rename(made.with_name(f"sightline-{name}-{made.name.rpartition('-')[2]}"))
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
        lock.close()


def _sweep(name: str) -> None:
    for left in Path(tempfile.gettempdir()).glob(f"sightline-{name}-*"):
        with contextlib.suppress(OSError):
            if left.is_symlink() or not _ours(left.stat()):
                continue
            descriptor = os.open(left / _LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                locking.claim(descriptor)
                shutil.rmtree(left, ignore_errors=True)
            finally:
                os.close(descriptor)


def _ours(status: os.stat_result) -> bool:
    return status.st_uid == os.geteuid()


def _said(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else type(error).__name__


def _taken(path: Path) -> InputError:
    return InputError(
        f"{path}: found something under this name, expected nothing: no file is replaced; name another one"
    )


def _unwritable(path: Path, error: OSError) -> InputError:
    return InputError(f"{path}: cannot be written ({_said(error)}); name a file in a directory that can be")
