"""Ids of the erased in the audit log: the mark of the erasure stands in place of each, and nothing else goes.

Who read what, when, under which role and of which zones stays. A line is found by what it says and by the
hot file alone, so this can be done again at any time, and after a crash.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import orjson

from streams.audit_log import AUDIT_LOG, change_lines
from streams.snapshots.erasing.erasures import Erasures, Names

_NAME = "[a-z0-9][a-z0-9-]*"
_WORD = re.compile(rf"(?<![A-Za-z0-9]){_NAME}")
_EVENT = re.compile(rf"(?<![A-Za-z0-9])({_NAME})/({_NAME}(?:~[0-9]+)?)/([0-9]+)(?:\.([0-9]+))?")


def forget_in_log(directory: Path, erasures: Erasures) -> int:
    """Write the audit log of a store again without the ids of the erased; return how many lines changed.

    These are the wearers of whom nothing stays, the devices that nobody else wore, and events that are erased
    of any device. Lines that lost a name have the number of the erasure in `erased`. OSError or InputError if
    the log cannot be written.
    """
    if not (names := erasures.names()):
        return 0
    return change_lines(directory / AUDIT_LOG, lambda line: _forgotten(line, names))


def _forgotten(line: bytes, names: Names) -> bytes:
    try:
        told = orjson.loads(line)
        question, role = told["question"], told["role"]
        former = [each for each in told.get("erased", ()) if isinstance(each, int)]
        without = {
            name: _without(each, told["t"], names) for name, each in (("role", role), ("question", question))
        }
    except (orjson.JSONDecodeError, TypeError, KeyError):
        # Nobody reads it, but somebody may find a name in it.
        half = line.decode("utf-8", "surrogateescape")
        return _without(half, "", names).encode("utf-8", "surrogateescape")
    if (role, question) == (without["role"], without["question"]):
        return line
    text = without["question"].encode("utf-8", "backslashreplace")
    # A digest of the former text would tell who tries names whether one fits.
    also: dict[str, object] = {"bytes": len(text), "sha256": hashlib.sha256(text).hexdigest()}
    numbers = {number for mark, number in names.numbers.items() if mark in str(without)}
    also["erased"] = sorted({*former, *numbers})
    return orjson.dumps({**told, **without, **also}, option=orjson.OPT_APPEND_NEWLINE)


def _without(text: str, at: str, names: Names) -> str:
    """A text that was written at a time, with marks in place of names."""

    def of_event(match: re.Match[str]) -> str:
        source, stream, number, revision = match.groups()
        owner = names.of_word(source, at)
        return owner or names.of_event(source, stream, int(number), int(revision or 0)) or match[0]

    return _WORD.sub(lambda match: names.of_word(match[0], at) or match[0], _EVENT.sub(of_event, text))
