"""Packed columns: what goes in comes out, and whatever else comes in leaves as MalformedError."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import msgpack
from msgspec.structs import replace

from streams.errors import InputError, MalformedError
from streams.events.batch import MESSAGEPACK, Batch
from streams.events.codec import column, encode
from streams.events.kinds import Kind
from streams.events.packed import Packed
from streams.events.shipped import SHIPPED
from streams.limits import EVENTS_PER_BATCH_MAX, VALUE_BYTES_MAX
from tests import build
from tests.events.test_codec import batches

CAPTURED = [kind for kind in SHIPPED.values() if kind.captured]
#: How Python's own library reads and writes the types, a value at a time.
FORMATS = {"f4": "<f", "f8": "<d", "i4": "<i", "i8": "<q"}
DEEP = b"\x91" * 20_000


def decode(value: bytes | None) -> Batch:
    return build.CODEC.decode(value, 7, content_type=MESSAGEPACK)


def fits(kind: Kind, name: str, value: Any) -> Any:
    """The value as a column can hold it, by Python's own library."""
    held = kind.wire.get(name)
    if held is None or value is None:
        return value
    if held.startswith("i"):
        return int(value) % 2**31
    try:
        return struct.unpack(FORMATS[held], struct.pack(FORMATS[held], value))[0]
    except OverflowError:
        return 0.0


@st.composite
def fitting(draw: st.DrawFn) -> Batch:
    """A batch of any kind whose numbers are such as the types of its columns hold."""
    made = draw(batches())
    kind = SHIPPED[made.kind]
    return replace(
        made,
        columns={
            name: [fits(kind, name, value) for value in values] for name, values in made.columns.items()
        },
    )


def fields_of(made: Batch) -> dict[str, Any]:
    """A batch's fields as a stranger's library reads them: maps, arrays, bytes."""
    fields: dict[str, Any] = msgpack.decode(encode(build.CODEC.packed(made)))
    return fields


@given(fitting())
@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=50)
def test_round_trip(made: Batch) -> None:
    sent = build.CODEC.packed(made)
    read = decode(encode(sent))
    assert isinstance(read.columns, Packed)
    assert read == replace(made, position=7)
    assert encode(read) == encode(sent)
    as_json = build.CODEC.decode(encode(made), 7)
    assert {name: list(values) for name, values in read.columns.items()} == as_json.columns


@given(fitting())
@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=50)
def test_a_column_of_numbers_is_its_values_end_to_end(made: Batch) -> None:
    kind, columns = SHIPPED[made.kind], fields_of(made)["columns"]
    for name, held in kind.wire.items():
        data, mask = columns[name], b""
        if kind.columns[name].endswith("?"):
            mask, data = data
            bits = [bool(mask[i // 8] & 1 << i % 8) for i in range(made.run.count)]
            assert bits == [value is not None for value in made.columns[name]]
        expected = b"".join(
            struct.pack(FORMATS[held], 0 if value is None else value) for value in made.columns[name]
        )
        assert data == expected, name
    for name, wanted in kind.columns.items():
        if wanted == "flag":
            assert columns[name] == bytes(made.columns[name])


@given(st.lists(st.sampled_from(["json", "packed"]), min_size=1, max_size=4), st.integers(1, 19))
def test_columns_of_both_encodings_are_one_array(sent: list[str], blink: int) -> None:
    gaze: dict[str, list[Any]] = {
        "yaw_rad": [None if i % blink == 0 else i / 8 for i in range(20)],
        "worn": [True, False] * 10,
    }
    made = build.batch("gaze", columns=gaze)
    of = [build.CODEC.packed(made) if one == "packed" else made for one in sent]
    expected = [np.nan if value is None else value for value in gaze["yaw_rad"]] * len(sent)
    np.testing.assert_array_equal(column(of, "yaw_rad"), expected)
    np.testing.assert_array_equal(column(of, "worn"), gaze["worn"] * len(sent))


@given(fitting(), st.data())
@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=50)
def test_a_part_is_packed_as_a_batch_of_its_events_is(made: Batch, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, made.run.count - 1))
    end = data.draw(st.integers(start + 1, made.run.count))
    part = build.CODEC.packed(made).part(start, end, made.context)
    assert encode(part) == encode(build.CODEC.packed(made.part(start, end, made.context)))
    assert replace(decode(encode(part, split_from="0" * 32)), position=0) == part


@given(fitting(), st.data())
@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=150)
def test_other_bytes_are_malformed_or_the_one_form_of_a_batch(made: Batch, data: st.DataObject) -> None:
    sent = bytearray(encode(build.CODEC.packed(made)))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(sent) - 1))
        cut = data.draw(st.integers(0, 2))
        sent[at : at + cut] = data.draw(st.binary(max_size=2))
        if not sent:
            break
    value = bytes(sent)
    plain = build.CODEC._packed._plain(value, 7, 0)
    try:
        read = build.CODEC._packed._looked_at(value, 7, 0)
    except MalformedError as error:
        assert plain is None, "the quick reader takes nothing that the explicit one refuses"
        assert str(error).isascii()
        return
    assert plain is None or plain == read
    # What was taken has one form: written again it is as long, whichever order its fields came in.
    split = {"split_from": msgpack.decode(value)["split_from"]} if b"split_from" in value else {}
    if "dt_ns" not in msgpack.decode(value) or read.t_ns is None:
        assert len(encode(read, **split)) <= len(value)


