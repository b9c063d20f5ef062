"""The digest that identifies values, texts and models by their content."""

from __future__ import annotations

import xxhash


def digest(value: bytes) -> str:
    """XXH3-128 of bytes, as hex. It detects differences but is not cryptographic: it proves no origin."""
    return xxhash.xxh3_128_hexdigest(value)
