"""What `sightline rights consent` tells of a life of consents, for people and for programs."""

from __future__ import annotations

import contextlib
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from msgspec import structs

from streams.cli.rights.consent import Answered, answered, plain, say_consent
from streams.cli.rights.heeding import Heeded, heeding
from streams.cli.rights.notices import NoticeState, notice_states, say_waiting
from streams.consent.erased import Erasure
from streams.consent.history import history_of, taken_away
from streams.consent.notified import Notified
from streams.consent.record import take_ups_of
from streams.consent.view import Consents
from streams.consent.words import GIVEN, WITHDRAWN, Pairing, Word
from streams.errors import InputError
from streams.policy.load import load
from streams.policy.notice import notice_of
from streams.policy.policy import Policy
from streams.queries.declared import SHIPPED_SYSTEM
from streams.queries.heeded import PassedAfter, TakenUp
from streams.sealing.key_store import KeyStore
from streams.worker.sealing import recognise

SERVICE, TRAINING = "dpv:RequestedServiceProvision", "ai:ModelTraining"
BOTH = (TRAINING, SERVICE)
HOUSEHOLD, CLINIC = load("household"), load("clinic")
#: 2026-09-21T14:00:00Z.
T0_NS = 1_789_999_200 * 10**9
MINUTE_NS = 60 * 10**9


NOTICE, EARLIER = notice_of(HOUSEHOLD).version, "00aa11bb22cc33dd"


def word(
    number: int, at_min: int, *purposes: str, ends_min: int = 0, device: str = "g1", notice: str = ""
) -> Word:
    status = GIVEN if purposes else WITHDRAWN
    ends_ns = T0_NS + ends_min * MINUTE_NS if ends_min else 0
    incarnation = int(bool(device))
    return Word(device, incarnation, number, status, purposes, ends_ns, T0_NS + at_min * MINUTE_NS, notice)


HER_MARK = "her mark"
#: She gives, takes training back, gives again until the evening, is forgotten, and has an operator withdraw.
LIFE: tuple[Word | Erasure | Pairing, ...] = (
    Pairing("g1", True, T0_NS),
    word(1, 0, *BOTH),
    word(2, 20, SERVICE, notice=EARLIER),
    word(3, 60, *BOTH, ends_min=240, notice=EARLIER),
    Erasure(HER_MARK, 0, T0_NS + 90 * MINUTE_NS),
    word(4, 300, SERVICE, notice=NOTICE),
    word(0, 360, device=""),
    Pairing("g2", True, T0_NS + 400 * MINUTE_NS),
)
#: Notices of before and of now, the latter shown on her first device and on none of the others.
NOTIFIED = {
    ("g1", "w1", EARLIER): Notified(T0_NS + MINUTE_NS, T0_NS + 2 * MINUTE_NS),
    ("g1", "w1", NOTICE): Notified(T0_NS + 290 * MINUTE_NS, T0_NS + 291 * MINUTE_NS),
}


def topic(mark: str = HER_MARK, erased_as: str = HER_MARK) -> Consents:
    consents = Consents((lambda _: mark) if mark else None)
    for statement in LIFE:
        if isinstance(statement, Erasure):
            consents.learn(consents.offset, "", structs.replace(statement, mark=erased_as))
        else:
            consents.learn(consents.offset, "w1", statement)
    return consents


def life(mark: str = "her mark", policies: tuple[tuple[int, Policy], ...] = ((0, HOUSEHOLD),)) -> Answered:
    """The answer with a store, whose partitions took 4 ms to hear of each word and let one answer pass."""
    consents = topic(mark)
    history = history_of(consents, "w1", T0_NS + 600 * MINUTE_NS)
    heeded = [
        Heeded(
            taken_up_ns=each.at_ns + 4_000_000 if each.by else 0,
            by_all_ns=each.at_ns + 150_000_000 if each.by else 0,
            partitions=4 if each.by else 0,
            passed=PassedAfter(2, each.at_ns + 271_000_000, "g1/answer/7")
            if each.by == "operator"
            else PassedAfter(0, 0, ""),
        )
        for each in taken_away(history)
    ]
    states = notice_states(consents, NOTIFIED, notice_of(policies[-1][1]).version, T0_NS + 600 * MINUTE_NS)
    return answered("w1", consents, history, policies, SHIPPED_SYSTEM, states, heeded)


def told(answer: Answered) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as text:
        say_consent(answer)
    return text.getvalue()


