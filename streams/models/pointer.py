"""The record `model/current`: which version serves, and why, if an operator went back to it."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from streams.errors import MalformedError
from streams.limits import NUMBER_MAX, WITHDRAWN_RUNS_MAX

WHY_CHARACTERS_MAX = 200
_Number = Annotated[int, Meta(ge=0, le=NUMBER_MAX)]
_Positive = Annotated[int, Meta(ge=1, le=NUMBER_MAX)]


#: Model versions as runs (first, last), in order.
Versions = tuple[tuple[_Positive, _Positive], ...]


def holds(versions: Versions, number: int) -> bool:
    """Whether a version is among some."""
    return any(first <= number <= last for first, last in versions)


def together(*several: Versions) -> Versions:
    """All of several versions; of more than WITHDRAWN_RUNS_MAX runs the newest."""
    runs: list[tuple[int, int]] = []
    for first, last in sorted(run for some in several for run in some):
        if runs and first <= runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], max(runs[-1][1], last))
        else:
            runs.append((first, last))
    return tuple(runs[-WITHDRAWN_RUNS_MAX:])


def without(versions: Versions, number: int) -> Versions:
    """All of some versions but one."""
    return tuple(
        part
        for first, last in versions
        for part in ((first, min(last, number - 1)), (max(first, number + 1), last))
        if part[0] <= part[1]
    )


class Rollback(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An operator's return to `version` from `before`, for the reason `why`.

    `at_ns` is its time by the operator's clock. Versions that are promoted later serve again; `superseded`
    says that one was promoted before the rollback was taken up. `erasure`: the versions since learned from
    somebody whose data is erased, so none of them answers in shadow either, training fits the next one as
    soon as it can, and what others taught since is not left out. `withdrawn` are then all versions that
    learned from somebody who was erased.
    """

    version: _Positive
    before: _Number
    why: Annotated[str, Meta(min_length=1, max_length=WHY_CHARACTERS_MAX)]
    at_ns: _Positive
    superseded: bool = False
    erasure: bool = False
    withdrawn: Annotated[Versions, Meta(max_length=WITHDRAWN_RUNS_MAX)] = ()

    @classmethod
    def load(cls, text: str) -> Rollback:
        """Inverse of `dump`; MalformedError if it is none."""
        try:
            return msgspec.json.decode(text, type=cls)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            raise MalformedError(
                "rollback: found something else, expected version, time and reason"
            ) from None

    def dump(self) -> str:
        """As JSON text."""
        return msgspec.json.encode(self).decode()

    def leaving(self, left: Versions) -> Versions:
        """All versions that were left behind: those of before, and those since `version` up to `before`."""
        since = ((self.version + 1, self.before),) if self.version < self.before else ()
        return without(together(left, since), self.version)


class Pointer(Struct, frozen=True, omit_defaults=True):
    """Value of the record `model/current`."""

    version: _Positive
    rollback: Rollback | None = None

    @classmethod
    def load(cls, value: bytes | None) -> Pointer:
        """Pointer from a record's value; MalformedError if it is none."""
        try:
            pointer = msgspec.json.decode(value or b"", type=cls)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            raise MalformedError(
                "model/current: found no version, expected an object with the number of one"
            ) from None
        back = pointer.rollback
        if back is not None and (back.version != pointer.version or back.superseded):
            raise MalformedError("model/current: found a rollback to another version, expected to its own")
        return pointer

    def dump(self) -> bytes:
        """Value of the record."""
        return msgspec.json.encode(self)
