"""Hostile packed records in front of the core: each is rejected in its place, every good one passes.

They stand among good ones of both encodings, and no word of theirs is quoted.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import msgpack

from streams.events.batch import JSON
from streams.events.codec import encode
from streams.events.headers import CONTENT_TYPE
from streams.events.packed import Packed
from streams.events.record import Fetch, StoredRecord
from streams.topology import CAPTURED, REJECTED
from tests import build
from tests.hostile import records as hostile
from tests.hostile import spoil
from tests.hostile.records import Hostile
from tests.hostile.spoil import Spoil
from tests.hostile.test_cores import CORE, KINDS_OF_GOOD, arrived, check, run_captured

#: A word of a wearer, which nobody may quote.
SECRET = "her-secret-word"
MORE = st.binary(min_size=1, max_size=9)
BIG_ENDIAN = struct.pack(">4q", 1, 2, 3, 4)
NO_NUMBERS = (float("nan"), float("inf"), float("-inf"))


def good(kind: str, number: int, *, source: str = "h1", count: int = 4) -> StoredRecord:
    """A packed record that passes: the good one of a hostile pair."""
    made = build.CODEC.decode(hostile.good(kind, number, source=source, count=count).value, 0)
    return build.record(build.CODEC.packed(made), 0)


def goods() -> st.SearchStrategy[StoredRecord]:
    kinds = [*KINDS_OF_GOOD, "camera_frame", "device_state", "feedback", "pose"]
    return st.sampled_from(kinds).map(lambda kind: good(kind, 10**6))


def changed(change: Callable[[st.DrawFn, dict[str, Any]], object]) -> Spoil:
    def spoiled(draw: st.DrawFn, record: StoredRecord) -> StoredRecord:
        fields = msgpack.decode(record.value or b"")
        change(draw, fields)
        return replace(record, value=msgpack.encode(fields))

    return spoiled


def column(draw: st.DrawFn, fields: dict[str, Any]) -> tuple[str, Any]:
    name = draw(st.sampled_from(sorted(fields["columns"])))
    return name, fields["columns"][name]


def length(draw: st.DrawFn, fields: dict[str, Any]) -> None:
    name, content = column(draw, fields)
    other = draw(
        st.sampled_from([lambda of: of[:-1], lambda of: of + of[:1], lambda of: of[:0], lambda of: of * 99])
    )
    masked = type(content) is list and type(content[0]) is bytes
    fields["columns"][name] = [content[0], other(content[1])] if masked else other(content)


def no_number(draw: st.DrawFn, fields: dict[str, Any]) -> None:
    size = {"imu": 4, "gaze": 4, "audio_level": 4, "location": 8}.get(fields["kind"])
    if size is None:
        fields["columns"] = dict.fromkeys(
            fields["columns"], [draw(st.sampled_from(NO_NUMBERS))] * fields["n"]
        )
        return
    name = next(iter(fields["columns"]))
    wrong = struct.pack("<f" if size == 4 else "<d", draw(st.sampled_from(NO_NUMBERS)))
    content = fields["columns"][name]
    if type(content) is list:
        fields["columns"][name] = [content[0][:0] + b"\x0f", wrong + content[1][size:]]
    else:
        fields["columns"][name] = wrong + content[size:]


def mask(draw: st.DrawFn, fields: dict[str, Any]) -> None:
    name, content = column(draw, fields)
    if type(content) is list and type(content[0]) is bytes:
        masks = [b"", b"\xff", b"\x1f", b"\x0f\0", b"\x0f" * 4097]
        fields["columns"][name] = [draw(st.sampled_from(masks)), content[1]]
    else:
        fields["columns"][name] = [b"\x0f", content]


def words(draw: st.DrawFn, fields: dict[str, Any]) -> None:
    fields["columns"] = dict.fromkeys(
        fields["columns"], draw(st.sampled_from([SECRET, [SECRET], {SECRET: SECRET}]))
    )


def wrong(name: str, *values: Any) -> Spoil:
    return changed(lambda draw, fields: fields.update({name: draw(st.sampled_from(values))}))


def inside(draw: st.DrawFn, record: StoredRecord) -> StoredRecord:
    """A bomb in the place of a field."""
    opening = draw(
        st.sampled_from(
            [b"\x91", b"\xdd\xff\xff\xff\xff", b"\x81\xa1a", b"\xc6\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff"]
        )
    )
    value, depth = record.value or b"", draw(st.sampled_from([1, 600, 20_000]))
    name = draw(st.sampled_from([b"\xa1v", b"\xa7context", b"\xa7columns", b"\xa6origin"]))
    at = value.index(name) + len(name)
    return replace(record, value=value[:at] + opening * depth + b"\x01" + value[at + 1 :])


def again(draw: st.DrawFn, record: StoredRecord) -> StoredRecord:
    """A field twice: the first, or the last, is what another reader takes."""
    value = record.value or b""
    name, other = draw(
        st.sampled_from([("v", 1), ("n", 4), ("device_id", "h9"), ("first", 10**6), ("columns", {})])
    )
    pair = msgpack.encode(name) + msgpack.encode(other)
    begin = 1 if value[0] < 0xDE else 3
    count = value[0] - 0x80 + 1 if begin == 1 else struct.unpack(">H", value[1:3])[0] + 1
    head = bytes([0x80 + count]) if count < 16 else b"\xde" + struct.pack(">H", count)
    body = [pair, value[begin:]] if draw(st.booleans()) else [value[begin:], pair]
    return replace(record, value=head + b"".join(body))


def header(*values: bytes) -> Spoil:
    return spoil.spoil_headers(
        lambda draw, headers: headers.update({CONTENT_TYPE: draw(st.sampled_from(values))})
    )


def rewritten(draw: st.DrawFn, record: StoredRecord) -> StoredRecord:
    """JSON under the header of MessagePack."""
    del draw
    made = build.CODEC.decode(record.value, 0, content_type=b"application/vnd.msgpack")
    assert isinstance(made.columns, Packed)
    as_json = {name: list(values) for name, values in made.columns.items()}
    return replace(record, value=encode(build.batch(made.kind, None, 10**6, 4, source="h1", columns=as_json)))


WAYS: Mapping[str, Spoil] = {
    "truncated": spoil.truncated,
    "random bytes": lambda draw, record: replace(record, value=draw(st.binary(max_size=400))),
    "no value": lambda draw, record: replace(record, value=None),
    "too large": spoil.large,
    "more behind": lambda draw, record: replace(record, value=(record.value or b"") + draw(MORE)),
    "no length of a column": changed(length),
    "no number": changed(no_number),
    "no mask": changed(mask),
    "words for columns": changed(words),
    "a word for a field": wrong("first", SECRET, [SECRET], -1, 2**63, 2**64 - 1, 1.5, None, True),
    "no count": wrong("n", 0, 3, 5, 4096, 4097, 2**63, -1, 4.0, "4", None, True),
    "no version": wrong("v", 0, 2, "1", None, True, 1.0),
    "no kind": wrong("kind", "activity", "answer", SECRET, None, 1),
    "no times": wrong("t_ns", bytes(31), bytes(40), b"\xff" * 32, BIG_ENDIAN, [1, 2, 3, 4]),
    "another field": wrong(SECRET, 1, None, SECRET),
    "an extension": wrong("origin", msgpack.Ext(1, SECRET.encode()), msgpack.Ext(-1, bytes(8))),
    "no context": wrong("context", None, {}, [], {SECRET: SECRET}, {"place": [[[[]]]]}),
    "a bomb": inside,
    "a field twice": again,
    "another header": header(JSON, b"", b"text/plain", b"application/msgpack", b"application/vnd.msgpack;v"),
    "no header": spoil.spoil_headers(lambda _, headers: headers.pop(CONTENT_TYPE)),
    "JSON": rewritten,
}  # fmt: skip


@given(
    st.lists(hostile.spoiled(goods(), WAYS), min_size=1, max_size=12),
    st.randoms(use_true_random=False),
)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_each_hostile_record_is_rejected_and_its_neighbours_pass(
    found: list[Hostile], shuffled: random.Random
) -> None:
    kinds = [kind for kind in KINDS_OF_GOOD if kind != "voice_query"]
    mixed: list[Hostile | StoredRecord] = [
        make(kind, 4 * turn) for kind in kinds for turn, make in enumerate((good, hostile.good, good))
    ]
    for one in found:
        mixed.insert(shuffled.randint(0, len(mixed)), one)
    run_captured(mixed, build.begun())


def test_what_is_said_of_each_quotes_nothing() -> None:
    found = hostile.drawn(goods(), WAYS, 4 * len(WAYS), 7)
    assert {one.way for one in found} == set(WAYS)
    records = [arrived(one.record, offset) for offset, one in enumerate(found)]
    written = build.step(CORE, build.begun(), Fetch(CAPTURED, 0, records)).outputs
    check(written, dict(enumerate(found)), CAPTURED)
    for record in written:
        assert all(SECRET.encode() not in value for _, value in record.headers)
        assert record.topic == REJECTED or SECRET.encode() not in (record.value or b"")