@given(st.binary(max_size=200))
def test_any_bytes_are_malformed_at_worst(value: bytes) -> None:
    with pytest.raises(MalformedError):
        decode(value)


def imu(**changes: Any) -> bytes:
    """A packed batch of three IMU samples, with other fields."""
    return msgpack.encode({**fields_of(build.batch(count=3)), **changes})


def of_column(kind: str, name: str, content: Any) -> bytes:
    """A packed batch of three events in which one column holds something else."""
    fields = fields_of(build.batch(kind, count=3))
    return msgpack.encode({**fields, "columns": {**fields["columns"], name: content}})


def floats(*values: float, form: str = "<f") -> bytes:
    return b"".join(struct.pack(form, value) for value in values)


def short(value: bytes) -> bytes:
    return value[:-1]


def sentences() -> Sequence[tuple[str, bytes | None, str]]:
    x, nan, inf = "accel_x_mps2", float("nan"), float("inf")
    path, good, packed = rf"columns\.{x}", imu(), build.CODEC.packed(build.batch(count=3))
    eight, wide = b"\x01\x00", floats(0, 0, 0)
    number, wider = (msgpack.encode("first") + end for end in (b"\x00", b"\xcf" + bytes(8)))
    unreadable = of_column("gesture", "side", ["x", "qq", "x"]).replace(b"\xa2qq", b"\xa2\xff\xfe")
    return [
        ("nothing", None, r"value: found no value, expected at most \d+ bytes of MessagePack"),
        ("too long", bytes(VALUE_BYTES_MAX + 1), r"value: found \d+ bytes, expected at most"),
        ("JSON", encode(build.batch()), "value: found bytes that are not MessagePack"),
        ("an array", msgpack.encode([1]), "value: found bytes that are not MessagePack, expected one map"),
        ("a byte behind", good + b"\x00", "value: found bytes that are not MessagePack"),
        ("a byte less", short(good), "value: found bytes that are not MessagePack"),
        ("a bomb", DEEP, "value: found (objects too deep|bytes that are not MessagePack)"),
        ("a bomb in a field", imu(v=0).replace(b"\xa1v\0", b"\xa1v" + DEEP + b"\1"), "found objects too"),
        ("a bomb in the context", imu(context=[[[]]]), "context: found another form of MessagePack"),
        ("a map of arrays", imu(context={"place": [[]] * 9}), "context: found another form of MessagePack"),
        ("a field of another name", imu(more=1), "value: found a field of another name, expected clock, "),
        ("a field twice", bytes([good[0] + 1]) + number + good[1:], "value: found a field twice"),
        ("another column", good.replace(b"accel_x", b"accel_q"), "columns: found other names than the 6 of"),
        ("no shortest number", good.replace(number, wider), "or one in more bytes than it needs"),
        ("no shortest text", good.replace(b"\xa1v", b"\xd9\x01v"), "or one in more bytes than it needs"),
        ("an extension", imu(n=msgpack.Ext(5, b"x")), "n: found another form of MessagePack"),
        ("a time as extension", good.replace(number, number[:-1] + b"\xd6\xff\0\0\0\0"), "first: found an"),
        ("a float for a number", imu(first=0.0), "first: found float, expected an integer"),
        ("a huge count", imu(n=2**40), f"n: .* out of range, .* from 1 to {EVENTS_PER_BATCH_MAX}"),
        ("a count of more", imu(n=4), rf"{path}: found 12 bytes, expected 16, 4 for each of n = 4"),
        ("none", imu(n=0), "n: found a number out of range"),
        ("an array of numbers", of_column("imu", x, [0.0, 0.0, 0.0]), rf"{path}: found another form"),
        ("a text", of_column("imu", x, "0" * 12), rf"{path}: found another form of MessagePack"),
        ("a byte too few", of_column("imu", x, bytes(11)), rf"{path}: found 11 bytes, expected 12"),
        ("wider floats", of_column("imu", x, floats(0, 0, 0, form="<d")), rf"{path}: found 24 bytes"),
        ("not a number", of_column("imu", x, floats(0, nan, 0)), rf"{path}: found a value out of bounds"),
        ("infinite", of_column("imu", x, floats(0, 0, -inf)), rf"{path}: found a value out of bounds"),
        ("too large", of_column("env", "pressure_pa", floats(1, 2e50, 1, form="<d")), "out of bounds"),
        ("no place on Earth", of_column("location", "latitude_deg", floats(0, 91, 0, form="<d")), "to 90"),
        (
            "big-endian",
            of_column("location", "latitude_deg", floats(45.1, 45.2, 45.3, form=">d")),
            r"columns\.latitude_deg: found a value out of bounds, expected -90 to 90",
        ),
        ("no flag", of_column("gaze", "worn", b"\0\1\2"), r"columns\.worn: found a byte that is no flag"),
        ("no mask", of_column("gaze", "yaw_rad", wide), r"columns\.yaw_rad: found no pair, expected a mask"),
        ("a mask alone", of_column("gaze", "yaw_rad", [b"\7"]), r"columns\.yaw_rad: found no pair"),
        ("a mask where none is", of_column("imu", x, [b"\7", wide]), rf"{path}: found list, expected bytes"),
        ("a long mask", of_column("gaze", "yaw_rad", [eight, wide]), "found a mask of 2 bytes, expected 1"),
        ("an empty mask", of_column("gaze", "yaw_rad", [b"", wide]), "found a mask of 0 bytes, expected 1"),
        ("a bit behind", of_column("gaze", "yaw_rad", [b"\x0f", wide]), "a mask that disagrees with its"),
        ("more than masked", of_column("gaze", "yaw_rad", [b"\x05", floats(1, 1, 1)]), "zeros where it has"),
        ("minus nought", of_column("gaze", "yaw_rad", [b"\x05", floats(1, -0.0, 1)]), "zeros where it has"),
        ("a masked NaN", of_column("gaze", "yaw_rad", [b"\x05", floats(1, nan, 1)]), "zeros where it has"),
        ("texts as bytes", of_column("gesture", "side", bytes(3)), r"side: found another form"),
        ("a text too few", of_column("gesture", "side", ["x"] * 2), r"side: found 2 values"),
        ("no text", of_column("gesture", "side", ["x", None, "x"]), r"side: found a value of an"),
        ("a sentence", of_column("gesture", "side", ["x", "so I said", "x"]), r"side: found a text"),
        ("no UTF-8", unreadable, r"side: found another form of MessagePack"),
        ("no column", imu(columns={}), "columns: found other names than the 6 of kind imu"),
        ("times of another length", imu(t_ns=bytes(16)), "t_ns: found 16 bytes, expected 24 bytes"),
        ("times as an array", imu(t_ns=[1, 2, 3]), "t_ns: found another form of MessagePack, expected bytes"),
        ("a time before 1970", imu(t_ns=struct.pack("<qqq", 1, -1, 2)), "t_ns: found a value that is no"),
        ("a time for ever", imu(t_ns=struct.pack("<qqq", 1, 2**63 - 1, 2)), "t_ns: found a value that is no"),
        ("no digest", imu(split_from="A word"), "split_from: found no digest"),
        ("a word of the context", imu(context_changes=[{"at": 9}]), "context_changes: `at` must be an index"),
        ("one of ours", encode(replace(packed, kind="activity")), "kind: found one that is not known here"),
    ]  # fmt: skip


