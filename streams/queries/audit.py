"""The audit log of reads: who saw data of a restricted zone, or took data out, when and by which question.

It is `reads.jsonl` in the store's directory, with one JSON line per read, on disk before the answer is given.
"""

from __future__ import annotations

import hashlib
import os
import pwd
from collections.abc import Sequence
from pathlib import Path

import orjson

from streams import clock, files
from streams.errors import InputError, UnavailableError, reason
from streams.events.headers import rfc3339
from streams.queries.role import RoleFilter

AUDIT_LOG = "reads.jsonl"


def who_asks() -> str:
    """Name of the operating system's user, from the system and not from environment variables."""
    number = os.getuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"uid {number}"


def record(directory: Path, role_filter: RoleFilter, question: str, *, epoch: int, wrote: str = "") -> None:
    """Append one read, in one write, and sync it.

    Nothing is appended if the role was shown nothing of restricted zones and takes nothing out.

    The line has the role, the operating system's user, and the whole question (at most STATEMENT_BYTES_MAX
    bytes) with its length and SHA-256. It links what was written to what was read: `epoch` is the state of
    the store that the answer is from, and `wrote` is the digest (XXH3-128, in hexadecimal) of an exported
    file, if that is known before the answer is given.

    Raises
    ------
    UnavailableError
        The log cannot be written; the caller must then not show restricted data.
    """
    named = sorted(role_filter.restricted)
    if not named and not role_filter.role.exporting:
        return
    text = question.encode("utf-8", "backslashreplace")
    line = orjson.dumps(
        {
            "t": rfc3339(clock.now_ns()),
            "role": str(role_filter.role),
            "user": who_asks(),
            "question": text.decode(),
            "bytes": len(text),
            "sha256": hashlib.sha256(text).hexdigest(),
            "zones": named,
            "epoch": epoch,
            **({"wrote": wrote} if wrote else {}),
        },
        option=orjson.OPT_APPEND_NEWLINE,
    )
    try:
        with files.append(directory / AUDIT_LOG) as file:
            file.write(line)
            os.fsync(file.fileno())
    except (OSError, InputError) as error:
        raise UnavailableError(
            f"{directory / AUDIT_LOG}: the read of {_shown(named)} cannot be recorded, "
            f"and what is not recorded is not shown. Make it writable for who asks ({reason(error)})"
        ) from None


def _shown(zones: Sequence[str]) -> str:
    return f"restricted zones ({', '.join(zones)})" if zones else "what leaves the store"
