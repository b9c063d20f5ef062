"""Names of devices and wearers on the command line."""

from __future__ import annotations

from streams.errors import InputError
from streams.events.identity import NAME_PATTERN
from streams.topology import RESERVED_SOURCES


def name(option: str, text: str) -> str:
    """A name of a device or a wearer; InputError when it is none, or one of ours."""
    if text in RESERVED_SOURCES:
        raise InputError(f"{option}: found {text}, expected another name than {', '.join(RESERVED_SOURCES)}")
    if NAME_PATTERN.fullmatch(text) is None:
        raise InputError(
            f"{option}: found {text!a}, expected lower-case letters, digits and hyphens, at most 63"
        )
    return text


def pair(device: str, wearer: str) -> tuple[str, str]:
    """A device and a wearer; InputError when one is none."""
    return name("device", device), name("wearer", wearer)
