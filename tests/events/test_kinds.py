"""Kinds are values: a set of a stranger's is decoded, checked and documented like ours, apart from ours."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from docs.schema import schema
from streams.errors import InputError, MalformedError
from streams.events.codec import codec_of, encode
from streams.events.kinds import Kind, Kinds
from streams.events.shipped import SHIPPED
from tests import build
from tests.docs.check import faults

HEART = Kind("heart_beat", True, {"rate_bpm": "number", "contact": "good|poor", "note": "text?"})
PULSE = Kind("pulse", False, {"mean_bpm": "number"})
STRANGERS = Kinds.of(*SHIPPED.values(), HEART, PULSE)
COLUMNS: Mapping[str, list[Any]] = {"rate_bpm": [61, 62.5], "contact": ["good", "poor"], "note": [None, "ok"]}


def heart(**columns: list[Any]) -> Any:
    return build.batch("heart_beat", "heart", 0, 2, columns={**COLUMNS, **columns}, kinds=STRANGERS)


def test_a_strangers_kind_is_read_by_the_compiled_decoder_of_its_set_and_of_no_other() -> None:
    sent = encode(heart())
    codec = codec_of(STRANGERS)
    plain = codec.decode_plain(sent, 7, 0)
    assert plain is not None
    assert plain.columns == COLUMNS
    assert codec.decode(sent, 7) == plain
    with pytest.raises(
        MalformedError, match=r"^kind: found one that is not known here, expected one of imu, "
    ):
        codec_of(SHIPPED).decode(sent, 7)
    ours = encode(build.batch())
    assert codec.decode(ours, 0) == codec_of(SHIPPED).decode(ours, 0)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"contact": ["good", "fair"]},
            r"^columns\.contact: found a text of another form, expected one of good",
        ),
        ({"rate_bpm": [61, None]}, r"^columns\.rate_bpm: found a value of another type, expected number"),
        ({"note": ["a\nb", None]}, r"^columns\.note: found a text of another form"),
    ],
)
def test_what_a_strangers_column_cannot_hold_is_refused(columns: dict[str, list[Any]], message: str) -> None:
    with pytest.raises(MalformedError, match=message):
        codec_of(STRANGERS).decode(encode(heart(**columns)), 0)


def test_a_derived_kind_is_read_where_it_is_known() -> None:
    made = build.batch("pulse", "pulse", 0, 1, columns={"mean_bpm": [60.0]}, kinds=STRANGERS)
    value = encode(made)
    assert codec_of(STRANGERS).decode(value, 0, captured=False).columns == {"mean_bpm": [60.0]}
    with pytest.raises(MalformedError, match="expected one of activity, "):
        codec_of(SHIPPED).decode(value, 0, captured=False)


def test_equal_sets_are_one_value_and_share_their_codec() -> None:
    again = pickle.loads(pickle.dumps(STRANGERS))
    assert again == STRANGERS
    assert codec_of(again) is codec_of(STRANGERS)
    assert codec_of(SHIPPED) is not codec_of(STRANGERS)


def test_a_schema_is_built_from_a_kind_and_the_texts_that_go_with_it() -> None:
    texts = {"about": "A heart that beats.", "rate_bpm": "Beats.", "contact": "Of the skin.", "note": "Said."}
    made = schema(HEART, texts)
    assert list(faults(orjson.loads(encode(heart())), made)) == []
    assert list(faults(orjson.loads(encode(heart(contact=["good", "fair"]))), made))
    assert made["properties"]["columns"]["properties"]["rate_bpm"]["description"] == "Beats. Unit: 1/min."


@pytest.mark.parametrize(
    ("name", "captured", "columns", "message"),
    [
        (
            "Heart",
            True,
            {},
            "kind 'Heart': found a name of another form, expected at most 32 lower-case letters",
        ),
        ("heart_rate", False, {}, "kind 'heart_rate': found a name of another form, .* letters and digits, "),
        ("heart", True, {"Rate": "number"}, "kind heart: found a column called 'Rate', expected at most 64"),
        (
            "heart",
            True,
            {"rate": "int"},
            "kind heart, column rate: found the type 'int', expected flag, number",
        ),
        ("heart", True, {"rate": "a|b c"}, "kind heart, column rate: found the type 'a|b c'"),
        ("heart", True, {"rate": "a|b?"}, "kind heart, column rate: found the type"),
    ],
)
def test_a_kind_of_another_form_is_refused_in_a_sentence(
    name: str, captured: bool, columns: dict[str, str], message: str
) -> None:
    with pytest.raises(InputError, match="^" + message.replace("|", r"\|").replace("?", r"\?")):
        Kind(name, captured, columns)


def test_a_set_with_a_name_twice_or_without_anything_to_send_is_refused_in_a_sentence() -> None:
    with pytest.raises(InputError, match=r"^kind imu: found two of this name, expected one; give yours"):
        Kinds.of(*SHIPPED.values(), Kind("imu", True, {"x": "number"}))
    with pytest.raises(InputError, match=r"^kinds: found none that a device captures"):
        Kinds.of(PULSE)


def test_who_changes_the_columns_that_a_kind_was_made_of_changes_no_kind() -> None:
    columns = {"rate_bpm": "number"}
    kind = Kind("heart", True, columns)
    columns["more"] = "text"
    assert kind.columns == {"rate_bpm": "number"}
