"""What stays on `glasses.models` of a version that an erasure withdrew, in place of its value.

It is no record without a value: compaction would let that go as well, and then nothing would tell a version
that was withdrawn from one that is missing, or keep its number from being given again.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from streams.errors import MalformedError
from streams.events.identity import NAME_PATTERN
from streams.limits import NUMBER_MAX, TOKEN_CHARACTERS_MAX
from streams.models.pointer import WHY_CHARACTERS_MAX
from streams.models.version import ModelVersion

_Number = Annotated[int, Meta(ge=0, le=NUMBER_MAX)]
_Positive = Annotated[int, Meta(ge=1, le=NUMBER_MAX)]
_Wearer = Annotated[str, Meta(pattern=rf"\A{NAME_PATTERN.pattern}\Z")]
_BEGIN = b'{"withdrawn":'


class Withdrawn(Struct, frozen=True, forbid_unknown_fields=True):
    """A version that learned from somebody who was erased, without its model and its examples.

    `withdrawn` says why, `digest` is that of its model. `wearers` are the others from whom it learned, with
    the numbers of their consent records: an erasure of one of them concerns it too.
    """

    withdrawn: Annotated[str, Meta(min_length=1, max_length=WHY_CHARACTERS_MAX)]
    version: _Positive
    digest: Annotated[str, Meta(max_length=TOKEN_CHARACTERS_MAX)]
    trained_ns: _Number
    declined: bool
    wearers: dict[_Wearer, tuple[_Number, ...]]
    v: Literal[1] = 1

    @classmethod
    def of(cls, version: ModelVersion, why: str, erased: Collection[str]) -> Withdrawn:
        """What stays of a version without the wearers who were erased."""
        wearers = version.manifest.wearers.items()
        return cls(
            why,
            version.version,
            version.model.digest,
            version.trained_ns,
            bool(version.declined),
            {wearer: tuple(records) for wearer, records in wearers if wearer not in erased},
        )

    @staticmethod
    def begins(value: bytes | None) -> bool:
        """Whether a value is meant as one, and not as a version."""
        return value is not None and value.startswith(_BEGIN)

    @classmethod
    def load(cls, value: bytes | None) -> Withdrawn:
        """Inverse of `dump`; MalformedError if it is none."""
        try:
            return msgspec.json.decode(value or b"", type=cls)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            raise MalformedError(
                "withdrawn model version: found something else, expected what an erasure writes"
            ) from None

    def dump(self) -> bytes:
        """Value of the record."""
        return msgspec.json.encode(self)
