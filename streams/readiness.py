"""How a process that stays reports that it is ready, and how the process that started it learns this.

A log is for people, so readiness uses a descriptor (s6), a socket (systemd's `NOTIFY_SOCKET`) or a file.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from streams import files, settings
from streams.errors import InputError

READY = b"READY=1\n"


class Ready:
    """Reports once that a process is ready, in every requested way; to be used in `with`.

    Parameters
    ----------
    descriptor
        Open for writing; receives `READY=1` and a line end, and is closed. None if not requested.
    file
        Exists as long as the process is ready; an old one is removed at the start. None if not requested.

    Raises
    ------
    InputError
        The descriptor is not open, or the file cannot be written or removed.
    """

    def __init__(self, descriptor: int | None = None, file: Path | None = None) -> None:
        self._descriptor, self._file = descriptor, file
        if descriptor is not None:
            try:
                os.set_inheritable(descriptor, False)
            except OSError as error:
                raise InputError(
                    f"--ready-fd {descriptor}: found no such descriptor ({os.strerror(error.errno or 0)}), "
                    "expected one that whoever starts this has opened for writing"
                ) from None
        self._remove()

    def __enter__(self) -> Ready:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the descriptor, whether readiness was reported or not, and remove the file."""
        self._close()
        self._remove()

    def say(self) -> None:
        """Report readiness in every requested way. A reader of the descriptor that has gone is ignored."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.write(self._descriptor, READY)
        self._close()
        if settings.NOTIFY_SOCKET:
            # A name that begins with @ is an abstract socket, whose address begins with a zero byte.
            address = settings.NOTIFY_SOCKET.replace("@", "\0", 1)
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
                manager.sendto(READY, address)
        if self._file is not None:
            with files.written(self._file) as file:
                file.write(READY)

    def _close(self) -> None:
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = None

    def _remove(self) -> None:
        if self._file is None:
            return
        try:
            self._file.unlink(missing_ok=True)
        except OSError as error:
            raise InputError(
                f"{self._file}: what an earlier process left there cannot be removed "
                f"({os.strerror(error.errno or 0)}); name another --ready-file"
            ) from None


class Awaited:
    """The reader's end of `--ready-fd`, for the process that starts another one."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        self._said, self._open = b"", True

    @property
    def descriptors(self) -> tuple[int, ...]:
        """Descriptors that the child must inherit."""
        return (self._write,)

    @property
    def arguments(self) -> tuple[str, str]:
        """Arguments for the child."""
        return "--ready-fd", str(self._write)

    @contextlib.contextmanager
    def given(self) -> Iterator[None]:
        """Start the child in this block; after it, only the child has its end of the pipe."""
        try:
            yield
        finally:
            os.close(self._write)

    def is_ready(self) -> bool:
        """Return whether the child has reported that it is ready; once true, it stays true."""
        if self._open:
            with contextlib.suppress(BlockingIOError):
                received = os.read(self._read, len(READY) - len(self._said))
                self._said += received
                if not received or self._said == READY:
                    os.close(self._read)
                    self._open = False
        return self._said == READY
