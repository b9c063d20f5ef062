"""Topics that every worker reads whole: what no stage of ours wrote changes nothing.

Such a record is passed over, said aloud and counted.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace

import orjson
from hypothesis import example, given
from hypothesis import strategies as st

from streams import limits
from streams.consent.record import consents_of, consents_text, learn_consent, part_of, take_ups_of
from streams.consent.view import Consents
from streams.consent.words import Statement, Word
from streams.errors import MalformedError
from streams.events.record import StoredRecord
from streams.lineage.tables import CONSENT_TAKEUP
from streams.replay.inputs import inputs_of
from streams.worker.on_topics import policies_of
from tests import build

POLICY = build.policy()


def record(offset: int, key: bytes | None, value: bytes | None) -> StoredRecord:
    return StoredRecord(offset, 0, key, value)


GOOD = [
    record(
        0,
        f"policy/{POLICY.version}".encode(),
        orjson.dumps({"v": 1, "version": POLICY.version, "text": POLICY.text}),
    ),
    record(1, b"policy/current", orjson.dumps({"version": POLICY.version})),
]
BAD = [
    (None, None),
    (b"policy/current", b""),
    (b"policy/current", b'{"version":"nobody"}'),
    (b"policy/current", b'{"version":[]}'),
    (b"policy/x", b"\xff"),
    (b"policy/x", b"[]"),
    (b"policy/x", b'{"version":"x","text":"name = 7"}'),
    (b"policy/x", b'{"version":"x","text":"name = ["}'),
    (b"policy/x", orjson.dumps({"version": "x", "text": POLICY.text})),
    (b"policy/y", GOOD[0].value),
]


class Checker:
    """Checks nothing, and counts what it was asked."""

    def __init__(self, *outcomes: Exception | None) -> None:
        self.asked: list[str] = []
        self._outcomes = iter(outcomes)

    async def check(self, text: str) -> None:
        self.asked.append(text)
        if (outcome := next(self._outcomes, None)) is not None:
            raise outcome


async def test_bad_records_of_policies_are_passed_over_and_kept_for_the_record() -> None:
    mixed = [
        *(record(10 + i, *pair) for i, pair in enumerate(BAD)),
        *(replace(one, offset=one.offset + 20) for one in GOOD),
        *(record(30 + i, *pair) for i, pair in enumerate(BAD)),
    ]
    found = (await policies_of(mixed, Checker())).now
    assert found.current == POLICY.version
    assert [one.offset for one in found.refused] == [*range(10, 10 + len(BAD)), *range(30, 30 + len(BAD))]
    assert not any("name = " in one.reason or "nobody" in one.reason for one in found.refused)


async def test_a_topic_of_bad_records_holds_no_policy() -> None:
    found = (await policies_of([record(i, *pair) for i, pair in enumerate(BAD)], Checker())).now
    assert not found.current


WORD = {
    "v": 2,
    "wearer": "w1",
    "event": "g1/consent-change/4",
    "number": 2,
    "status": "given",
    "purposes": ["dpv:ServiceOptimisation"],
    "expires_ns": 0,
    "device": "g1",
    "incarnation": 1,
    "at_ns": 7,
}
#: What a word may hold instead, in its place in the text of the record.
ODD = st.one_of(
    st.integers(-(2**70), 2**70),
    st.just(10**300),
    st.text(max_size=8),
    st.just("x" * 9000),
    st.lists(st.text(max_size=3), max_size=40),
    st.booleans(),
    st.none(),
)


@given(st.dictionaries(st.sampled_from(list(WORD)), ODD, max_size=3))
@example({"expires_ns": 10**300})
@example({"number": 2**64})
@example({"purposes": ["x"] * 4000})
@example({"wearer": "w" * 200})
def test_a_word_that_is_taken_in_can_be_recorded_as_an_input(other: dict[str, object]) -> None:
    """What cannot be would stop every partition at its next fetch, for ever."""
    said = {**WORD, **other}
    key = f"{said['wearer']}/{said['event']}".encode()
    consents = Consents()
    with contextlib.suppress(MalformedError):
        learn_consent(consents, record(3, key, json.dumps(said).encode()))
    taken = [(wearer, one) for _, wearer, one in consents.between(0, 10)]
    text = consents_text(taken)
    assert consents_of(text) == taken
    assert len(text) <= limits.CONSENT_BYTES_MAX
    assert consents.offset == 4


def test_however_much_is_said_at_once_each_input_fits_its_row() -> None:
    """6,000 words in a second were a row that no record holds: no partition came past it."""
    word = Word("g1", 1, 1, "given", tuple(f"local:{'x' * 90}{number}" for number in range(16)), 0, 7)
    said: list[Statement] = [(f"w{at}", word) for at in range(6000)]
    parts = take_ups_of(said)
    assert max(map(len, parts)) <= limits.CONSENT_TAKEUP_BYTES_MAX + limits.CONSENT_BYTES_MAX
    assert [part_of(part) for part in parts] == list(range(len(parts)))
    assert [one for part in parts for one in consents_of(part)] == said
    assert take_ups_of(said[:1]) == [consents_text(said[:1])]
    of, before = build.core(), build.begun().consents_taken
    for at, (wearer, one) in enumerate(said, before):
        of.followed.consents.learn(at, wearer, one)
    records, state = build.process(of, [build.fetch([build.batch()])])
    assert max(len(one.value or b"") for one in records) < limits.MESSAGE_BYTES_MAX
    assert state.consents_taken == before + len(said)
    rows = [row for row in build.lineage(records)["inputs"] if row["kind"] == CONSENT_TAKEUP]
    inputs = inputs_of(
        "x",
        [(POLICY.version, POLICY.text, 1)],
        [
            ("policy", "glasses", 0, 0, POLICY.version, 0),
            *((row["kind"], "glasses", 0, row["offset"], row["value"], 0) for row in reversed(rows)),
        ],
    )
    assert [one for taken in inputs.take_ups[0] for one in consents_of(taken.value)] == said


def test_words_that_are_ours_are_taken_in() -> None:
    consents = Consents()
    others: list[dict[str, object]] = [
        {},
        {"expires_ns": 2**63 - 1},
        {"purposes": [f"local:{number}" for number in range(16)]},
    ]
    for at, other in enumerate(others):
        said = {**WORD, **other}
        learn_consent(consents, record(at, b"w1/g1/consent-change/4", json.dumps(said).encode()))
    assert len(consents.between(0, 10)) == 3
