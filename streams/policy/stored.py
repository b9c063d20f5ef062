"""Policies as a store keeps them: a version is the digest of its text, and only that text is accepted."""

from __future__ import annotations

import hashlib

from streams.errors import InputError, called_off
from streams.policy.load import parse
from streams.policy.policy import Policy


def version_of(text: str) -> str:
    """Version of a policy with this text: SHA-256 of it, the first 64 bits in hexadecimal."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def read_stored(version: str, text: str, *, tried: bool = False) -> Policy:
    """Read policy `version` from the text that a store or a record of lineage has for it.

    InputError, which repeats nothing of the text, if the text does not match the version or is no policy.
    Everything that the libraries raise on a hostile text is caught, including panics. `tried`: the conditions
    were checked before, by the writer of the store.
    """
    if version_of(text) != version:
        raise InputError(
            "policy: found a text whose digest is not the version, expected that of every policy that decided"
        )
    try:
        return parse(text, f"policy {version} of the store", tried=tried)
    except called_off():
        raise
    except BaseException:  # noqa: BLE001 - a panic below Python is no Exception
        raise InputError(
            f"policy {version}: found a text that is no policy, expected that of every policy that decided"
        ) from None
