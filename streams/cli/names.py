"""Names of devices and wearers on the command line."""

from __future__ import annotations

from streams.errors import InputError
from streams.events.identity import NAME_PATTERN
from streams.topology import RESERVED_SOURCES


def name(option: str, text: str) -> str:
    """Check a name of a device or a wearer; InputError if it is malformed or reserved."""
    if text in RESERVED_SOURCES:
        raise InputError(f"{option}: found {text}, expected another name than {', '.join(RESERVED_SOURCES)}")
    if NAME_PATTERN.fullmatch(text) is None:
        raise InputError(
            f"{option}: found {text!a}, expected lower-case letters, digits and hyphens, at most 63"
        )
    return text


def pair(device: str, wearer: str) -> tuple[str, str]:
    """Check the names of a device and a wearer; InputError as in `name`."""
    return name("device", device), name("wearer", wearer)
