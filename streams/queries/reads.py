"""The record of reads: who was shown something of a restricted zone, when and by which question.

One JSON line a read in `reads.jsonl` in the store's directory, on disk before the answer is given.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import orjson

from streams import clock, files
from streams.errors import InputError, UnavailableError, reason
from streams.events.headers import rfc3339

READS = "reads.jsonl"
#: A statement can be as long as its author likes.
_QUESTION_CHARACTERS_MAX = 2000


def record(directory: Path, role: str, question: str, zones: Iterable[str]) -> None:
    """Append one read, in one write, and sync it; does nothing when no zone is named.

    Raises
    ------
    UnavailableError
        It cannot be written: nothing restricted is shown then.
    """
    named = sorted(zones)
    if not named:
        return
    line = orjson.dumps(
        {
            "t": rfc3339(clock.now_ns()),
            "role": role,
            "question": question[:_QUESTION_CHARACTERS_MAX],
            "zones": named,
        },
        option=orjson.OPT_APPEND_NEWLINE,
    )
    try:
        with files.append(directory / READS) as file:
            file.write(line)
            os.fsync(file.fileno())
    except (OSError, InputError) as error:
        raise UnavailableError(
            f"{directory / READS}: the read of restricted zones ({', '.join(named)}) cannot be recorded, and "
            f"what is not recorded is not shown. Make it writable for who asks ({reason(error)})"
        ) from None
