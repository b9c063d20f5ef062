"""The form of a sealed value: encrypted under one key, and bound to its place.

A sealed record has the header `content-encoding: sightline-sealed` (as HTTP names what was done to a body);
its `content-type` is still that of the value inside. The value is

    form (1 byte) · id of the key store (8) · number of the key (8, big-endian) · mark (8) · nonce (12)
    · ciphertext

with AES-256-GCM (NIST SP 800-38D), a random nonce, and at most 2^32 values to a key (section 8.3 there). What
is encrypted is compressed first, because nothing compresses ciphertext. The topic, the event and the tags of
the record are authenticated with it, so a value can be neither moved to another record nor relabelled. The
header `sightline-digest` has the digest that lineage has, for readers without a key.
"""

from __future__ import annotations

import secrets
import struct
import zlib
from collections.abc import Mapping
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from streams.errors import MalformedError
from streams.events.headers import CONTENT_TYPE, ENCODING, RESERVED, RUN
from streams.events.record import Headers
from streams.limits import VALUE_BYTES_MAX

SEALED = b"sightline-sealed"
#: Stands in that header of a record that could not be opened, if its key is there.
BROKEN = "broken"
STORE_ID_BYTES, KEY_BYTES, MARK_BYTES, NONCE_BYTES, TAG_BYTES = 8, 32, 8, 12, 16
_FORM = 1
_HEAD = struct.Struct(f">B{STORE_ID_BYTES}sQ{MARK_BYTES}s")
#: Headers that are authenticated with the value, besides the topic.
_BOUND = ("ce_id", CONTENT_TYPE, RUN, *sorted(RESERVED))
_NOT_SEALED = "value: found none that is sealed, expected what the header content-encoding says"


class KeyName(NamedTuple):
    """Names a key for ever: the id of its key store, and its number there. It tells nothing of a wearer.

    By the `mark`, which only the key store can make, a name that somebody invented is told from one that an
    older copy of the store does not have.
    """

    store: bytes
    number: int
    mark: bytes


def is_sealed(headers: Headers) -> bool:
    """Whether a record says that its value is sealed."""
    return any(name == ENCODING and value == SEALED for name, value in headers)


def unopened(headers: Headers) -> str:
    """Why a record has no value: the state of its key, or `broken`; empty for any other record."""
    return next(((value or b"").decode(errors="replace") for name, value in headers if name == ENCODING), "")


def seal(name: KeyName, key: bytes, topic: str, headers: Headers, value: bytes) -> tuple[Headers, bytes]:
    """Headers and value of the sealed record; `key` has 32 bytes, `topic` is the plain name."""
    head = _HEAD.pack(_FORM, *name)
    nonce = secrets.token_bytes(NONCE_BYTES)
    ciphertext = AESGCM(key).encrypt(nonce, zlib.compress(value), _bound(head, topic, dict(headers)))
    return [*headers, (ENCODING, SEALED)], head + nonce + ciphertext


def key_of(value: bytes | None) -> KeyName:
    """Name of the key that a value is sealed under; MalformedError if it has not the form of a sealed one."""
    if value is None or len(value) < _HEAD.size + NONCE_BYTES + TAG_BYTES or value[0] != _FORM:
        raise MalformedError(_NOT_SEALED)
    _, store, number, mark = _HEAD.unpack_from(value)
    return KeyName(store, number, mark)


def unseal(key: bytes, topic: str, headers: Headers, value: bytes) -> tuple[Headers, bytes]:
    """Headers and value of the record as it was before `seal`.

    MalformedError if the value, its place or its tags are not those that were sealed, or if what comes out is
    longer than a value may be.
    """
    key_of(value)
    begins = _HEAD.size + NONCE_BYTES
    try:
        compressed = AESGCM(key).decrypt(
            value[_HEAD.size : begins], value[begins:], _bound(value[: _HEAD.size], topic, dict(headers))
        )
        inflating = zlib.decompressobj()
        opened = inflating.decompress(compressed, VALUE_BYTES_MAX)
    except (InvalidTag, zlib.error):
        raise MalformedError(
            "value: it does not open at this place under its key, expected what was sealed for this record"
        ) from None
    if inflating.unconsumed_tail or not inflating.eof:
        raise MalformedError(f"value: found more than {VALUE_BYTES_MAX} bytes sealed, expected fewer")
    return [header for header in headers if header[0] != ENCODING], opened


def _bound(head: bytes, topic: str, headers: Mapping[str, bytes]) -> bytes:
    """What is authenticated with a value: parts with their lengths, so no two places are written alike."""
    parts = (head, topic.encode(), *(headers.get(name) or b"" for name in _BOUND))
    return b"".join(struct.pack(">I", len(part)) + part for part in parts)
