"""Intervals of consent say at every time what decisions say then, and why each ended.

Judged by `Words.effective`, which decides, and by the rule in words, computed from a plain list.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.consent.erased import ErasedTime, Erasure, Scope, erasure_of
from streams.consent.history import ConsentHistory, ConsentInterval, history_of, record_name, taken_away
from streams.consent.view import Consents
from streams.consent.words import GIVEN, NOTHING_SAID, WITHDRAWN, Pairing, Reference, Word

MS_NS = 1_000_000
SERVICE, TRAINING, OPTIMISATION = (
    "dpv:RequestedServiceProvision",
    "ai:ModelTraining",
    "dpv:ServiceOptimisation",
)
DEVICES = ("g1", "g2")
#: After everything that is drawn.
END_NS = 100 * MS_NS


def mark(wearer: str) -> str:
    return f"mark of {wearer}"


class Act(NamedTuple):
    """A draw: who speaks, what, how long after the act before; `skip` numbers are left out."""

    device: str
    purposes: tuple[str, ...]
    lasts_ms: int
    after_ms: int
    incarnation_later: bool = False
    skip: int = 0
    erases: bool = False


def acts(skips: bool) -> st.SearchStrategy[list[Act]]:
    purposes = st.sets(st.sampled_from((SERVICE, TRAINING, OPTIMISATION))).map(
        lambda drawn: tuple(sorted(drawn))
    )
    return st.lists(
        st.builds(
            Act,
            st.sampled_from((*DEVICES, *DEVICES, *DEVICES, "")),
            purposes,
            st.sampled_from((0, 0, 1, 3, 8)),
            st.integers(0, 4),
            st.sampled_from((False, False, False, True)),
            st.sampled_from((0, 0, 0, 1)) if skips else st.just(0),
            st.sampled_from((False, False, False, False, True)),
        ),
        max_size=12,
    )


def spoken(drawn: Sequence[Act]) -> list[Word | Erasure]:
    """Statements as workers write them: each device counts its records from 1."""
    counts: dict[str, tuple[int, int]] = {}
    statements: list[Word | Erasure] = []
    at_ms = 1
    for number, act in enumerate(drawn):
        at_ms += act.after_ms
        if act.erases:
            statements.append(Erasure(mark("w1"), number, at_ms * MS_NS))
            continue
        if not act.device:
            statements.append(Word("", 0, 0, WITHDRAWN, (), 0, at_ms * MS_NS))
            continue
        incarnation, count = counts.get(act.device, (1, 0))
        if act.incarnation_later:
            incarnation, count = incarnation + 1, 0
        counts[act.device] = incarnation, (count := count + 1 + act.skip)
        ends_ns = (at_ms + act.lasts_ms) * MS_NS if act.lasts_ms and act.purposes else 0
        status = GIVEN if act.purposes else WITHDRAWN
        statements.append(Word(act.device, incarnation, count, status, act.purposes, ends_ns, at_ms * MS_NS))
    return statements


def read(statements: Sequence[Word | Erasure | Pairing], *, marked: bool = True) -> Consents:
    """A topic with these statements of w1, and others' between them."""
    consents = Consents(mark if marked else None)
    for statement in statements:
        wearer = "" if isinstance(statement, Erasure) else "w1"
        consents.learn(consents.offset, wearer, statement)
        consents.learn(consents.offset, "w2", Word("g1", 1, 1, GIVEN, (OPTIMISATION,), 0, 1))
        consents.learn(consents.offset, "", Erasure(mark("w2"), 0, 1))
    return consents


def named(words: Sequence[Word], device: str) -> Reference:
    """The record that a device names: its newest one, none if its last word gives nothing."""
    own = [word for word in words if word.device == device]
    if not own or own[-1].status != GIVEN or not own[-1].purposes:
        return Reference(device, 1, 0)
    incarnation = max(word.incarnation for word in own)
    return Reference(device, incarnation, max(word.number for word in own if word.incarnation == incarnation))


def at(history: ConsentHistory, device: str, t_ns: int) -> tuple[str, ...]:
    """Purposes of the only interval of a device that holds at a time."""
    held = [
        each
        for each in history.intervals
        if each.under.device == device and each.since_ns <= t_ns and not 0 < each.until_ns <= t_ns
    ]
    assert len(held) <= 1, held
    return held[0].purposes if held else ()


def until(words: Sequence[Word | Erasure], t_ns: int) -> list[Word]:
    return [word for word in words if isinstance(word, Word) and word.at_ns <= t_ns]


