"""An event's identity: `source/stream/number`, followed by `.revision` if the event corrects another.

Identities depend on no clock and no random number, so a replay of the same journal gives the same ones.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from streams.errors import MalformedError
from streams.limits import NAMES_KNOWN_MAX, NUMBER_MAX, REVISION_MAX

NAME_CHARACTERS_MAX = 63
_NAME = rf"[a-z0-9][a-z0-9-]{{0,{NAME_CHARACTERS_MAX - 1}}}"
#: Each incarnation has exactly one spelling (the first none, no leading zeros): two spellings would count as
#: two streams.
_STREAM = rf"{_NAME}(?:~(?:[2-9]|[1-9][0-9]{{1,5}}))?"
NAME_PATTERN = re.compile(_NAME)
STREAM_PATTERN = re.compile(_STREAM)
_REVISION = rf"[1-9][0-9]{{0,{len(str(REVISION_MAX)) - 1}}}"
_IDENTITY = re.compile(rf"({_NAME})/({_STREAM})/(0|[1-9][0-9]{{0,18}})(?:\.({_REVISION}))?")


@dataclass(frozen=True, slots=True, order=True)
class EventId:
    """Identity of one event; `stream` includes the incarnation (`imu-right~2`) from the second one on."""

    source: str
    stream: str
    number: int
    revision: int = 0

    def __str__(self) -> str:
        """`source/stream/number[.revision]`."""
        return format_id(self.source, self.stream, self.number, self.revision)

    @property
    def incarnation(self) -> int:
        """Incarnation of the device when it captured the event, from 1."""
        return incarnation_of(self.stream)

    @classmethod
    def parse(cls, text: str) -> EventId:
        """Read `source/stream/number[.revision]`; MalformedError if the text has another form."""
        match = _IDENTITY.fullmatch(text)
        if match is None or int(match[3]) > NUMBER_MAX:
            raise MalformedError(
                "event id: found another form, expected source/stream/number, such as g1/answer/17"
            )
        return cls(match[1], match[2], int(match[3]), int(match[4] or 0))


@lru_cache(maxsize=NAMES_KNOWN_MAX)
def incarnation_of(stream: str) -> int:
    """Incarnation in the name of a stream; 1 if the name has none."""
    return int(stream.partition("~")[2] or 1)


def derived_stream(name: str, read: str) -> str:
    """Name of the derived stream `name` with the incarnation of the stream `read`.

    `answer` derived from `voice-query~2` is `answer~2`.
    """
    return "".join((name, *read.partition("~")[1:]))


def example_stream(read: str) -> str:
    """Name of the stream of examples that are made of the stream `read`: of feedback, or of reviews."""
    base = read.partition("~")[0]
    return derived_stream("example" if base == "feedback" else f"example-{base}", read)


def format_id(source: str, stream: str, number: int, revision: int = 0) -> str:
    """Text of an identity."""
    return f"{source}/{stream}/{number}.{revision}" if revision else f"{source}/{stream}/{number}"
