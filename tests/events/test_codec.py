"""The value of a record: what goes in comes out, and whatever else comes in leaves as MalformedError."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from streams.errors import MalformedError
from streams.events import check
from streams.events.batch import Batch
from streams.events.codec import encode
from streams.events.kinds import RANGES, TOKEN, text_form
from streams.events.runs import Run
from streams.events.shipped import SHIPPED
from streams.limits import REVISION_MAX
from tests import build

NUMBERS = st.floats(allow_nan=False, allow_infinity=False, width=32) | st.integers(-(2**40), 2**40)
#: Words that an ASCII-only reader takes, and those that only the explicit one reads.
SAID = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=20) | st.text("ab c'.", max_size=9)
TOKENS = st.from_regex(TOKEN.pattern, fullmatch=True).filter(TOKEN.takes)


def values(wanted: str, name: str = "") -> st.SearchStrategy[Any]:
    """Right values of a column of type `wanted`."""
    form = text_form(wanted)
    if name in RANGES:
        return st.floats(*RANGES[name]) | st.integers(*map(int, RANGES[name]))
    if wanted.endswith("?"):
        return values(wanted.rstrip("?")) | st.none()
    if form is None:
        return {"number": NUMBERS, "flag": st.booleans()}[wanted]
    if form.words:
        return st.sampled_from(form.words)
    return {"text": SAID, "token": TOKENS, "tokens": st.lists(TOKENS, max_size=3).map(" ".join)}[wanted]


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    kind = draw(st.sampled_from([kind for kind in SHIPPED.values() if kind.captured]))
    count = draw(st.integers(1, 8))
    columns = {
        name: draw(st.lists(values(wanted, name), min_size=count, max_size=count))
        for name, wanted in kind.columns.items()
    }
    at = draw(st.integers(1, count - 1)) if count > 1 else 0
    changes = (
        ((at, build.context(place="street", consent=draw(st.integers(0, 9)))),)
        if at and draw(st.booleans())
        else ()
    )
    made = build.batch(
        kind.name,
        None,
        draw(st.integers(0, 2**40)),
        count,
        columns=columns,
        changes=changes,
        t0_ns=build.T0_NS,
    )
    if draw(st.booleans()):
        made = replace(made, dt_ns=0, t_ns=[build.T0_NS + i * i for i in range(count)])
    return made


@given(batches())
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_round_trip(made: Batch) -> None:
    read = build.CODEC.decode(encode(made), 7)
    assert read == replace(made, position=7)


@given(st.integers(0, REVISION_MAX))
def test_a_derived_batch_says_its_revision_and_a_captured_one_has_none(revision: int) -> None:
    made = replace(build.batch("place", count=1), revision=revision)
    assert build.CODEC.decode(encode(made), 0, captured=False) == made
    assert (b"revision" in encode(made)) == (revision > 0)
    captured = encode(replace(build.batch(), revision=revision))
    if revision:
        with pytest.raises(MalformedError, match="revision: only what is derived is corrected"):
            build.CODEC.decode(captured, 0)


@pytest.mark.parametrize("name", RANGES)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_what_is_no_place_on_earth_is_refused(name: str, value: float) -> None:
    columns = {"latitude_deg": [45.0], "longitude_deg": [13.0], "altitude_m": [0.0], name: [value]}
    sent = encode(build.batch("location", None, 0, 1, columns=columns))
    if RANGES[name][0] <= value <= RANGES[name][1]:
        assert build.CODEC.decode(sent, 0).columns[name] == [value]
    else:
        with pytest.raises(MalformedError, match=rf"columns\.{name}: .*expected -[0-9]+ to [0-9]+"):
            build.CODEC.decode(sent, 0)


@given(batches(), st.data())
def test_parts_hold_all_events_once(made: Batch, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, made.run.count))
    parts = [
        made.part(start, end, made.context) for start, end in ((0, at), (at, made.run.count)) if start < end
    ]
    assert [number for part in parts for number in part.run] == list(made.run)
    assert [part.time_ns(i) for part in parts for i in range(part.run.count)] == [
        made.time_ns(i) for i in range(made.run.count)
    ]
    for name, values in made.columns.items():
        assert [value for part in parts for value in part.columns[name]] == list(values)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(st.binary(max_size=200) | JSON.map(orjson.dumps))
def test_any_bytes_are_malformed_at_worst(value: bytes) -> None:
    with pytest.raises(MalformedError):
        build.CODEC.decode(value, 0)


@given(
    batches(),
    st.sampled_from(
        [
            "v",
            "kind",
            "device_id",
            "wearer_id",
            "session_id",
            "stream",
            "first",
            "n",
            "t0_ns",
            "clock",
            "origin",
            "context",
            "columns",
        ]
    ),
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.text(max_size=3)
    | st.lists(st.integers(-(2**60), 2**60), max_size=2),
)
def test_any_wrong_field_is_malformed_or_still_a_batch(made: Batch, name: str, wrong: Any) -> None:
    fields = orjson.loads(encode(made))
    fields[name] = wrong
    try:
        read = build.CODEC.decode(orjson.dumps(fields), 0)
    except MalformedError as error:
        assert str(error)
    else:
        assert isinstance(read.run, Run)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": 19}, r"columns\.accel_x_mps2: found 20 values, expected a list of n = 19"),
        ({"n": 0}, "n: found a number out of range"),
        ({"kind": "thoughts"}, "kind: .*expected one of imu, gaze"),
        ({"kind": "activity"}, "kind: .*expected one of imu"),
        ({"stream": "IMU"}, "stream: .*imu-right~2"),
        ({"first": -1}, "first: .*expected an integer from 0"),
        ({"v": 2}, "v: .*expected 1"),
        ({"step": 2}, "step: a captured batch has consecutive numbers"),
        ({"context": {"place": "home"}}, "context: found other fields"),
        ({"context_changes": [{"at": 25, "place": "home"}]}, "context_changes: `at` must be an index inside"),
        ({"t_ns": [1, 2]}, "t_ns: found another length"),
        ({"split_from": "A word"}, "split_from: found no digest"),
        ({"faces": ["a face"]}, "value: found a field of another name, expected clock, columns"),
        ({"stamp_ns": 1}, "value: found a field of another name, expected clock, columns"),
    ],
)
def test_message_names_field_found_expected(change: dict[str, Any], message: str) -> None:
    fields = orjson.loads(encode(build.batch()))
    fields.update(change)
    with pytest.raises(MalformedError, match=message):
        build.CODEC.decode(orjson.dumps(fields), 0)


def test_context_word_that_is_not_known() -> None:
    fields = orjson.loads(encode(build.batch()))
    fields["context"]["place"] = "moon"
    with pytest.raises(MalformedError, match=r"context\.place: .*expected one of cafe, clinic, home"):
        build.CODEC.decode(orjson.dumps(fields), 0)


@pytest.mark.parametrize("wrong", ["1.0", None, [1.0], True, {"a": 1}])
def test_a_value_of_another_type_is_found(wrong: Any) -> None:
    with pytest.raises(
        MalformedError, match=r"columns\.gyro_x_radps: found a value of another type, expected number"
    ):
        build.CODEC.decode(encode(build.batch(first=20, columns={"gyro_x_radps": [0.0] * 19 + [wrong]})), 0)


def test_text_where_number_stands_is_found() -> None:
    with pytest.raises(MalformedError, match=r"columns\.text: .*expected text"):
        build.CODEC.decode(encode(build.batch("voice_query", None, 1, 1, columns={"text": [3]})), 0)


WRONG = (
    st.none()
    | st.booleans()
    | st.sampled_from(
        [
            0,
            -1,
            1,
            1.0,
            2**62,
            2**62 - 1,
            2**63,
            2**64,
            10**30,
            1e300,
            -0.0,
            "",
            "g1",
            "moon",
            "home",
            "imu",
            [],
            {},
            [1],
            "A b",
            "x" * 100,
            "x" * 101,
            "x" * 1001,
            "ended",
            "x y",
            "x ",
            "x\n",
            "\x7f",
            "-x",
            "imu-right~1",
            "imu-right~2",
        ]
    )
    | st.integers()
    | st.text(max_size=3)
    | st.text("aZ9:._/~+- \x7f", max_size=5)
)


@given(
    batches(),
    st.lists(
        st.tuples(
            st.sampled_from(["field", "context", "column", "value", "drop", "add"]), st.integers(0, 20), WRONG
        ),
        max_size=2,
    ),
    st.booleans(),
)
@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=400)
def test_the_compiled_decoder_takes_nothing_that_the_explicit_one_refuses_or_reads_otherwise(
    made: Batch, breaks: list[tuple[str, int, Any]], spaced: bool
) -> None:
    fields = orjson.loads(encode(made))
    for where, at, wrong in breaks:
        _break(fields, where, at, wrong)
    try:
        value = orjson.dumps(fields, option=orjson.OPT_INDENT_2 if spaced else 0)
    except TypeError:  # a number of more than 64 bits
        value = json.dumps(fields).encode()
    compiled = build.CODEC.decode_plain(value, 3, 0)
    if compiled is not None:
        explicit = check.decode(value, 3, 0, SHIPPED, captured=True)
        assert explicit == compiled
        assert encode(explicit) == encode(compiled)


def _break(fields: dict[str, Any], where: str, at: int, wrong: Any) -> None:
    inside = (
        fields
        if where in {"field", "drop", "add"}
        else fields.get("context" if where == "context" else "columns")
    )
    if not isinstance(inside, dict) or not inside:
        return
    name = sorted(inside)[at % len(inside)]
    if where == "drop":
        del inside[name]
    elif where == "add":
        inside["more"] = wrong
    elif where == "value" and isinstance(inside[name], list) and inside[name]:
        inside[name][at % len(inside[name])] = wrong
    else:
        inside[name] = wrong


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'"kind":"imu"', b'"kind":"imu","kind":"gaze"'),
        (b'"kind":"imu"', b'"kind":"gaze","kind":"imu"'),
        (b'"first":0', b'"first":0,"first":20'),
        (b'"place":"home"', b'"place":"home","place":"clinic"'),
        (b'"device_id":"g1"', b'"device_id":"g2","device_id":"g1"'),
        (b'"kind":"imu"', b'"kind":"imu","\\u006bind":"gaze"'),
        (b"[0.0,", b"[-0,"),
        (b"[0.0,", b"[01,"),
        (b"[0.0,", b"[1.,"),
        (b"[0.0,", b"[1e999,"),
        (b"[0.0,", b"[NaN,"),
        (b"[0.0,", b"[Infinity,"),
        (b"[0.0,", b"[0.0,,"),
        (b"}}", b"}}x"),
        (b"}}", b"}} \n"),
        (b'"g1"', b'"g1\n"'),
        (b'"g1"', b'"g\xff"'),
        (b'"g1"', b'"g\xc3\xa9"'),
        (b'{"v"', b'\xef\xbb\xbf{"v"'),
        (b'{"v"', b'/**/{"v"'),
        (b"[0.0,", b"[0x10,"),
        (b"[0.0,", b"[+1,"),
        (b"[0.0,", b"[.5,"),
    ],
)
def test_json_that_readers_may_take_differently_is_read_as_the_explicit_reader_does(
    before: bytes, after: bytes
) -> None:
    value = encode(build.batch())
    assert before in value
    value = value.replace(before, after, 1)
    compiled = build.CODEC.decode_plain(value, 0, 0)
    assert compiled is None or compiled == check.decode(value, 0, 0, SHIPPED, captured=True)


def test_a_run_or_a_time_beyond_64_bits_is_malformed() -> None:
    for wrong in ({"first": 2**62}, {"dt_ns": 2**61}):
        with pytest.raises(MalformedError, match="out of range"):
            build.CODEC.decode(orjson.dumps({**orjson.loads(encode(build.batch())), **wrong}), 0)


def test_messages_hold_no_values() -> None:
    fields = orjson.loads(encode(build.query(0, "my secret words", build.T0_NS)))
    for name in list(fields):
        for wrong in ("my secret words", ["my secret words"]):
            try:
                build.CODEC.decode(orjson.dumps({**fields, name: wrong}), 0)
            except MalformedError as error:
                assert "secret" not in str(error)
