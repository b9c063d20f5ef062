"""The form of a sealed value, against AES-GCM called by hand, and with everything about it changed."""

from __future__ import annotations

import struct
import zlib

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import MalformedError
from streams.events.headers import CONTENT_TYPE, DIGEST, ENCODING, LABEL, PARENTS, RUN, SINCE, ZONE
from streams.limits import VALUE_BYTES_MAX
from streams.sealing.sealed import SEALED, KeyName, is_sealed, key_of, seal, unseal

KEY, NAME, TOPIC = bytes(range(32)), KeyName(b"keystore", 7, b"a mark 8"), "glasses.examples"
HEADERS = [
    ("ce_id", b"g1/example/5"),
    (CONTENT_TYPE, b"application/json"),
    (RUN, b"5 1 1"),
    (ZONE, b"home"),
    (LABEL, b"v:00"),
    (PARENTS, b"feedback\x00\x00\x01\x01"),
    (SINCE, b"12"),
    (DIGEST, b"0" * 32),
]
WORDS = b'{"utterance": ["remind me of the doctor"]}'


def test_what_is_sealed_is_aes_gcm_over_what_is_compressed_bound_to_its_place() -> None:
    headers, sealed = seal(NAME, KEY, TOPIC, HEADERS, WORDS)
    assert (sealed[0], sealed[1:9], struct.unpack(">Q", sealed[9:17])) == (1, b"keystore", (7,))
    order = ["ce_id", CONTENT_TYPE, RUN, LABEL, DIGEST, PARENTS, SINCE, ZONE]
    by_name = dict(HEADERS)
    assert sealed[17:25] == b"a mark 8"
    parts = [sealed[:25], TOPIC.encode(), *(by_name[name] for name in ["ce_id", CONTENT_TYPE, RUN])]
    parts += [by_name[name] for name in sorted(order[3:])]
    bound = b"".join(struct.pack(">I", len(part)) + part for part in parts)
    assert zlib.decompress(AESGCM(KEY).decrypt(sealed[25:37], sealed[37:], bound)) == WORDS
    assert headers == [*HEADERS, (ENCODING, SEALED)]
    assert is_sealed(headers)
    assert not is_sealed(HEADERS)


@given(st.binary(max_size=4000))
def test_every_value_comes_back_with_its_headers(value: bytes) -> None:
    headers, sealed = seal(NAME, KEY, TOPIC, HEADERS, value)
    assert key_of(sealed) == NAME
    assert unseal(KEY, TOPIC, headers, sealed) == (HEADERS, value)


def test_no_two_sealed_values_are_equal_and_none_shows_its_words() -> None:
    several = {seal(NAME, KEY, TOPIC, HEADERS, WORDS)[1] for _ in range(100)}
    assert len(several) == 100
    assert not any(word in each for each in several for word in (b"remind", b"doctor", b"utterance"))


@pytest.mark.parametrize("name", [name for name, _ in HEADERS])
def test_a_value_opens_under_no_other_header(name: str) -> None:
    headers, sealed = seal(NAME, KEY, TOPIC, HEADERS, WORDS)
    for other in (
        [(each, of + b"0" if each == name else of) for each, of in headers],
        [h for h in headers if h[0] != name],
    ):
        with pytest.raises(MalformedError, match="does not open at this place"):
            unseal(KEY, TOPIC, other, sealed)


@given(st.data())
def test_a_value_with_any_bit_changed_does_not_open(data: st.DataObject) -> None:
    headers, sealed = seal(NAME, KEY, TOPIC, HEADERS, WORDS)
    at = data.draw(st.integers(0, 8 * len(sealed) - 1))
    changed = bytearray(sealed)
    changed[at // 8] ^= 1 << at % 8
    with pytest.raises(MalformedError):
        unseal(KEY, TOPIC, headers, bytes(changed))


def test_a_value_opens_on_no_other_topic_and_under_no_other_key() -> None:
    headers, sealed = seal(NAME, KEY, TOPIC, HEADERS, WORDS)
    for key, topic in ((KEY, "glasses.answers"), (bytes(32), TOPIC)):
        with pytest.raises(MalformedError, match="does not open"):
            unseal(key, topic, headers, sealed)


@given(st.binary(max_size=60))
def test_bytes_that_are_not_sealed_are_malformed(value: bytes) -> None:
    with pytest.raises(MalformedError):
        unseal(KEY, TOPIC, HEADERS, value)


@pytest.mark.parametrize("value", [None, b"", b"\x01" * 52, b"\x02" + bytes(60)])
def test_a_value_without_the_form_names_no_key(value: bytes | None) -> None:
    with pytest.raises(MalformedError, match="found none that is sealed"):
        key_of(value)


def test_a_small_value_that_opens_to_a_large_one_is_malformed() -> None:
    headers, sealed = seal(NAME, KEY, TOPIC, HEADERS, bytes(VALUE_BYTES_MAX + 1))
    assert len(sealed) < 2000
    with pytest.raises(MalformedError, match="expected fewer"):
        unseal(KEY, TOPIC, headers, sealed)
    headers, sealed = seal(NAME, KEY, TOPIC, HEADERS, bytes(VALUE_BYTES_MAX))
    assert len(unseal(KEY, TOPIC, headers, sealed)[1]) == VALUE_BYTES_MAX
