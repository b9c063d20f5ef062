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

from streams.cli.rights.consent import Answered, Heeded, _mark, answered, heeding, plain, say_consent
from streams.consent.history import history_of, taken_away
from streams.consent.record import take_ups_of
from streams.consent.view import Consents
from streams.consent.words import GIVEN, WITHDRAWN, Erasure, Pairing, Word
from streams.errors import InputError
from streams.policy.load import load
from streams.policy.policy import Policy
from streams.queries.declared import SHIPPED_SYSTEM
from streams.queries.heeded import PassedAfter, TakenUp
from streams.sealing.key_store import KeyStore

SERVICE, TRAINING = "dpv:RequestedServiceProvision", "ai:ModelTraining"
BOTH = (TRAINING, SERVICE)
HOUSEHOLD, CLINIC = load("household"), load("clinic")
#: 2026-09-21T14:00:00Z.
T0_NS = 1_789_999_200 * 10**9
MINUTE_NS = 60 * 10**9


def word(number: int, at_min: int, *purposes: str, ends_min: int = 0, device: str = "g1") -> Word:
    status = GIVEN if purposes else WITHDRAWN
    ends_ns = T0_NS + ends_min * MINUTE_NS if ends_min else 0
    incarnation = int(bool(device))
    return Word(device, incarnation, number, status, purposes, ends_ns, T0_NS + at_min * MINUTE_NS)


HER_MARK = "her mark"
#: She gives, takes training back, gives again until the evening, is forgotten, and has an operator withdraw.
LIFE: tuple[Word | Erasure | Pairing, ...] = (
    Pairing("g1", True, T0_NS),
    word(1, 0, *BOTH),
    word(2, 20, SERVICE),
    word(3, 60, *BOTH, ends_min=240),
    Erasure(HER_MARK, 0, T0_NS + 90 * MINUTE_NS),
    word(4, 300, SERVICE),
    word(0, 360, device=""),
)


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
            partitions=4 if each.by else 0,
            passed=PassedAfter(2, each.at_ns + 271_000_000, "g1/answer/7")
            if each.by == "operator"
            else PassedAfter(0, 0, ""),
        )
        for each in taken_away(history)
    ]
    notices = {policy.version: "0123456789abcdef" for _, policy in policies}
    return answered("w1", consents, history, policies, SHIPPED_SYSTEM, notices, heeded)


def told(answer: Answered) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as text:
        say_consent(answer)
    return text.getvalue()


def test_people_read_when_what_held_and_what_stopped() -> None:
    lines = told(life()).splitlines()
    assert [" ".join(line.split()) for line in lines] == [
        "wearer w1",
        "devices g1",
        f"policy household {HOUSEHOLD.version}",
        "controller nobody named",
        "erased until 2026-09-21T15:30:00Z",
        "",
        "in force",
        "record purposes since until expires ended by",
        f"g1 1 {TRAINING} {SERVICE} 2026-09-21T14:00:00Z 2026-09-21T14:20:00Z narrowed g1 2",
        f"g1 2 {SERVICE} 2026-09-21T14:20:00Z 2026-09-21T15:00:00Z replaced g1 3",
        f"g1 3 {TRAINING} {SERVICE} 2026-09-21T15:00:00Z 2026-09-21T15:30:00Z 2026-09-21T18:00:00Z"
        " erased operator",
        f"g1 3 {TRAINING} {SERVICE} 2026-09-21T15:30:00Z 2026-09-21T18:00:00Z 2026-09-21T18:00:00Z expired",
        f"g1 4 {SERVICE} 2026-09-21T19:00:00Z 2026-09-21T20:00:00Z withdrawn operator",
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
        "at taken_up partitions passed_after last_passed s_after_the_word",
        "2026-09-21T14:20:00Z 2026-09-21T14:20:00Z 4 0 0",
        "2026-09-21T18:00:00Z 0 0 0",
        "2026-09-21T20:00:00Z 2026-09-21T20:00:00Z 4 2 2026-09-21T20:00:00Z 0.271",
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
    }
    back = answer["taken_back"]
    assert [stop["sink"] for stop in back[0]["stops"]] == ["training-run"]
    assert back[0]["left"] == [SERVICE]
    assert back[0]["again"] == "2026-09-21T15:00:00.000000Z"
    assert back[2]["heeded"] == {
        "taken_up": "2026-09-21T20:00:00.004000Z",
        "partitions": 4,
        "events": 2,
        "last": "2026-09-21T20:00:00.271000Z",
        "id": "g1/answer/7",
    }
    assert answer["erased"] == ["2026-09-21T15:30:00.000000Z"]
    assert [row["missing"][0] for row in answer["records"]] == ["pii controllers"] * 4


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
    assert "hasNotice" not in str(answer.receipt["dpv:hasRecordOfActivity"][0])
    assert answer.policy is CLINIC


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
        _mark(consents, tmp_path / "other", "w1")
    _mark(consents, tmp_path / "own", "w1")
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
    assert heeding(rows, none, "w1", back) == Heeded(taken_up_ns=8, partitions=2, passed=none)
    assert heeding(rows[:1], none, "w1", back) == Heeded(taken_up_ns=0, partitions=0, passed=none)
    assert heeding(None, none, "w1", back) == Heeded(taken_up_ns=None, partitions=None, passed=none)


def test_what_a_role_is_not_shown_is_said() -> None:
    answer = life()
    hidden = [Heeded(taken_up_ns=None, partitions=None, passed=each.passed) for each in answer.heeded]
    answer = replace(answer, heeded=hidden)
    assert told(answer).count("not shown") == 3
    taken: Any = plain(answer)["taken_back"]
    assert "partitions" not in taken[0]["heeded"]
