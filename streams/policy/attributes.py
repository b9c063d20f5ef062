"""The attributes that a zone's condition may use: coarse, enumerated, documented; nothing else decides.

kind            the kind of event (`imu`, `voice_query`, ...)
stream          the stream's name without its incarnation
place           where the device believes that it is: home, work, street, cafe, clinic, unknown
people_near     nobody, household, strangers
minor_near      whether a child is near
capture_light   whether the recording light is on
worn            whether the glasses are worn
consent_given   whether the device names a consent that is neither withdrawn nor expired
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from streams.consent.words import Consent
from streams.events.batch import CONTEXT_VALUES, Context
from streams.events.shipped import SHIPPED
from streams.limits import ATTRIBUTE_COMBINATIONS_MAX


class Attributes(NamedTuple):
    """One combination of attributes; hashable, so that each combination is decided once."""

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

    @classmethod
    def parse(cls, text: str) -> Attributes:
        """Inverse of `text`; ValueError if the text has another form."""
        texts = dict(pair.partition("=")[::2] for pair in text.split())
        if tuple(texts) != cls._fields:
            raise ValueError(f"attributes: found others, expected {', '.join(cls._fields)}")
        values: dict[str, Any] = {
            name: _TRUTH.get(value, value) if name in _FLAGS else value for name, value in texts.items()
        }
        return cls(**values)


#: Attributes that the device's context has.
CONTEXT = tuple(name for name, allowed in CONTEXT_VALUES.items() if allowed is not int)
#: All values of each attribute. `kind` has the shipped kinds; `stream`, whose names devices choose, has a
#: placeholder for any name.
DOMAINS: Mapping[str, Sequence[Any]] = {
    "kind": sorted(kind.name for kind in SHIPPED.values() if kind.captured),
    "stream": ("another",),
    **{
        name: (False, True) if isinstance(allowed, type) else sorted(allowed)
        for name, allowed in CONTEXT_VALUES.items()
        if name in CONTEXT
    },
    "consent_given": (False, True),
}
if tuple(DOMAINS) != Attributes._fields:
    raise AssertionError("every attribute has a domain, in the order of the fields")
_TRUTH = {"true": True, "false": False}
_FLAGS = frozenset(name for name, domain in DOMAINS.items() if True in domain)


@lru_cache(maxsize=ATTRIBUTE_COMBINATIONS_MAX)
def _text(attributes: Attributes) -> str:
    return " ".join(f"{name}={str(value).lower()}" for name, value in attributes._asdict().items())


def attributes_of(kind: str, stream: str, context: Context, consent: Consent) -> Attributes:
    """Attributes of events of a kind and stream in one context, with the consent in force for them."""
    return Attributes(
        kind,
        stream.partition("~")[0],
        context.place,
        context.people_near,
        context.minor_near,
        context.capture_light,
        context.worn,
        consent.given,
    )


def domains_of(own_kinds: Collection[str]) -> Mapping[str, Sequence[Any]]:
    """`DOMAINS` with `own_kinds` in addition to the shipped kinds."""
    return {**DOMAINS, "kind": sorted({*DOMAINS["kind"], *own_kinds})}


def known_words(names: Sequence[str], domains: Mapping[str, Sequence[Any]]) -> list[str]:
    """All texts that the attributes `names` can have, sorted; a condition on any other text never matches."""
    return sorted({value for name in names for value in domains[name] if isinstance(value, str)})