@pytest.mark.parametrize(("value", "sentence"), [pytest.param(v, s, id=name) for name, v, s in sentences()])
def test_message_names_field_found_expected(value: bytes | None, sentence: str) -> None:
    with pytest.raises(MalformedError, match=sentence):
        decode(value)


def test_the_map_of_columns_holds_each_once() -> None:
    sent = imu()
    again = msgpack.encode("accel_x_mps2") + msgpack.encode(floats(9, 9, 9))
    at = sent.index(b"\x86", sent.index(msgpack.encode("columns")))
    with pytest.raises(MalformedError, match="value: found a field twice"):
        decode(sent[:at] + b"\x87" + again + sent[at + 1 :])


def test_fields_in_another_order_are_the_same_batch() -> None:
    fields = fields_of(build.batch(count=3))
    assert decode(msgpack.encode(dict(reversed(fields.items())))) == decode(msgpack.encode(fields))


@pytest.mark.parametrize(
    ("kind", "columns", "name"),
    [
        ("imu", {"gyro_x_radps": [1e39]}, "gyro_x_radps: found a number that its type f4 cannot hold"),
        ("camera_frame", {"width_px": [1.5]}, "width_px: found a number that its type i4 cannot hold"),
        ("camera_frame", {"width_px": [2**31]}, "width_px: found a number that its type i4 cannot hold"),
        ("camera_frame", {"size_bytes": [2**70]}, "size_bytes: found a number that its type i8 cannot hold"),
    ],
)
def test_a_number_that_does_not_fit_is_not_sent(kind: str, columns: Mapping[str, Any], name: str) -> None:
    with pytest.raises(InputError, match=rf"columns\.{name}"):
        build.CODEC.packed(build.batch(kind, count=1, columns=columns))


@pytest.mark.parametrize("wire", [{"a": "f2"}, {"b": "f4"}, {"c": "f4"}])
def test_a_kind_names_no_type_that_no_column_can_have(wire: Mapping[str, Any]) -> None:
    with pytest.raises(InputError, match=r"kind k, column .: found .* for its packed form, expected one"):
        Kind("k", True, {"a": "number", "b": "flag"}, wire)


def test_value_bytes_of_float_columns_are_four_each() -> None:
    for count in (20, 160):
        sent = encode(build.CODEC.packed(build.batch(count=count)))
        assert len(sent) - 6 * 4 * count < 350
