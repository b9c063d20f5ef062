"""Texts on the wire: each has a pattern and a length, and both readers hold every one of them to it."""

from __future__ import annotations

import re
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streams.errors import MalformedError
from streams.events import check
from streams.events.batch import Batch
from streams.events.codec import encode
from streams.events.identity import EventId, incarnation_of
from streams.events.kinds import TOKEN, text_form
from streams.events.shipped import SHIPPED
from streams.limits import TEXT_CHARACTERS_MAX, TOKEN_CHARACTERS_MAX
from tests import build

#: (kind, column) of every text that a device sends.
COLUMNS = [
    (kind.name, name)
    for kind in SHIPPED.values()
    if kind.captured
    for name, wanted in kind.columns.items()
    if text_form(wanted)
]
#: What people say, and so the only ones in which a sentence may stand.
PROSE = {("voice_query", "text"), ("feedback", "text")}
ATTACK = "she said: my test is positive \x1b[31mRED\x1b[0m\x1b]0;pwned\x07"
TEXTS = (
    st.text(max_size=12)
    | st.text("aZ9:._/~+- ", max_size=12)
    | st.text("ab \n\r\t\x00\x1b\x7f\x85\x9b\u2028\u202e\u200b\u0445", max_size=6)
    | st.integers(95, 105).map("x".__mul__)
    | st.integers(995, 1005).map("x y".ljust)
)


def value(kind: str, **said: Any) -> dict[str, Any]:
    fields: dict[str, Any] = orjson.loads(encode(build.batch(kind, None, 0, 1)))
    for name, text in said.items():
        if name in fields:
            fields[name] = text
        else:
            fields["columns"][name] = [text]
    return fields


def read(fields: dict[str, Any]) -> tuple[Batch | None, Batch | None]:
    """What each reader makes of a value; None where it refuses."""
    whole = orjson.dumps(fields)
    try:
        explicit = check.decode(whole, 0, 0, SHIPPED, captured=True)
    except MalformedError as error:
        assert "\x1b" not in str(error)
        explicit = None
    return build.CODEC.decode_plain(whole, 0, 0), explicit


def agree(fields: dict[str, Any], text: str, *, right: bool) -> None:
    """Both readers take a right text and refuse a wrong one.

    The compiled one leaves to the explicit one what has an escape, another alphabet or (in a column) a colon.
    """
    compiled, explicit = read(fields)
    assert (explicit is not None) is right
    assert compiled is None or (right and compiled == explicit)
    if right and text.isascii() and text.isprintable() and not set(text) & set(':\\"'):
        assert compiled == explicit


@pytest.mark.parametrize("field", ["origin", "clock"])
@given(TEXTS)
@example(ATTACK)
@example("playback:nlu-queries")
@example("live\n")
@example("")
def test_origin_and_clock_are_tokens(field: str, text: str) -> None:
    right = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9:._/~+-]{0,99}", text) is not None
    agree(value("imu", **{field: text}), text, right=right)


@pytest.mark.parametrize(("kind", "column"), COLUMNS)
@given(TEXTS)
@example(ATTACK)
@example("ended\n")
@example("a\x7f")
@example("x" * TOKEN_CHARACTERS_MAX)
@example("x" * (TOKEN_CHARACTERS_MAX + 1))
@example("x" * (TEXT_CHARACTERS_MAX + 1))
@example("")
def test_every_text_of_a_device_has_its_form_before_both_readers(kind: str, column: str, text: str) -> None:
    form = text_form(SHIPPED[kind].columns[column])
    assert form is not None
    agree(value(kind, **{column: text}), text, right=form.takes(text))
    if not text.isprintable() and not set(text) & set("\u2028\u202e\u200b") and text.isascii():
        assert not form.takes(text), "a control character"
    if (kind, column) not in PROSE and column != "purposes":
        assert not form.takes(f"a {text}"), "a sentence"


@pytest.mark.parametrize(
    ("kind", "column", "words"),
    [
        ("device_state", "session", ["started", "resumed", "running", "ended"]),
        ("device_state", "thermal", ["cool", "normal", "warm", "hot"]),
    ],
)
def test_closed_words_are_these_and_no_others(kind: str, column: str, words: list[str]) -> None:
    for word in words:
        agree(value(kind, **{column: word}), word, right=True)
    for word in [
        "",
        "x",
        words[0].upper(),
        f"{words[0]}|{words[1]}",
        f"{words[0]}{words[1]}",
        words[-1][:-1],
    ]:
        agree(value(kind, **{column: word}), word, right=False)
    with pytest.raises(MalformedError, match=rf"columns\.{column}: .*expected one of {', '.join(words)}$"):
        build.CODEC.decode(orjson.dumps(value(kind, **{column: "x"})), 0)


def test_the_sentences_name_the_field_and_the_form() -> None:
    with pytest.raises(
        MalformedError, match=r"^origin: found a text of another form, expected a word of 1 to"
    ):
        build.CODEC.decode(orjson.dumps(value("imu", origin=ATTACK)), 0)
    with pytest.raises(
        MalformedError, match=r"^columns\.codec: found a text of another form, expected a word"
    ):
        build.CODEC.decode(orjson.dumps(value("camera_frame", codec=ATTACK)), 0)
    with pytest.raises(
        MalformedError, match=r"^columns\.text: .*expected at most 1000 characters and no control"
    ):
        build.CODEC.decode(orjson.dumps(value("voice_query", text=ATTACK)), 0)


@given(st.from_regex(TOKEN.pattern, fullmatch=True))
def test_a_token_is_printable_and_stands_on_one_line_without_spaces(token: str) -> None:
    assert token.isascii()
    assert token.isprintable()
    assert token.split() == [token]


@pytest.mark.parametrize(
    ("stream", "incarnation"), [("imu-right", 1), ("imu-right~2", 2), ("imu~10", 10), ("a~999999", 999_999)]
)
def test_an_incarnation_has_one_name(stream: str, incarnation: int) -> None:
    assert incarnation_of(stream) == incarnation
    assert EventId.parse(f"g1/{stream}/0").stream == stream
    agree(value("imu", stream=stream), stream, right=True)


@pytest.mark.parametrize(
    "end", ["~", "~0", "~1", "~00", "~01", "~02", "~010", "~1000000", "~2~3", "~-2", "~2\n", "~٢"]
)
def test_another_spelling_of_an_incarnation_is_refused(end: str) -> None:
    agree(value("imu", stream=f"imu-right{end}"), end, right=False)
    with pytest.raises(MalformedError):
        EventId.parse(f"g1/imu-right{end}/0")