@given(drawn=acts(skips=True))
def test_at_every_time_it_says_what_decides(drawn: list[Act]) -> None:
    statements = spoken(drawn)
    history = history_of(read(statements), "w1", END_NS)
    for t_ns in range(0, END_NS, MS_NS // 2):
        heard, words = until(statements, t_ns), NOTHING_SAID
        for word in heard:
            words = words.after(word)
        for device in DEVICES:
            consent = words.effective(named(heard, device), t_ns, t_ns).consent
            assert at(history, device, t_ns) == ((consent.purposes or ()) if consent.given else ())


def by_the_rule(words: Sequence[Word], device: str, t_ns: int) -> set[str]:
    """What is in force, from the words alone.

    A record permits what it and all later words permit; what was taken away is given again by a later record
    of any device, for what is captured after it.
    """
    of = named(words, device)
    own = [
        place
        for place, word in enumerate(words)
        if (word.device, word.incarnation, word.number) == tuple(of) and word.status == GIVEN
    ]
    if not own:
        return set()
    begins = max(place for place, word in enumerate(words) if word.status == GIVEN and place >= own[0])
    binding = [words[own[0]], *words[begins:]]
    if any(word.status == WITHDRAWN or 0 < word.expires_ns <= t_ns for word in binding):
        return set()
    return set.intersection(*(set(word.purposes) for word in binding))


@given(drawn=acts(skips=False))
def test_at_every_time_it_says_what_the_rule_says(drawn: list[Act]) -> None:
    statements = spoken(drawn)
    history = history_of(read(statements), "w1", END_NS)
    for t_ns in range(0, END_NS, MS_NS // 2):
        for device in DEVICES:
            assert set(at(history, device, t_ns)) == by_the_rule(until(statements, t_ns), device, t_ns)


@given(drawn=acts(skips=True))
def test_each_end_is_what_it_is_called(drawn: list[Act]) -> None:
    """Of words in one millisecond only the last that changed anything is told."""
    statements = spoken(drawn)
    history = history_of(read(statements), "w1", END_NS)
    records = {record_name(word): word for word in statements if isinstance(word, Word)}
    for each in history.intervals:
        device = each.under.device
        after = set(at(history, device, each.until_ns)) if each.until_ns else set(each.purposes)
        lost = set(each.purposes) - after
        assert set(each.left) == (after if each.until_ns else set())
        if each.ended == "erased":
            assert each.until_ns in history.erased_ns
            assert not lost
        elif each.ended == "expired":
            assert (each.until_ns, each.ended_by) == (each.expires_ns, "")
        elif each.ended == "replaced":
            assert not lost
        elif each.ended:
            word = records[each.ended_by]
            assert lost
            assert (word.status == WITHDRAWN) is (each.ended == "withdrawn")
        assert each.until_ns == 0 or each.until_ns > each.since_ns
    backs = {
        (each.until_ns, each.ended_by, each.ended)
        for each in history.intervals
        if each.ended in {"withdrawn", "narrowed", "expired"}
    }
    assert [(each.at_ns, each.by, each.ended) for each in taken_away(history)] == sorted(backs)


def told(*statements: Word | Erasure) -> list[tuple[str, tuple[str, ...], int, int, str, str]]:
    return [row(each) for each in history_of(read(statements), "w1", END_NS).intervals]


def row(each: ConsentInterval) -> tuple[str, tuple[str, ...], int, int, str, str]:
    return (
        record_name(each.under),
        each.purposes,
        each.since_ns // MS_NS,
        each.until_ns // MS_NS,
        each.ended,
        each.ended_by,
    )


def word(
    device: str, number: int, at_ms: int, *purposes: str, ends_ms: int = 0, incarnation: int = 1
) -> Word:
    status = GIVEN if purposes else WITHDRAWN
    return Word(device, incarnation, number, status, tuple(sorted(purposes)), ends_ms * MS_NS, at_ms * MS_NS)


def operator(at_ms: int) -> Word:
    return Word("", 0, 0, WITHDRAWN, (), 0, at_ms * MS_NS)


def test_a_life_of_consents() -> None:
    both = (TRAINING, SERVICE)
    assert told(
        word("g1", 1, 10, *both),
        word("g1", 2, 20, SERVICE),
        operator(30),
        word("g1", 1, 40, *both, incarnation=2, ends_ms=50),
        word("g1", 2, 60, *both, incarnation=2),
        Erasure(mark("w1"), 0, 70 * MS_NS),
        word("g1", 3, 80, incarnation=2),
    ) == [
        ("g1 1", both, 10, 20, "narrowed", "g1 2"),
        ("g1 2", (SERVICE,), 20, 30, "withdrawn", "operator"),
        ("g1~2 1", both, 40, 50, "expired", ""),
        ("g1~2 2", both, 60, 70, "erased", "operator"),
        ("g1~2 2", both, 70, 80, "withdrawn", "g1~2 3"),
    ]


def test_a_word_of_another_device_narrows_and_a_later_record_gives_again() -> None:
    both = (TRAINING, SERVICE)
    assert told(
        word("g1", 1, 10, *both), word("g2", 1, 20, SERVICE), word("g2", 2, 30), word("g1", 2, 40, *both)
    ) == [
        ("g1 1", both, 10, 20, "narrowed", "g2 1"),
        ("g1 1", (SERVICE,), 20, 30, "withdrawn", "g2 2"),
        ("g2 1", (SERVICE,), 20, 30, "withdrawn", "g2 2"),
        ("g1 2", both, 40, 0, "", ""),
    ]


def test_what_was_taken_back_and_when_it_was_given_again() -> None:
    history = history_of(
        read(
            [
                word("g1", 1, 10, SERVICE, TRAINING),
                word("g2", 1, 15, SERVICE, TRAINING),
                word("g1", 2, 20, SERVICE),
                word("g1", 3, 30, SERVICE, TRAINING),
                operator(40),
                word("g1", 4, 50, TRAINING),
            ]
        ),
        "w1",
        END_NS,
    )
    assert [
        (each.at_ns // MS_NS, each.by, each.ended, each.purposes, each.devices, each.again_ns // MS_NS)
        for each in taken_away(history)
    ] == [
        (20, "g1 2", "narrowed", (TRAINING,), ("g1", "g2"), 30),
        (40, "operator", "withdrawn", (TRAINING, SERVICE), ("g1", "g2"), 50),
    ]


def test_of_two_words_in_one_millisecond_the_last_counts() -> None:
    both = (TRAINING, SERVICE)
    assert told(word("g1", 1, 10, *both), word("g1", 2, 20, SERVICE), word("g1", 3, 20, *both)) == [
        ("g1 1", both, 10, 20, "replaced", "g1 3"),
        ("g1 3", both, 20, 0, "", ""),
    ]
    assert told(word("g1", 1, 10, *both), word("g1", 2, 20, *both), word("g1", 3, 20, SERVICE)) == [
        ("g1 1", both, 10, 20, "narrowed", "g1 3"),
        ("g1 3", (SERVICE,), 20, 0, "", ""),
    ]
    assert told(word("g1", 1, 10, SERVICE), word("g1", 2, 20), word("g2", 1, 20, TRAINING)) == [
        ("g1 1", (SERVICE,), 10, 20, "withdrawn", "g1 2"),
        ("g2 1", (TRAINING,), 20, 0, "", ""),
    ]
    # What is taken back and given again at once was never taken back.
    assert told(
        word("g1", 1, 10, *both), word("g2", 1, 20, SERVICE), word("g2", 2, 20, *both), word("g2", 3, 30)
    ) == [
        ("g1 1", both, 10, 30, "withdrawn", "g2 3"),
        ("g2 2", both, 20, 30, "withdrawn", "g2 3"),
    ]
    # But what has expired has.
    assert told(word("g1", 1, 10, SERVICE, ends_ms=20), word("g1", 2, 20, SERVICE)) == [
        ("g1 1", (SERVICE,), 10, 20, "expired", ""),
        ("g1 2", (SERVICE,), 20, 0, "", ""),
    ]


def test_what_expires_is_in_force_until_then() -> None:
    consents = read([word("g1", 1, 10, SERVICE, ends_ms=60)])
    (before,) = history_of(consents, "w1", 59 * MS_NS).intervals
    assert (before.until_ns, before.expires_ns, before.ended) == (0, 60 * MS_NS, "")
    (after,) = history_of(consents, "w1", 60 * MS_NS).intervals
    assert (after.until_ns, after.ended) == (60 * MS_NS, "expired")


def test_a_clock_that_was_set_back_makes_no_interval_before_another() -> None:
    assert told(word("g1", 1, 50, SERVICE), word("g1", 2, 20, SERVICE, TRAINING)) == [
        ("g1 2", (TRAINING, SERVICE), 50, 0, "", "")
    ]


@pytest.mark.parametrize(("marked", "erased", "untold"), [(True, (20 * MS_NS,), 0), (False, (), 3)])
def test_without_the_key_store_nothing_tells_whose_an_erasure_is(
    marked: bool, erased: tuple[int, ...], untold: int
) -> None:
    consents = read([word("g1", 1, 10, SERVICE), Erasure(mark("w1"), 0, 20 * MS_NS)], marked=marked)
    history = history_of(consents, "w1", END_NS)
    assert (history.erased_ns, history.untold) == (erased, untold)
    assert [each.ended for each in history.intervals] == (["erased", ""] if marked else [""])


def test_an_erasure_of_a_place_ends_nothing_and_is_told() -> None:
    there = erasure_of(mark("w1"), 0, 20 * MS_NS, Scope(5, 0, "home", (ErasedTime(6, 7),)))
    history = history_of(read([word("g1", 1, 10, SERVICE), there], marked=True), "w1", END_NS)
    assert (history.erased_ns, history.erased_at) == ((), (("home", (5, 20 * MS_NS)),))
    assert [each.ended for each in history.intervals] == [""]
    assert history.newest_ns == 20 * MS_NS


def test_who_said_nothing_has_no_history() -> None:
    history = history_of(read([word("g1", 1, 10, SERVICE)]), "w7", END_NS)
    assert (history.intervals, history.newest_ns, taken_away(history)) == ((), 0, [])
