"""The statement of an erasure: it names a mark, is read back, and cannot be forged or moved in time."""

from __future__ import annotations

import json

import orjson
import pytest

from streams.consent.erased import ErasedTime, Erasure, Scope
from streams.consent.record import (
    consents_of,
    consents_text,
    erasure_record,
    learn_consent,
)
from streams.consent.view import Consents
from streams.consent.words import NOBODY
from streams.errors import MalformedError, UnavailableError
from streams.events.record import StoredRecord
from tests.consent.test_erasure import ERASED_NS, S_NS, mark_of, stored


def test_the_statement_names_a_mark_and_no_wearer_and_is_read_back() -> None:
    record = erasure_record(mark_of("anna"), 41)
    assert b"anna" not in (record.key or b"") + (record.value or b"")
    consents = Consents(mark_of)
    learn_consent(consents, stored(3, record))
    assert consents.erased_ns("anna", 4) == ERASED_NS
    assert consents.erased_ns("anna", 3) == 0, "what is not taken up yet has no effect"
    assert consents.erased_ns("bert", 4) == 0
    assert orjson.loads(record.value or b"")["erasure"] == {"mark": mark_of("anna"), "number": 41}
    [(_, wearer, statement)] = consents.between(0, 9)
    assert (wearer, statement) == (NOBODY, Erasure(mark_of("anna"), 41, ERASED_NS))
    assert consents_of(consents_text([(NOBODY, statement)])) == [(NOBODY, statement)]


def test_a_record_of_the_first_erasures_is_read() -> None:
    value = b'{"v":2,"erasure":{"mark":"ab","number":41,"at_ns":0}}'
    consents = Consents(lambda _: "ab")
    learn_consent(consents, StoredRecord(3, 5, b"erasure/ab/41", value))
    assert consents.erasures() == [Erasure("ab", 41, 5_999_999)]


def test_a_statement_says_since_when_and_times_that_touch_are_one() -> None:
    consents = Consents(mark_of)
    stated = [(7, 3), (20, 15), (14, 2), (0, 0)]
    for offset, (until_s, since_s) in enumerate(stated):
        record = erasure_record(mark_of("anna"), offset, Scope(since_s * S_NS))
        learn_consent(consents, stored(offset, record, until_s * S_NS))
    ms_ns = 999_999

    def until(seconds: int) -> int:
        return seconds * S_NS + ms_ns

    first, second = ErasedTime(3 * S_NS, until(7)), ErasedTime(15 * S_NS, until(20))
    assert [consents.erased("anna", below).times for below in range(1, 5)] == [
        (first,),
        (first, second),
        (ErasedTime(2 * S_NS, until(14)), second),
        (ErasedTime(0, ms_ns), ErasedTime(2 * S_NS, until(14)), second),
    ]
    assert consents.erased_ns("anna", 9) == until(20)
    statements = [statement for *_, statement in consents.between(0, 9)]
    assert [each.since_ns // S_NS for each in statements if isinstance(each, Erasure)] == [3, 15, 2, 0]
    text = consents_text([(NOBODY, each) for each in statements])
    assert [each for _, each in consents_of(text)] == statements
    # Of a machine whose clock is ahead of the broker's: nothing is erased rather than everything refused.
    learn_consent(consents, stored(4, erasure_record(mark_of("bert"), 9, Scope(50 * S_NS)), 40 * S_NS))
    assert consents.erased("bert", 9).times == (ErasedTime(until(40), until(40)),)


@pytest.mark.parametrize(
    ("key", "change"),
    [
        (b"erasure/ab/41", {"erasure": {"mark": "ab", "number": 41, "at_ns": 0, "since_ns": -1}}),
        (b"erasure/ab/41", {"erasure": {"mark": "ab", "number": 41, "at_ns": 0, "since_ns": "1"}}),
        (b"erasure/other/41", {}),
        (b"erasure/ab/42", {}),
        (b"erasure/ab/41", {"v": 3}),
        (b"erasure/ab/41", {"erasure": {"mark": "ab", "number": 41, "wearer": "anna"}}),
        (b"erasure/ab/41", {"erasure": {"mark": 5, "number": 41, "at_ns": 0}}),
        (b"erasure/ab/41", {"erasure": {"mark": "ab", "number": 41, "at_ns": 1}}),
        (b"erasure/anna/41", {"erasure": {"mark": "anna", "number": 41, "at_ns": 0}}),
        (b"erasure/ab/-1", {"erasure": {"mark": "ab", "number": -1, "at_ns": 0}}),
        (b"erasure/ab/18446744073709551616", {"erasure": {"mark": "ab", "number": 2**64, "at_ns": 0}}),
        (b"erasure/" + b"ab" * 1000 + b"/41", {"erasure": {"mark": "ab" * 1000, "number": 41, "at_ns": 0}}),
        (b"erasure/ab/41", {"wearer": "anna"}),
    ],
)
def test_a_forged_statement_is_malformed(key: bytes, change: dict[str, object]) -> None:
    value = {**orjson.loads(erasure_record("ab", 41).value or b""), **change}
    with pytest.raises(MalformedError):
        learn_consent(Consents(mark_of), StoredRecord(0, 1, key, json.dumps(value).encode()))


def test_without_the_key_store_nobody_is_taken_for_not_erased() -> None:
    consents = Consents()
    assert consents.erased_ns("anna", 9) == 0, "nobody was erased"
    learn_consent(consents, stored(0, erasure_record(mark_of("anna"), 1)))
    with pytest.raises(UnavailableError, match="--keys"):
        consents.erased_ns("bert", 9)


def test_a_second_erasure_reaches_further_and_an_earlier_time_takes_nothing_back() -> None:
    consents = Consents(mark_of)
    for offset, at_ns in enumerate((ERASED_NS, ERASED_NS + S_NS, ERASED_NS - S_NS)):
        learn_consent(consents, stored(offset, erasure_record(mark_of("anna"), offset), at_ns))
    assert [consents.erased_ns("anna", below) for below in range(4)] == [
        0,
        ERASED_NS,
        ERASED_NS + S_NS,
        ERASED_NS + S_NS,
    ]


def test_a_copy_of_a_statement_does_not_move_its_time() -> None:
    consents = Consents(mark_of)
    record = erasure_record(mark_of("anna"), 1)
    for offset, at_ns in enumerate((ERASED_NS, ERASED_NS + S_NS)):
        learn_consent(consents, stored(offset, record, at_ns))
    assert consents.erased_ns("anna", 9) == ERASED_NS
