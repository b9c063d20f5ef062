"""The digest that identifies values, texts and models by their content."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import xxhash

DIGEST_BYTES = 16
#: Digest of a value of a wearer.
Digests = Callable[[str, bytes], str]


def digest(value: bytes) -> str:
    """XXH3-128 of bytes, as hex. It detects differences but is not cryptographic: it proves no origin."""
    return xxhash.xxh3_128_hexdigest(value)


def plain_digest(wearer: str, value: bytes) -> str:
    """Digest of a value of a wearer without a key."""
    del wearer
    return digest(value)


def keyed_digest(key: bytes, value: bytes) -> str:
    """BLAKE2b (RFC 7693) of bytes under a key, as hex of the same length.

    Short texts have few possible values, so whoever has a digest without a key can try them all.
    """
    return hashlib.blake2b(value, key=key, digest_size=DIGEST_BYTES).hexdigest()
