"""The audit log: who saw data of a restricted zone or exported any data, when and by which question.

It is `reads.jsonl` in the store's directory, with one JSON line per read or export, on disk before the answer
is given.
"""

from __future__ import annotations

import hashlib
import os
import pwd
from collections.abc import Mapping, Sequence
from pathlib import Path

import orjson

from streams import clock
from streams.audit_log import AUDIT_LOG, add_line
from streams.errors import InputError, UnavailableError, reason
from streams.events.headers import rfc3339
from streams.queries.role import RoleFilter
from streams.topology import EXPORT


def who_asks() -> str:
    """Name of the operating system's user, from the system and not from environment variables."""
    number = os.getuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"uid {number}"


def asked_as(question: str, options: Mapping[str, object]) -> str:
    """Return a question for the audit log, in the syntax of the command, with each option that is set.

    An option whose value is a list was given once for each of its values.
    """
    words = [question]
    for option, value in options.items():
        if value is True:
            words.append(option)
        elif isinstance(value, tuple | list):
            words += [f"{option} {each}" for each in value]
        elif value is not False and value != "":
            words.append(f"{option} {value}")
    return " ".join(words)


def record(
    epochs: Mapping[str, int],
    role_filter: RoleFilter,
    question: str,
    *,
    wrote: str = "",
    refused: bool = False,
) -> None:
    """Append one read of restricted zones, or one export, in one write to each log, and sync it.

    `epochs` has the epoch that was read of each store, by directory; if several stores are read as one, the
    log of each gets a line with its own epoch. A read that shows nothing of restricted zones is not recorded;
    an export always is. The line has the role, the operating system's user, and the whole question (at most
    STATEMENT_BYTES_MAX bytes) with its length and SHA-256. It links what was written to what was read:
    `wrote` is the digest (XXH3-128, in hexadecimal) of an exported file, if it is known before the answer is
    given, and `into` is the sink that it left into, if that is not `export`. `refused`: nothing is written,
    because what the role may take out must not leave in that form.

    Raises
    ------
    UnavailableError
        The log cannot be written; the caller must then neither show nor export the data.
    """
    named, exported = sorted(role_filter.restricted), role_filter.role.exporting
    if not named and not exported:
        return
    text = question.encode("utf-8", "backslashreplace")
    told = {
        "t": rfc3339(clock.now_ns()),
        "role": str(role_filter.role),
        "user": who_asks(),
        "question": text.decode(),
        "bytes": len(text),
        "sha256": hashlib.sha256(text).hexdigest(),
        "zones": named,
        "exported": exported and not refused,
        **({"into": role_filter.role.into} if exported and role_filter.role.into != EXPORT else {}),
        **({"wrote": wrote} if wrote else {}),
        **({"refused": True} if refused else {}),
    }
    for directory, epoch in epochs.items():
        line = orjson.dumps({**told, "epoch": epoch}, option=orjson.OPT_APPEND_NEWLINE)
        _append(Path(directory) / AUDIT_LOG, line, named)


def record_look(epochs: Mapping[str, int], reviewer: str, event: str, zone: str) -> None:
    """Append that a reviewer is shown the words of an event, in whichever zone it is, before that happens.

    UnavailableError if the log cannot be written; the caller must then not show them.
    """
    question = f"review {event}".encode()
    told = {
        "t": rfc3339(clock.now_ns()),
        "role": f"reviewer:{reviewer}",
        "user": who_asks(),
        "question": question.decode(),
        "bytes": len(question),
        "sha256": hashlib.sha256(question).hexdigest(),
        "zones": [zone],
        "exported": False,
    }
    for directory, epoch in epochs.items():
        line = orjson.dumps({**told, "epoch": epoch}, option=orjson.OPT_APPEND_NEWLINE)
        _append(Path(directory) / AUDIT_LOG, line, [zone])


def _append(path: Path, line: bytes, named: Sequence[str]) -> None:
    try:
        add_line(path, line)
    except (OSError, InputError) as error:
        read = f"the read of restricted zones ({', '.join(named)})" if named else "the export"
        raise UnavailableError(
            f"{path}: {read} cannot be recorded, and what is not recorded is not shown. Make it writable for "
            f"who asks ({reason(error)})"
        ) from None