def test_people_read_when_what_held_and_what_stopped() -> None:
    lines = told(life()).splitlines()
    assert [" ".join(line.split()) for line in lines] == [
        "wearer w1",
        "devices g1, g2",
        f"policy household {HOUSEHOLD.version}",
        "controller nobody named",
        f"notice {NOTICE}",
        "erased until 2026-09-21T15:30:00Z",
        "",
        "in force",
        "record purposes notice since until expires ended by",
        f"g1 1 {TRAINING} {SERVICE} not named 2026-09-21T14:00:00Z 2026-09-21T14:20:00Z narrowed g1 2",
        f"g1 2 {SERVICE} {EARLIER} 2026-09-21T14:20:00Z 2026-09-21T15:00:00Z replaced g1 3",
        f"g1 3 {TRAINING} {SERVICE} {EARLIER} 2026-09-21T15:00:00Z 2026-09-21T15:30:00Z 2026-09-21T18:00:00Z"
        " erased operator",
        f"g1 3 {TRAINING} {SERVICE} {EARLIER} 2026-09-21T15:30:00Z 2026-09-21T18:00:00Z"
        " 2026-09-21T18:00:00Z expired",
        f"g1 4 {SERVICE} {NOTICE} 2026-09-21T19:00:00Z 2026-09-21T20:00:00Z withdrawn operator",
        "",
        "taken back",
        "at by how purposes devices stops",
        f"2026-09-21T14:20:00Z g1 2 narrowed {TRAINING} g1 training-run",
        f"2026-09-21T18:00:00Z expired {TRAINING} {SERVICE} g1 {_EVERY}, training-run, store",
        f"2026-09-21T20:00:00Z operator withdrawn {SERVICE} g1 {_EVERY}, store",
        "",
        "Each stops for every record that a partition reads after it took the word up, whenever the record"
        " was captured; what expired stops at that time, by the broker's clock.",
        "What is in these zones goes on without consent, or is only logged: device, rights.",
        "",
        "heeded",
        "at taken_up by_all partitions passed_after last_passed s_after_the_word",
        "2026-09-21T14:20:00Z 2026-09-21T14:20:00Z 2026-09-21T14:20:00Z 4 0 0",
        "2026-09-21T18:00:00Z 0 0 0",
        "2026-09-21T20:00:00Z 2026-09-21T20:00:00Z 2026-09-21T20:00:00Z 4 2 2026-09-21T20:00:00Z 0.271",
        "",
        "notices",
        "wearer device notice state delivered acknowledged consent_under ask_again",
        f"w1 g1 {NOTICE} acknowledged 2026-09-21T18:50:00Z 2026-09-21T18:51:00Z",
        f"w1 g2 {NOTICE} due",
    ]


_EVERY = "glasses.zoned, processing, glasses.derived, assistant, glasses.answers, feedback, glasses.examples"


def test_programs_read_the_same() -> None:
    answer = orjson.loads(orjson.dumps(plain(life())))
    assert [row["record"] for row in answer["intervals"]] == ["g1 1", "g1 2", "g1 3", "g1 3", "g1 4"]
    assert answer["intervals"][3] == {
        "record": "g1 3",
        "purposes": list(BOTH),
        "since": "2026-09-21T15:30:00.000000Z",
        "until": "2026-09-21T18:00:00.000000Z",
        "expires": "2026-09-21T18:00:00.000000Z",
        "ended": "expired",
        "begun_by": "operator",
        "notice": EARLIER,
    }
    back = answer["taken_back"]
    assert [stop["sink"] for stop in back[0]["stops"]] == ["training-run"]
    assert back[0]["left"] == [SERVICE]
    assert back[0]["again"] == "2026-09-21T15:00:00.000000Z"
    assert back[2]["heeded"] == {
        "taken_up": "2026-09-21T20:00:00.004000Z",
        "by_all": "2026-09-21T20:00:00.150000Z",
        "partitions": 4,
        "events": 2,
        "last": "2026-09-21T20:00:00.271000Z",
        "id": "g1/answer/7",
    }
    assert answer["erased"] == ["2026-09-21T15:30:00.000000Z"]
    assert [row["missing"][0] for row in answer["records"]] == [
        "privacy notice",
        *["pii controllers"] * 3,
    ]
    assert answer["notices"] == [
        {
            "wearer": "w1",
            "device": "g1",
            "notice": NOTICE,
            "state": "acknowledged",
            "delivered": "2026-09-21T18:50:00.000000Z",
            "acknowledged": "2026-09-21T18:51:00.000000Z",
            "ask_again": False,
        },
        {"wearer": "w1", "device": "g2", "notice": NOTICE, "state": "due", "ask_again": False},
    ]


def test_a_record_is_of_the_policy_that_was_in_force_then() -> None:
    # The clinic came between the second and the third word.
    policies = ((T0_NS + 10 * MINUTE_NS, HOUSEHOLD), (T0_NS + 30 * MINUTE_NS, CLINIC))
    answer = life(policies=policies)
    assert [record.get("dct:source") for record in answer.receipt["dpv:hasRecordOfActivity"]] == [
        None,
        f"policy household {HOUSEHOLD.version}",
        f"policy clinic {CLINIC.version}",
        f"policy clinic {CLINIC.version}",
    ]
    assert answer.policy is CLINIC
    assert [each.state for each in answer.notices] == ["outdated", "due"], "the clinic's says something else"


