"""The audit log of reads: who was shown something of a restricted zone, when and by which question.

One JSON line a read in `reads.jsonl` in the store's directory, on disk before the answer is given.
"""

from __future__ import annotations

import hashlib
import os
import pwd
from collections.abc import Iterable
from pathlib import Path

import orjson

from streams import clock, files
from streams.errors import InputError, UnavailableError, reason
from streams.events.headers import rfc3339

AUDIT_LOG = "reads.jsonl"


def who_asks() -> str:
    """Name of the operating system's user that runs this, as the system knows it and not the environment."""
    number = os.getuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"uid {number}"


def record(directory: Path, role: str, question: str, zones: Iterable[str]) -> None:
    """Append one read, in one write, and sync it; does nothing when no zone is named.

    It names the role, the operating system's user, and the question: whole, since a statement has at most
    STATEMENT_BYTES_MAX bytes, with its length and its SHA-256.

    Raises
    ------
    UnavailableError
        It cannot be written: nothing restricted is shown then.
    """
    named = sorted(zones)
    if not named:
        return
    text = question.encode("utf-8", "backslashreplace")
    line = orjson.dumps(
        {
            "t": rfc3339(clock.now_ns()),
            "role": role,
            "user": who_asks(),
            "question": text.decode(),
            "bytes": len(text),
            "sha256": hashlib.sha256(text).hexdigest(),
            "zones": named,
        },
        option=orjson.OPT_APPEND_NEWLINE,
    )
    try:
        with files.append(directory / AUDIT_LOG) as file:
            file.write(line)
            os.fsync(file.fileno())
    except (OSError, InputError) as error:
        raise UnavailableError(
            f"{directory / AUDIT_LOG}: the read of restricted zones ({', '.join(named)}) cannot be recorded, "
            f"and what is not recorded is not shown. Make it writable for who asks ({reason(error)})"
        ) from None
