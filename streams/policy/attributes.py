"""The attributes that a zone's condition may look at: coarse, enumerated, documented; nothing else decides.

kind            the kind of event (`imu`, `voice_query`, ...)
stream          the stream's name without its incarnation
place           what the device takes the place to be: home, work, street, cafe, clinic, unknown
people_near     nobody, household, strangers
minor_near      a child is near
capture_light   the recording light is on
worn            the glasses are worn
consent_given   the wearer gave a consent that this device knows
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from streams.events.batch import CONTEXT_VALUES, Context
from streams.events.kinds import KINDS
from streams.limits import ATTRIBUTE_COMBINATIONS_MAX


class Attributes(NamedTuple):
    """One combination of what a condition may look at; hashable, so that each is decided once."""

    kind: str
    stream: str
    place: str
    people_near: str
    minor_near: bool
    capture_light: bool
    worn: bool
    consent_given: bool

    def text(self) -> str:
        """`name=value` pairs for the store."""
        return _text(self)


@lru_cache(maxsize=ATTRIBUTE_COMBINATIONS_MAX)
def _text(attributes: Attributes) -> str:
    return " ".join(f"{name}={str(value).lower()}" for name, value in attributes._asdict().items())


def attributes_of(kind: str, stream: str, context: Context) -> Attributes:
    """Attributes of events of a kind and stream in one context."""
    return Attributes(kind, stream.partition("~")[0], context.place, context.people_near, context.minor_near,
                      context.capture_light, context.worn, context.consent > 0)


def known_words() -> frozenset[str]:
    """Every text that an enumerated attribute can have; a condition that names another one can never match."""
    words = {kind.name for kind in KINDS.values() if kind.captured}
    for allowed in CONTEXT_VALUES.values():
        if not isinstance(allowed, type):
            words |= allowed
    return frozenset(words)
