"""The audit log: who saw data of a restricted zone or exported any data, when and by which question.

It is `reads.jsonl` in the store's directory, with one JSON line per read or export, on disk before the answer
is given.
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
    """Name of the operating system's user, from the system and not from environment variables."""
    number = os.getuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"uid {number}"


def record(
    directory: Path, role: str, question: str, zones: Iterable[str], *, exported: bool = False
) -> None:
    """Append one read of restricted zones, or one export, in one write, and sync it.

    A read that shows nothing of restricted zones is not recorded; an export always is. The line has the
    role, the operating system's user, and the whole question (at most STATEMENT_BYTES_MAX
    bytes) with its length and SHA-256.

    Raises
    ------
    UnavailableError
        The log cannot be written; the caller must then neither show nor export the data.
    """
    named = sorted(zones)
    if not named and not exported:
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
            "exported": exported,
        },
        option=orjson.OPT_APPEND_NEWLINE,
    )
    try:
        with files.append(directory / AUDIT_LOG) as file:
            file.write(line)
            os.fsync(file.fileno())
    except (OSError, InputError) as error:
        read = f"the read of restricted zones ({', '.join(named)})" if named else "the export"
        raise UnavailableError(
            f"{directory / AUDIT_LOG}: {read} cannot be recorded, and what is not recorded is not shown. "
            f"Make it writable for who asks ({reason(error)})"
        ) from None
