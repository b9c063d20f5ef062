"""The value of a record: what goes in comes out, and whatever else comes in leaves as MalformedError."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.errors import MalformedError
from streams.events.batch import Batch
from streams.events.codec import check_columns, decode, encode
from streams.events.kinds import KINDS
from streams.events.runs import Run
from tests import build

NUMBERS = st.floats(allow_nan=False, allow_infinity=False, width=32) | st.integers(-2**40, 2**40)
VALUES = {"number": NUMBERS, "text": st.text(max_size=20), "flag": st.booleans(), "number?": NUMBERS | st.none(),
          "text?": st.text(max_size=20) | st.none()}


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    kind = draw(st.sampled_from([kind for kind in KINDS.values() if kind.captured]))
    count = draw(st.integers(1, 8))
    columns = {name: draw(st.lists(VALUES[wanted], min_size=count, max_size=count)) for name, wanted in kind.columns.items()}
    at = draw(st.integers(1, count - 1)) if count > 1 else 0
    changes = ((at, build.context(place="street", consent=draw(st.integers(0, 9)))),) if at and draw(st.booleans()) else ()
    made = build.batch(kind.name, None, draw(st.integers(0, 2**40)), count, columns=columns, changes=changes, t0_ns=build.T0_NS)
    if draw(st.booleans()):
        made = replace(made, dt_ns=0, t_ns=[build.T0_NS + i * i for i in range(count)])
    return made


@given(batches())
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_round_trip(made: Batch) -> None:
    read = decode(encode(made), 7)
    assert read == replace(made, position=7)
    assert check_columns([read]) == {}


@given(batches(), st.data())
def test_parts_hold_all_events_once(made: Batch, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, made.run.count))
    parts = [made.part(start, end, made.context) for start, end in ((0, at), (at, made.run.count)) if start < end]
    assert [number for part in parts for number in part.run] == list(made.run)
    assert [part.time_ns(i) for part in parts for i in range(part.run.count)] == [made.time_ns(i) for i in range(made.run.count)]
    for name, values in made.columns.items():
        assert [value for part in parts for value in part.columns[name]] == list(values)


JSON = st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3), max_leaves=6)


@given(st.binary(max_size=200) | JSON.map(orjson.dumps))
def test_any_bytes_are_malformed_at_worst(value: bytes) -> None:
    with pytest.raises(MalformedError):
        decode(value, 0)


@given(batches(), st.sampled_from(["v", "kind", "device_id", "wearer_id", "session_id", "stream", "first", "n", "t0_ns", "clock", "origin",
                                   "context", "columns"]), st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3) |
       st.lists(st.integers(-2**60, 2**60), max_size=2))
def test_any_wrong_field_is_malformed_or_still_a_batch(made: Batch, name: str, wrong: Any) -> None:
    fields = orjson.loads(encode(made))
    fields[name] = wrong
    try:
        read = decode(orjson.dumps(fields), 0)
    except MalformedError as error:
        assert str(error)
    else:
        assert isinstance(read.run, Run)


@pytest.mark.parametrize(("change", "message"), [
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
])
def test_message_names_field_found_expected(change: dict[str, Any], message: str) -> None:
    fields = orjson.loads(encode(build.batch()))
    fields.update(change)
    with pytest.raises(MalformedError, match=message):
        decode(orjson.dumps(fields), 0)


def test_context_word_that_is_not_known() -> None:
    fields = orjson.loads(encode(build.batch()))
    fields["context"]["place"] = "moon"
    with pytest.raises(MalformedError, match=r"context\.place: .*expected one of cafe, clinic, home"):
        decode(orjson.dumps(fields), 0)


@pytest.mark.parametrize("wrong", ["1.0", None, [1.0], True, {"a": 1}])
def test_bad_value_is_found_among_good_batches(wrong: Any) -> None:
    good, other = build.batch(first=0), build.query(0, "hello", build.T0_NS)
    bad = build.batch(first=20, columns={"gyro_x_radps": [0.0] * 19 + [wrong]})
    assert list(check_columns([good, bad, other, good])) == [1]


def test_text_where_number_stands_is_found() -> None:
    assert list(check_columns([build.query(0, "a", 1), build.batch("voice_query", None, 1, 1, columns={"text": [3]})])) == [1]


def test_messages_hold_no_values() -> None:
    fields = orjson.loads(encode(build.query(0, "my secret words", build.T0_NS)))
    for name in list(fields):
        for wrong in ("my secret words", ["my secret words"]):
            try:
                decode(orjson.dumps({**fields, name: wrong}), 0)
            except MalformedError as error:
                assert "secret" not in str(error)
