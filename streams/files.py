"""The only place that creates files and directories.

They are accessible only to their owner (directories 0700, files 0600), whatever the umask is. A link that
somebody planted under a name is never followed, and a file has its final name only when it is complete.
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
#: Umask of the whole process, so that files made by libraries and children belong to the owner alone too.
UMASK = 0o077
#: Suffix of a file while it is written.
TEMPORARY = ".tmp"
_LOCK = "lock"
#: Mode in a directory with the set-group-ID bit (`chmod g+s`), by which its group may read.
_SHARED_MODE, _GROUP_READS = 0o2750, 0o040


@contextlib.contextmanager
def owner_only() -> Iterator[None]:
    """Set the umask in the block, so that files of libraries and children (DuckDB, the JVM) are private."""
    before = os.umask(UMASK)
    try:
        yield
    finally:
        os.umask(before)


def make_directory(path: Path) -> None:
    """Make a directory and its absent parents; an existing directory keeps its mode.

    Raises
    ------
    InputError
        It cannot be made, is no directory, or belongs to another user, who could replace its contents.
    """
    try:
        for absent in [each for each in (path, *path.parents) if not each.exists()][::-1]:
            # Another process may have made it in between; its owner is checked below.
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
    """Open a new file for writing; an existing name is an error.

    Raises
    ------
    InputError
        The name exists, or the file cannot be made.
    """
    try:
        descriptor = os.open(
            path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE
        )
    except OSError as error:
        raise _unwritable(path, error) from None
    return os.fdopen(descriptor, "wb")


def append(path: Path) -> FileIO:
    """Open a file for reading and for appending, unbuffered; it is made if absent.

    If others could read or write our file, its mode is corrected. One that lost its name while it was opened,
    because another process replaced it, is opened again.

    Raises
    ------
    InputError
        It cannot be opened, is a link or no plain file, has a second name, or belongs to another user.
    """
    while True:
        try:
            descriptor = os.open(
                path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE
            )
        except OSError as error:
            raise _unwritable(path, error) from None
        try:
            if (status := os.fstat(descriptor)).st_nlink:
                refuse_planted(path, status)
                os.fchmod(descriptor, FILE_MODE)
                return FileIO(descriptor, "a+")
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def read_guarded(path: Path, *, owner: int, bytes_max: int, private: bool = False) -> bytes:
    """Content of a file that nobody but the user `owner` (a number) and root can have written.

    `private`: and that nobody else can read.

    Raises
    ------
    InputError
        It cannot be read, is a link or no plain file, has another owner, can be written by others (or read,
        if it is `private`), or has more than `bytes_max` bytes.
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
        if status.st_mode & (0o077 if private else 0o022)
        else f"more than {bytes_max:,} bytes"
        if len(content) > bytes_max
        else ""
    )
    if kind:
        raise InputError(
            f"{path}: found {kind}, expected a plain file of at most {bytes_max:,} bytes that nobody but "
            f"user {owner} and root can {'read' if private else 'write'}: `chown` and `chmod "
            f"{'go=' if private else 'go-w'}` make it one"
        )
    return content


def refuse_planted(path: Path, status: os.stat_result) -> None:
    """Raise InputError unless `status` describes a plain file of ours without a second name."""
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
    """Write a temporary file beside `path` and rename it after the block; if that fails, leave nothing.

    A file or link under the name is replaced; the target of a link is not changed.

    Raises
    ------
    InputError
        The file cannot be written or renamed.
    """
    return _named_when_whole(path, lambda beside: beside.replace(path))


def added(path: Path) -> contextlib.AbstractContextManager[BinaryIO]:
    """Write a temporary file beside `path` and name it `path` after the block; if that fails, leave nothing.

    Raises
    ------
    InputError
        The name exists before or after the block, or the file cannot be written.
    """

    def name(beside: Path) -> None:
        try:
            # Unlike a rename, a hard link never replaces an existing file.
            os.link(beside, path)
        except FileExistsError:
            raise _taken(path) from None

    if os.path.lexists(path):
        raise _taken(path)
    return _named_when_whole(path, name)


@contextlib.contextmanager
def added_directory(path: Path) -> Iterator[Path]:
    """Yield a new directory beside `path` and name it `path` after the block; if that fails, leave nothing.

    Raises
    ------
    InputError
        The name exists before or after the block, or the directory cannot be made.
    """
    if os.path.lexists(path):
        raise _taken(path)
    beside = path.with_name(f"{path.name}.{secrets.token_hex(4)}{TEMPORARY}")
    make_directory(beside)
    try:
        yield beside
        # A rename would replace an empty directory.
        if os.path.lexists(path):
            raise _taken(path)
        beside.rename(path)
    except OSError as error:
        raise _unwritable(path, error) from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)


@contextlib.contextmanager
def _named_when_whole(path: Path, name: Callable[[Path], object]) -> Iterator[BinaryIO]:
    """Yield a temporary file beside `path`; after the block `name` gives it the name `path`."""
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
    """Give a finished file its final name: content to disk first, then the rename. It must not change later.

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
    """Copy a finished file to `path`, which exists only when the copy is complete and on disk.

    The copy must not change later, and a group has access as for `settle`. A file or link under the name is
    replaced; the target of a link is not changed.

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


def destroy(path: Path) -> None:
    """Overwrite a file of ours and remove it, both on disk when this returns; an absent file is none.

    A disk may keep what was overwritten, so nothing may depend on this alone.
    """
    with contextlib.suppress(FileNotFoundError):
        descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.write(descriptor, secrets.token_bytes(os.fstat(descriptor).st_size))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        path.unlink()
        directory = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


@contextlib.contextmanager
def working_directory(name: str) -> Iterator[Path]:
    """Yield a temporary directory `sightline-<name>-*` of the system; it is removed after the block.

    Directories of killed processes are removed first. A directory is one of these if nobody holds the lock of
    the file in it; neither its name nor its age tells.
    """
    _sweep(name)
    # It gets the name that other processes clean up only when its lock is held.
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
