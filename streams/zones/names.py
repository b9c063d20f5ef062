"""Names that devices, wearers and captured streams may not have, because Sightline uses them itself.

Otherwise a captured event could have the identity of a derived one, or a device's record the key of an
operator's.
"""

from __future__ import annotations

from functools import lru_cache

from streams.events.batch import Batch
from streams.events.identity import NAME_CHARACTERS_MAX
from streams.events.kinds import Kinds
from streams.limits import NAMES_KNOWN_MAX
from streams.topology import RESERVED_SOURCES, SINGLE_STREAMS

RULE = "names"


@lru_cache(maxsize=16)
def derived_streams(kinds: Kinds) -> tuple[str, ...]:
    """Names of the derived streams, which no captured stream may have."""
    return tuple(kind.name for kind in kinds.derived)


def reserved(batch: Batch, derived: tuple[str, ...]) -> str:
    """Sentence that says which name of a captured batch is reserved or collides; empty if none does.

    `derived` are the names of `derived_streams`.
    """
    return _reserved(batch.source, batch.wearer_id, batch.stream, batch.kind, derived)


@lru_cache(maxsize=NAMES_KNOWN_MAX)
def _reserved(source: str, wearer: str, stream: str, kind: str, derived: tuple[str, ...]) -> str:
    for field, name in (("device_id", source), ("wearer_id", wearer)):
        if name in RESERVED_SOURCES:
            return (
                f"{field}: found a reserved name, expected another one than {', '.join(RESERVED_SOURCES)};"
                " give it a name of its own"
            )
    base = stream.partition("~")[0]
    if any(base == name or base.startswith(f"{name}-") for name in derived):
        return (
            "stream: found the name of a derived stream, expected none that is one of"
            f" {', '.join(derived)}, or begins with one and a hyphen; give it the name of its sensor"
        )
    if base != SINGLE_STREAMS.get(kind, base):
        return (
            f"stream: found another name for kind {kind}, expected {SINGLE_STREAMS[kind]}: what is made of it"
            " has its numbers and not its name, and would collide"
        )
    # A derived stream may append the name of the stream that it reads to its own, and is also bounded.
    characters_max = NAME_CHARACTERS_MAX - max(map(len, derived), default=0) - len("-")
    if len(base) > characters_max:
        return (
            f"stream: found a name of {len(base)} characters, expected at most {characters_max}:"
            " streams that are derived from it have it in their names"
        )
    return ""