def test_without_the_key_store_it_is_said_that_erasures_are_left_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    say_consent(life(mark=""))
    printed = capsys.readouterr()
    assert "erased" not in printed.out
    assert printed.err == (
        "left out: erasures on glasses.consents (1), for without the key store nothing tells whose they are;"
        " name it with --keys\n"
    )
    assert plain(life(mark=""))["erasures_untold"] == 1


def test_another_key_store_than_the_topics_is_refused_and_not_taken_for_one_of_nobody(
    tmp_path: Path,
) -> None:
    own, other = KeyStore.made(tmp_path / "own"), KeyStore.made(tmp_path / "other")
    consents = topic("", own.mark_of("w1"))
    with pytest.raises(InputError, match=f"found key store {other.id.hex()}, and an erasure .* --keys"):
        recognise(consents, tmp_path / "other", "w1")
    recognise(consents, tmp_path / "own", "w1")
    assert history_of(consents, "w1", T0_NS + 600 * MINUTE_NS).erased_ns


def test_take_ups_are_those_of_the_word() -> None:
    back = taken_away(history_of(topic(), "w1", T0_NS + 600 * MINUTE_NS))[0]
    (text,) = take_ups_of([("w2", word(2, 20, SERVICE)), ("w1", word(2, 20, SERVICE))])
    (others,) = take_ups_of([("w1", word(3, 60, *BOTH)), ("w2", word(2, 20, SERVICE))])
    rows = [
        TakenUp("glasses", 1, 7, others),
        TakenUp("glasses", 3, 9, text),
        TakenUp("training", 0, 8, text),
        TakenUp("glasses", 3, 11, text),
    ]
    none = PassedAfter(0, 0, "")
    assert heeding(rows, none, "w1", back) == Heeded(taken_up_ns=8, by_all_ns=9, partitions=2, passed=none)
    nobody = Heeded(taken_up_ns=0, by_all_ns=0, partitions=0, passed=none)
    assert heeding(rows[:1], none, "w1", back) == nobody
    hidden = Heeded(taken_up_ns=None, by_all_ns=None, partitions=None, passed=none)
    assert heeding(None, none, "w1", back) == hidden


def test_what_a_role_is_not_shown_is_said() -> None:
    answer = life()
    hidden = [
        Heeded(taken_up_ns=None, by_all_ns=None, partitions=None, passed=each.passed)
        for each in answer.heeded
    ]
    answer = replace(answer, heeded=hidden)
    assert told(answer).count("not shown") == 3
    taken: Any = plain(answer)["taken_back"]
    assert "partitions" not in taken[0]["heeded"]


def states(*words: Word, version: str = NOTICE, at_min: int = 30) -> NoticeState:
    """The state of her only device after some words, which has the notice of now."""
    consents = Consents()
    consents.learn(0, "w1", Pairing("g1", True, T0_NS))
    for each in words:
        consents.learn(consents.offset, "w1", each)
    notified = {("g1", "w1", NOTICE): Notified(T0_NS, T0_NS + MINUTE_NS)}
    (state,) = notice_states(consents, notified, version, T0_NS + at_min * MINUTE_NS)
    return state


def test_who_consented_under_other_words_is_asked_again() -> None:
    assert not states(word(1, 0, *BOTH, notice=NOTICE)).waits
    assert states(word(1, 0, *BOTH, notice=EARLIER)).ask_again
    unnamed = states(word(1, 0, *BOTH))
    assert (unnamed.ask_again, unnamed.consent_under) == (True, "")
    again = states(word(1, 0, *BOTH, notice=EARLIER), word(2, 9, *BOTH, notice=NOTICE))
    assert (again.ask_again, again.consent_under) == (False, NOTICE)
    # What is withdrawn, by whomever, or has ended needs no new question.
    for last in (word(2, 9), word(0, 9, device=""), word(2, 9, SERVICE, ends_min=20, notice=EARLIER)):
        ended = states(word(1, 0, *BOTH, notice=EARLIER), last)
        assert (ended.ask_again, ended.consent_under) == (False, None)
    assert states(word(1, 0, *BOTH, notice=NOTICE), version=EARLIER).state == "outdated"


def test_devices_that_wait_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    say_waiting(life().notices, as_json=False)
    assert [line.split()[:4] for line in capsys.readouterr().out.splitlines()[1:]] == [
        ["w1", "g2", NOTICE, "due"]
    ]
    say_waiting(life().notices, as_json=True)
    assert [row["device"] for row in orjson.loads(capsys.readouterr().out)] == ["g2"]
    say_waiting([states(word(1, 0, *BOTH, notice=NOTICE))], as_json=False)
    assert capsys.readouterr().out == "every device has shown the notice to its wearers (1)\n"
