"""The check of a store's version."""

from __future__ import annotations

from pathlib import Path

from streams.errors import InputError
from streams.limits import STORE_VERSION

#: The writer can migrate stores from this version on.
_TAKEN_OVER_FROM = 3


def refuse_version(directory: Path, version: int) -> None:
    """Raise InputError, with advice, if a store does not have the current version."""
    if version == STORE_VERSION:
        return
    if version > STORE_VERSION:
        advice = "a newer sightline wrote it: read it with that one"
    elif version >= _TAKEN_OVER_FROM:
        advice = f"take it over once with `sightline snapshots --migrate --store {directory}`"
    else:
        advice = (
            "read it with the sightline that wrote it, or make it again from journals with `sightline replay`"
        )
    raise InputError(f"{directory}: found a store of version {version}, expected {STORE_VERSION}; {advice}")
