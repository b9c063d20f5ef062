"""What is recorded as a take-up of consent is a list of statements, or it is no record of an agent."""

from __future__ import annotations

import orjson
import pytest

from streams.consent.erased import Erasure
from streams.consent.record import take_ups_of
from streams.consent.words import NOBODY, Pairing, Statement, Word
from streams.limits import CONSENT_TAKEUP_BYTES_MAX
from tests.snapshots.build import POLICY, row
from tests.snapshots.test_decode import Rows, judged, record, verdicts

WORD = Word("g1", 1, 3, "given", ("ai:ModelTraining",), 0, 7)
STATEMENTS: list[Statement] = [
    ("w1", WORD),
    ("w2", Pairing("g2", True, 7)),
    (NOBODY, Erasure("ab" * 8, 4, 9, 5)),
]


def taken(value: str) -> Rows:
    return {
        "inputs": [
            row("inputs", kind="consent-takeup", agent="glasses", topic="glasses.captured", value=value)
        ]
    }


def refused(*values: str) -> dict[int, str]:
    records = [
        record(0, {"policies": [POLICY]}),
        *(record(at, taken(each)) for at, each in enumerate(values, 1)),
    ]
    return dict(verdicts(judged(records))[0])


def test_statements_of_every_sort_are_taken_in_and_the_parts_of_many() -> None:
    many = take_ups_of(STATEMENTS * (2 * CONSENT_TAKEUP_BYTES_MAX // 300))
    assert len(many) > 1
    before = orjson.dumps([["w1", 3, "given", 0, "ai:ModelTraining"]]).decode()
    assert refused(*take_ups_of(STATEMENTS), *many, before, "[]") == {}


@pytest.mark.parametrize(
    "value",
    [
        "w2 withdrew",
        "",
        "null",
        "7",
        "{}",
        '""',
        '{"w1": []}',
        '["w1"]',
        '[["w1"]]',
        '[["w1", {}]]',
        '[["w1", 3]]',
        '[["w1", 3, "dpv:ConsentGiven", 0]]',
        '[["w1", {"device": "g1", "bound": "yes", "at_ns": 7}]]',
        '[["", {"mark": "ab", "number": "four", "at_ns": 9}]]',
        take_ups_of(STATEMENTS)[0][:-1],
        take_ups_of([("w1", WORD)])[0].replace("given", "told"),
    ],
)
def test_what_is_none_is_rejected_when_it_comes_and_what_stands_beside_it_is_not(value: str) -> None:
    good, *_ = take_ups_of(STATEMENTS)
    assert refused(good, value, good) == {2: "malformed"}
