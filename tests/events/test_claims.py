"""What a refused record claims to be: names and numbers of the right form, and never other bytes of it."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from streams.events.claims import Claim, claimed
from streams.events.headers import envelope
from streams.events.record import StoredRecord
from streams.events.runs import Run
from streams.policy.step import MALFORMED, Cause, Reject
from tests import build

SECRET = "the-words-of-somebody"
WHOLE = Claim("g1", "imu-right", Run(40, 1, 20))


def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    fields = orjson.loads(build.record(build.batch(first=40), 0).value or b"")
    change(fields)
    return orjson.dumps(fields)


def record(**parts: Any) -> StoredRecord:
    return build.record(build.batch(first=40), 7, **parts)


CLAIMS: dict[str, tuple[dict[str, Any], Claim]] = {
    "a column of another type": ({"value": changed(lambda fields: fields["columns"].clear())}, WHOLE),
    "no JSON": ({"value": b'{"stream": "' + SECRET.encode()}, WHOLE),
    "no value": ({"value": None}, WHOLE),
    "no JSON and no headers": ({"value": b"\xff", "headers": ()}, Claim("g1")),
    "another device in the value": (
        {"value": changed(lambda fields: fields.update(device_id="g2")), "headers": ()},
        Claim("g1"),
    ),
    "another device in the headers": (
        {"value": b"\xff", "headers": tuple(envelope(build.batch(source="g2")))},
        Claim("g1"),
    ),
    "a key that is no name": ({"key": b"G 1"}, Claim()),
    "no key": ({"key": None}, Claim()),
    "a stream that is no name": (
        {"value": changed(lambda fields: fields.update(stream=SECRET + " !")), "headers": ()},
        Claim("g1"),
    ),
    "numbers out of range": (
        {"value": changed(lambda fields: fields.update(first=2**63 - 1)), "headers": ()},
        Claim("g1", "imu-right"),
    ),
    "a count out of range": (
        {"value": changed(lambda fields: fields.update(n=10**9)), "headers": ()},
        Claim("g1", "imu-right"),
    ),
    "a flag for a number": (
        {"value": changed(lambda fields: fields.update(n=True)), "headers": ()},
        Claim("g1", "imu-right"),
    ),
    "a corrected event": (
        {"value": b"", "headers": (("ce_id", b"g1/imu-right/40.1"), ("sightline-run", b"40 1 20"))},
        Claim("g1"),
    ),
    "headers that disagree": (
        {"value": b"", "headers": (("ce_id", b"g1/imu-right/40"), ("sightline-run", b"41 1 20"))},
        Claim("g1", "imu-right"),
    ),
    "a header without a value": ({"value": b"", "headers": (("ce_id", None),)}, Claim("g1")),
    "a number that is too long": (
        {"value": b"", "headers": (("ce_id", b"g1/imu-right/40"), ("sightline-run", b"40 1 " + b"9" * 5000))},
        Claim("g1", "imu-right"),
    ),
}


@pytest.mark.parametrize("what", CLAIMS)
def test_a_record_claims_what_has_the_form_of_a_name_or_number(what: str) -> None:
    parts, claim = CLAIMS[what]
    assert claimed(record(**parts)) == claim
    refused = Reject.malformed(record(**parts), Cause("zones", MALFORMED, "value: wrong"), 5)
    assert (refused.source, refused.stream, refused.run, refused.wearer) == (*claim, "")


def test_no_bytes_of_a_record_but_names_and_numbers_are_claimed() -> None:
    draw = random.Random(20261128)
    print("seed 20261128")  # noqa: T201  shown when it fails
    whole = record()
    name = re.compile(r"[a-z0-9][a-z0-9-]{0,62}(~[0-9]{1,6})?")
    for _ in range(3000):
        value = bytearray(whole.value or b"")
        for _ in range(draw.randint(1, 4)):
            value[draw.randrange(len(value))] = draw.randrange(256)
        headers = tuple(
            (key, bytes(draw.randrange(256) for _ in content) if draw.random() < 0.2 else content)
            for key, content in whole.headers
        )
        claim = claimed(record(value=bytes(value), headers=headers))
        assert claim.source == "g1"
        assert not claim.stream or name.fullmatch(claim.stream)
        assert claim.run is None or (claim.stream and claim.run.step == 1 and claim.run.count <= 4096)
