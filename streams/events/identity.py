"""An event's identity: `source/stream/number`, with `.revision` where a correction was made.

No clock and no random number goes into it, so a replay of the same journal gives the same identities.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from streams.errors import MalformedError
from streams.limits import NAMES_KNOWN_MAX, NUMBER_MAX, REVISION_MAX

NAME_CHARACTERS_MAX = 63
_NAME = rf"[a-z0-9][a-z0-9-]{{0,{NAME_CHARACTERS_MAX - 1}}}"
#: The first incarnation has no suffix, and every other one way of being written: two names would be two
#: streams.
_STREAM = rf"{_NAME}(?:~(?:[2-9]|[1-9][0-9]{{1,5}}))?"
NAME_PATTERN = re.compile(_NAME)
STREAM_PATTERN = re.compile(_STREAM)
_REVISION = rf"[1-9][0-9]{{0,{len(str(REVISION_MAX)) - 1}}}"
_IDENTITY = re.compile(rf"({_NAME})/({_STREAM})/(0|[1-9][0-9]{{0,18}})(?:\.({_REVISION}))?")


@dataclass(frozen=True, slots=True, order=True)
class EventId:
    """One event. `stream` carries its incarnation (`imu-right~2`) when a device lost its counters."""

    source: str
    stream: str
    number: int
    revision: int = 0

    def __str__(self) -> str:
        """`source/stream/number[.revision]`."""
        return format_id(self.source, self.stream, self.number, self.revision)

    @property
    def incarnation(self) -> int:
        """Incarnation of the device."""
        return incarnation_of(self.stream)

    @classmethod
    def parse(cls, text: str) -> EventId:
        """Read `source/stream/number[.revision]`; MalformedError says what the form is."""
        match = _IDENTITY.fullmatch(text)
        if match is None or int(match[3]) > NUMBER_MAX:
            raise MalformedError(
                "event id: found another form, expected source/stream/number, such as g1/answer/17"
            )
        return cls(match[1], match[2], int(match[3]), int(match[4] or 0))


@lru_cache(maxsize=NAMES_KNOWN_MAX)
def incarnation_of(stream: str) -> int:
    """Incarnation of the device that a stream is of; 1 where its name says none."""
    return int(stream.partition("~")[2] or 1)


def derived_stream(name: str, read: str) -> str:
    """Name of the stream `name` that is derived from the stream `read`.

    The incarnation stays (`answer~2` from `voice-query~2`).
    """
    return "".join((name, *read.partition("~")[1:]))


def format_id(source: str, stream: str, number: int, revision: int = 0) -> str:
    """Text of an identity."""
    return f"{source}/{stream}/{number}.{revision}" if revision else f"{source}/{stream}/{number}"
