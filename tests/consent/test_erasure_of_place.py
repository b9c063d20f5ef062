"""What was captured at a place is refused whenever it comes; what was captured elsewhere goes on."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from msgspec import structs

from streams.consent.erased import ErasedTime, Erasure, Scope, erasure_of
from streams.consent.record import consents_of, consents_text, erasure_record, learn_consent
from streams.consent.view import Consents
from streams.consent.words import NOBODY, Pairing
from streams.errors import MalformedError
from streams.events.batch import Batch
from streams.events.state import DeliveredNotice
from streams.limits import CONSENT_BYTES_MAX, ERASED_KEYS_MAX, ERASED_SPANS_MAX, TIME_NS_MAX
from streams.topology import EXAMPLES
from tests import build
from tests.consent.test_erasure import (
    ERASED_NS,
    S_NS,
    erase,
    mark_of,
    of_wearer,
    rejected,
    stored,
    zoned,
)

T0_NS = build.T0_NS
#: She was at home in the third and the fourth second.
STAY = ErasedTime(T0_NS + 3 * S_NS, T0_NS + 5 * S_NS - 1)
HOME = Scope(0, 0, "home", (STAY,))


def at(second: float, first: int, place: str = "street", **more: object) -> Batch:
    """A fifth of a second of motion somewhere."""
    return build.imu(1.2, first, 20, t0_ns=T0_NS + int(second * S_NS), place=place, **more)


def test_the_statement_holds_as_many_stays_and_keys_as_it_may_and_is_read_back() -> None:
    spans = tuple(
        ErasedTime(TIME_NS_MAX - 10 * nth - 5, TIME_NS_MAX - 10 * nth)
        for nth in reversed(range(1, ERASED_SPANS_MAX + 1))
    )
    scope = Scope(TIME_NS_MAX - 10**6, 0, "unknown", spans, tuple(range(10**9, 10**9 + ERASED_KEYS_MAX)))
    record = erasure_record(mark_of("anna"), 2**48, scope)
    assert len(record.value or b"") < CONSENT_BYTES_MAX
    consents = Consents(mark_of)
    learn_consent(consents, stored(0, record, TIME_NS_MAX // 10**6 * 10**6))
    [statement] = consents.erasures()
    assert statement.scope is not None
    assert (statement.times, statement.scope.keys) == (spans, scope.keys)
    assert statement.scope.until_ns == statement.at_ns
    assert consents_of(consents_text([(NOBODY, statement)])) == [(NOBODY, statement)]
    for wrong in (
        structs.replace(scope, spans=(*spans, spans[0])),
        structs.replace(scope, keys=(*scope.keys, 1)),
        structs.replace(scope, place="attic"),
    ):
        with pytest.raises(MalformedError):
            learn_consent(consents, stored(1, erasure_record(mark_of("anna"), 2**48, wrong)))


def test_nothing_later_than_the_statement_is_erased_and_stays_are_cut_to_it() -> None:
    scope = Scope(5, 90, "home", (ErasedTime(10, 20), ErasedTime(30, TIME_NS_MAX), ErasedTime(60, 70)))
    stated = erasure_of("ab", 1, 50, scope)
    assert stated.times == (ErasedTime(10, 20), ErasedTime(30, 50))
    assert stated.at_place == ("home", (5, 50))
    assert not stated.leaves_nothing
    assert Erasure("ab", 1, 50).leaves_nothing
    assert erasure_of("ab", 1, 50, Scope(9)) == Erasure("ab", 1, 50, 9)


def test_a_place_takes_no_word_of_hers_and_another_erasure_takes_what_it_takes() -> None:
    consents = Consents(mark_of)
    for offset, (at_s, scope) in enumerate(((10, HOME), (4, Scope(T0_NS + 2 * S_NS)))):
        record = erasure_record(mark_of("w1"), offset, scope)
        learn_consent(consents, stored(offset, record, T0_NS + at_s * S_NS))
    home, both = (consents.erased("w1", below) for below in (1, 2))
    inside = (T0_NS + 4 * S_NS + 5_000_000,) * 2
    assert home.has(*inside)
    assert not home.has(*inside, word=True)
    assert both.has(*inside)
    early = (T0_NS + 3 * S_NS,) * 2
    assert both.has(*early, word=True)
    assert both.times == (ErasedTime(T0_NS + 2 * S_NS, STAY.until_ns),)
    assert (home.whole_ns, home.wholly_ns, both.wholly_ns) == (0, 0, 0)
    assert home.at_ns == both.at_ns


def test_what_was_captured_there_is_refused_with_the_reason_and_all_else_is_taken() -> None:
    core = build.core()
    erase(core, "w1", withdrawn=False, scope=HOME)
    batches = [
        at(1, 0),
        # In a stay that was known, whatever the batch itself says of where it was.
        at(3.5, 20),
        at(2.95, 40),
        at(5.5, 60),
        # Of a stay that nobody knew of, because it had not come yet.
        at(6, 80, "home"),
        structs.replace(at(7, 100), changes=((10, build.context(place="home")),)),
        at(8, 120, "home", source="g2"),
        # After the erasure she is at home again.
        at((ERASED_NS - T0_NS) / S_NS + 1, 140, "home"),
    ]
    core.followed.consents.learn(core.followed.consents.offset, "w1", Pairing("g2", True, 0))
    later_ms = (ERASED_NS + 9 * S_NS) // 1_000_000
    sent = [build.record(each, place, timestamp=later_ms) for place, each in enumerate(batches)]
    records, _ = build.process(core, [replace(build.fetch([]), records=sent)])
    assert zoned(records) == {batches[nth].first_id for nth in (0, 3, 7)}
    refused = rejected(records)
    assert {each["ce_id"].decode() for each in refused} == {batches[nth].first_id for nth in (1, 2, 4, 5, 6)}
    assert {each["sightline-rule"] for each in refused} == {b"erased"}
    assert {row["wearer"] for row in build.lineage(records)["rejected"]} == {""}


def test_only_what_is_of_the_time_that_was_asked_for_is_refused() -> None:
    core = build.core()
    known = ErasedTime(STAY.since_ns + S_NS, STAY.until_ns)
    within = Scope(T0_NS + 4 * S_NS, T0_NS + 6 * S_NS, "home", (known,))
    erase(core, "w1", withdrawn=False, scope=within)
    batches = [at(second, nth * 20, "home") for nth, second in enumerate((3, 4.5, 5.9, 6.5))]
    sent = [build.record(each, nth, timestamp=ERASED_NS // 10**6) for nth, each in enumerate(batches)]
    records, _ = build.process(core, [replace(build.fetch([]), records=sent)])
    assert zoned(records) == {batches[nth].first_id for nth in (0, 3)}


def test_what_she_decided_there_holds_on_and_comes_again() -> None:
    """She gave her consent at home: all that she captured elsewhere depends on it."""
    core = build.core()
    erase(core, "w1", withdrawn=False, scope=HOME)
    given_ns = STAY.since_ns + S_NS
    word = build.gives(2, 0, given_ns, consent=1)
    elsewhere = build.imu(1.2, 0, 20, t0_ns=STAY.until_ns + S_NS, place="street", consent=2)
    records, _ = build.process(core, [build.fetch([word, elsewhere])])
    assert zoned(records) == {elsewhere.first_id, word.first_id}
    assert not rejected(records)


def test_others_are_not_touched_wherever_they_were() -> None:
    core = build.core()
    core.followed.consents.learn(core.followed.consents.offset, "w2", Pairing("g1", True, 0))
    erase(core, "w1", withdrawn=False, scope=HOME)
    batches = [of_wearer("w2", at(3 + nth, 20 * nth, "home", consent=0)) for nth in range(3)]
    records, _ = build.process(core, [build.fetch(batches)])
    assert not [each for each in rejected(records) if each["sightline-rule"] == b"erased"]


def _asked(place: str, second: int) -> list[Batch]:
    """Two seconds of motion, and a question at their end."""
    motion = [at(second + nth / 5, 200 * second + 20 * nth, place) for nth in range(9)]
    return [*motion, build.query(second, "wake me at seven", motion[-1].t0_ns, place=place)]


def test_windows_and_answers_of_the_stay_are_let_go_and_the_later_ones_stay() -> None:
    core = build.core()
    before = [*_asked("home", 3), *_asked("street", 7)]
    _, state = build.process(core, [build.fetch(before)])
    assert [each.number for each in state.devices["g1"].answers] == [3, 7]
    windows = state.devices["g1"].windows
    erase(core, "w1", withdrawn=False, scope=HOME)
    foreign = of_wearer("w2", build.imu(1.2, 0, 20, source="g2", t0_ns=ERASED_NS + S_NS, consent=0))
    _, after = build.process(core, [build.fetch([foreign], len(before))], state)
    left = after.devices["g1"]
    assert [each.number for each in left.answers] == [7]
    assert left.windows == windows, "they are of the street"
    assert not [each for each in left.recents if each.t_last_ns <= STAY.until_ns]
    assert [each for each in left.recents if each.since_ns > STAY.until_ns]
    liked = [
        build.feedback(nth, f"g1/answer/{second}", "alarm_set", ERASED_NS + S_NS, place="street")
        for nth, second in enumerate((3, 7))
    ]
    records, _ = build.process(core, [build.fetch(liked, len(before) + 1)], after)
    made = [record for record in records if record.topic == EXAMPLES]
    assert [dict(record.headers)["ce_id"] for record in made] == [b"g1/example/1"]
    assert [each["sightline-rule"] for each in rejected(records)] == [b"feedback"]


def test_memories_go_with_each_place_and_the_notice_stays() -> None:
    """What is remembered of places has coordinates of the one that is erased; a notice is of no place."""
    core = build.core()
    _, state = build.process(core, [build.fetch(_asked("street", 7))])
    shown = {"w1": (DeliveredNotice("0" * 16, acknowledged=True),)}
    of = structs.replace(state.devices["g1"], memories={"place": b"[[1,52.1,13.2]]"}, notices=shown)
    for number, scope in enumerate((HOME, structs.replace(HOME, place="clinic")), 8):
        state = replace(state, devices=state.devices.changed({"g1": of}))
        record = erasure_record(mark_of("w1"), number, scope)
        consents = core.followed.consents
        consents.mark = mark_of
        learn_consent(consents, stored(consents.offset, record))
        foreign = of_wearer("w2", build.imu(1.2, number, 1, source="g2", t0_ns=ERASED_NS, consent=0))
        _, state = build.process(core, [build.fetch([foreign], 90 + number)], state)
        left = state.devices["g1"]
        assert (left.memories, left.known_streams) == ({}, ()), f"at erasure {number}"
        assert left.delivered == shown


@pytest.mark.parametrize("seed", range(20))
def test_in_random_worlds_all_passes_but_what_is_of_a_stay_or_names_the_place(seed: int) -> None:
    """The oracle is a run without the erasure, and the plain rule."""
    draw = random.Random(seed)
    spans = tuple(
        ErasedTime(T0_NS + low * S_NS, T0_NS + low * S_NS + draw.randrange(1, 3 * S_NS))
        for low in sorted(draw.sample(range(0, 9, 3), 2))
    )
    first, batches = dict.fromkeys(("g1", "g2"), 0), list[Batch]()
    for _ in range(30):
        source, wearer = draw.choice((("g1", "w1"), ("g2", "w2")))
        t0_ns = T0_NS + draw.randrange(15 * S_NS)
        place = draw.choice(("home", "street", "cafe"))
        made = build.imu(1.2, first[source], 20, source=source, t0_ns=t0_ns, place=place)
        batches.append(of_wearer(wearer, made))
        first[source] += 20
    later_ms = (T0_NS + 60 * S_NS) // 1_000_000
    sent = [build.record(each, nth, timestamp=later_ms) for nth, each in enumerate(batches)]
    cut = draw.randrange(1, 30)
    fetches = [
        replace(build.fetch([], at), records=some) for at, some in ((0, sent[:cut]), (cut, sent[cut:]))
    ]

    def passed(*, erased: bool) -> set[str]:
        core = build.core()
        if erased:
            erase(core, "w1", withdrawn=False, scope=Scope(0, 0, "cafe", spans))
        return zoned(build.process(core, fetches)[0])

    gone = {
        batch.first_id
        for batch in batches
        if batch.wearer_id == "w1"
        and (
            any(low <= batch.last_ns and batch.t0_ns <= high for low, high in spans)
            or (batch.context is not None and batch.context.place == "cafe" and batch.t0_ns <= ERASED_NS)
        )
    }
    whole = passed(erased=False)
    assert whole & gone, f"seed {seed} has nothing that goes"
    assert passed(erased=True) == whole - gone
