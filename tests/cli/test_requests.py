"""Which erasure requests are open: those of wearers who are not erased since, each wearer once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from streams.cli.rights.requests import Asked, Due, Open
from streams.consent.erased import ALL, Erasure, Scope
from streams.consent.view import Consents
from streams.errors import InputError
from streams.events.record import StoredRecord
from streams.policy.policy import DAY_NS
from streams.queries.requested import ErasureRequest, erasure_requests
from streams.sealing.key_store import KeyStore
from streams.settings.kafka import KafkaSettings
from streams.worker import by_hand
from streams.worker.erasure_models import Place
from tests import build
from tests.snapshots.build import POLICY, Row, batch, row, stream, tagged
from tests.snapshots.build import store as stored

S_NS = 10**9
#: Capture and append time of the requests, in seconds.
CAPTURED, TAKEN = 100 * S_NS, 103 * S_NS


GONE = "by hand: its record is gone from glasses.captured"
ENDS = "by hand: it names a span of time that ends"
WITHIN = "by hand: it names a time within 2024-10-04, and days are erased whole"


def request_record(device: str = "g1", first: int = 3, **span: list[float | None]) -> StoredRecord:
    """Two requests of one batch, as a device sends them."""
    columns: dict[str, Sequence[object]] = {
        "reason": ["moved-out"] * 2,
        "from_ns": [None] * 2,
        "to_ns": [None] * 2,
        **span,
    }
    sent = build.batch("erasure_request", None, first, 2, source=device, columns=columns, consent=0)
    return build.record(sent, 4)


def request(device: str, wearer: str, first: int = 0, **columns: object) -> Row:
    times = {"t_first_ns": CAPTURED, "t_last_ns": CAPTURED, "appended_ns": TAKEN}
    asked = {**tagged("erasure_request", "rights"), "wearer": wearer, **times, **columns}
    return batch(device, "erasure-request", first, **asked)


@pytest.fixture
def asking(tmp_path: Path) -> Open:
    refused = row(
        "rejected", source="g9", stream="erasure-request", first=0, stage="zones", rule="pairing", t_ns=TAKEN
    )
    events = [
        request("g1", "w1"),
        request("g2", "w1", first=4, count=2, appended_ns=TAKEN - S_NS),
        request("g3", "w2"),
        batch("g4", "imu-right", 0, wearer="w4"),
    ]
    streams = [stream(name, "erasure-request", "erasure_request") for name in ("g1", "g2", "g3")]
    path = stored(
        tmp_path / "store",
        {"events": events, "rejected": [refused], "streams": streams, "policies": [POLICY]},
    )
    place = Place(KafkaSettings("localhost:1"), tmp_path, build.CODEC, None)
    return Open(place, (path,), KeyStore.made(tmp_path / "keys"))


def topic(*erasures: tuple[str, int]) -> Consents:
    consents = Consents()
    for number, (mark, at_ns) in enumerate(erasures):
        consents.learn(number, "", Erasure(mark, number, at_ns))
    return consents


def states(asking: Open, consents: Consents) -> dict[str, str]:
    asked = asking.judged(erasure_requests(asking.stores), consents)
    return {each.request.id: each.state for each in asked}


def test_each_request_has_its_state_and_each_wearer_is_erased_once(asking: Open) -> None:
    asked = asking.judged(erasure_requests(asking.stores), topic())
    assert {each.request.id: each.state for each in asked} == {
        "g1/erasure-request/0": "open",
        "g2/erasure-request/4": "open",
        "g2/erasure-request/5": "open",
        "g3/erasure-request/0": "open",
        "g9/erasure-request/0": "refused: pairing",
    }
    # Of several the first that came: the broker's time counts.
    assert asking.wearers(asked) == {"w1": Due(TAKEN - S_NS, ALL), "w2": Due(TAKEN, ALL)}


@pytest.mark.parametrize(
    ("erased_ns", "state"),
    [(CAPTURED - 1, "open"), (CAPTURED, "erased"), (TAKEN, "erased")],
)
def test_an_erasure_of_after_the_request_answers_it_whoever_asked(
    asking: Open, erased_ns: int, state: str
) -> None:
    consents = topic((asking.keys.mark_of("w2"), erased_ns), (asking.keys.mark_of("w7"), 10 * TAKEN))
    assert states(asking, consents)["g3/erasure-request/0"] == state
    assert states(asking, consents)["g1/erasure-request/0"] == "open"


def test_an_erasure_that_left_what_is_older_answers_nothing(asking: Open) -> None:
    consents = Consents()
    consents.learn(0, "", Erasure(asking.keys.mark_of("w2"), 0, 2 * TAKEN, CAPTURED - 1))
    assert states(asking, consents)["g3/erasure-request/0"] == "open"


def test_what_was_interrupted_goes_on_although_the_request_is_answered(asking: Open) -> None:
    keys = asking.keys
    keys.erasures.request("w2", keys.mark_of("w2"), TAKEN, "device")
    keys.erasures.request("w8", keys.mark_of("w8"), TAKEN)
    asked = asking.judged(
        erasure_requests(asking.stores),
        topic((keys.mark_of("w1"), 2 * TAKEN), (keys.mark_of("w2"), 2 * TAKEN)),
    )
    assert asking.wearers(asked) == {"w2": Due(TAKEN, None)}, "that of w8 is an operator's"


def test_another_key_store_is_refused(asking: Open, tmp_path: Path) -> None:
    other = KeyStore.made(tmp_path / "other")
    with pytest.raises(InputError, match="found key store"):
        states(asking, topic((other.mark_of("w1"), TAKEN)))


#: Beginning of a day, and a request on a later one.
DAY = 20_000 * DAY_NS
ASKED_NS = DAY + 2 * DAY_NS + 5


def asked_at(asked_ns: int, wearer: str = "w1") -> ErasureRequest:
    """Number 4 of g1, at offset 4 of partition 2."""
    return ErasureRequest(
        source="g1",
        stream="erasure-request",
        number=4,
        wearer=wearer,
        t_ns=asked_ns - 1,
        asked_ns=asked_ns,
        rule="",
        partition=2,
        offset=4,
    )


@pytest.mark.parametrize(
    ("on_topic", "since_ns", "state"),
    [
        (request_record(), 0, ""),
        (request_record(from_ns=[None, None]), 0, ""),
        (request_record(from_ns=[None, 0]), 0, ""),
        (request_record(from_ns=[None, DAY]), DAY, ""),
        (request_record(from_ns=[None, float(DAY)]), DAY, ""),
        (request_record(from_ns=[None, ASKED_NS - 5]), ASKED_NS - 5, ""),
        (request_record(from_ns=[DAY, None]), 0, ""),
        (request_record(from_ns=[None, DAY + 1]), 0, WITHIN),
        (request_record(from_ns=[None, DAY - 1]), 0, WITHIN.replace("2024-10-04", "2024-10-03")),
        (request_record(from_ns=[None, DAY + 3 * DAY_NS]), 0, "by hand: it names a time to come"),
        (request_record(to_ns=[None, 5]), 0, ENDS),
        (request_record(from_ns=[None, DAY], to_ns=[None, ASKED_NS]), 0, ENDS),
        (request_record(from_ns=[5, None], to_ns=[5, None]), 0, ""),
        (request_record("g2"), 0, GONE),
        (request_record(first=5), 0, GONE),
        (StoredRecord(0, 1, b"g1", b"no batch"), 0, GONE),
        (InputError("Offset 4 lies outside the log"), 0, GONE),
        (None, 0, GONE),
    ],
)
def test_more_than_what_was_asked_for_is_never_erased(
    on_topic: StoredRecord | InputError | None, since_ns: int, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Number 4 is the second of its batch. Days are erased whole, so a part of one is nobody's to round."""
    lies_on_topic(monkeypatch, on_topic)
    broker = KafkaSettings("localhost:1")
    found = asyncio.run(by_hand.wanted(broker, build.CODEC, asked_at(ASKED_NS)))
    assert found == (since_ns, state)


def lies_on_topic(monkeypatch: pytest.MonkeyPatch, on_topic: StoredRecord | InputError | None) -> None:
    async def read(*_: object, **between: object) -> list[StoredRecord]:
        assert between == {"from_offsets": {2: 4}, "until_offsets": {2: 5}}
        if isinstance(on_topic, InputError):
            raise on_topic
        return [on_topic] if on_topic else []

    monkeypatch.setattr(by_hand, "read_all", read)


@pytest.mark.parametrize(
    ("since_ns", "until_ns", "state"),
    [
        (0, ASKED_NS - 1, "erased"),
        (DAY - DAY_NS, ASKED_NS - 1, "erased"),
        (DAY, ASKED_NS - 1, "erased"),
        (DAY, ASKED_NS - 2, "open"),
        (DAY + DAY_NS, ASKED_NS, "open"),
    ],
)
def test_a_request_since_a_day_is_answered_by_an_erasure_of_all_of_that(
    asking: Open, since_ns: int, until_ns: int, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    consents = Consents()
    consents.learn(0, "", Erasure(asking.keys.mark_of("w1"), 0, until_ns, since_ns))
    lies_on_topic(monkeypatch, request_record(from_ns=[None, DAY]))

    consents.mark = asking.keys.mark_of
    asked = asyncio.run(asking._wanted(Asked(asked_at(ASKED_NS), "open"), consents))
    assert asked.state == state
    assert asking.wearers([asked]) == ({"w1": Due(ASKED_NS, Scope(DAY))} if state == "open" else {})


def test_several_requests_of_a_wearer_are_one_erasure_of_the_longest_and_an_interrupted_one_goes_first(
    asking: Open,
) -> None:
    later, all_of_it = Asked(asked_at(ASKED_NS, "w1"), "open", DAY), Asked(asked_at(7, "w2"), "open", 0)
    more = [
        Asked(asked_at(ASKED_NS + 9, "w1"), "open", DAY - DAY_NS),
        Asked(asked_at(ASKED_NS, "w2"), "open", DAY),
        Asked(asked_at(ASKED_NS, "w3"), "by hand: why", 0),
    ]
    due = {"w1": Due(ASKED_NS, Scope(DAY - DAY_NS)), "w2": Due(7, ALL)}
    assert asking.wearers([later, all_of_it, *more]) == due
    asking.keys.erasures.request("w1", asking.keys.mark_of("w1"), TAKEN, "operator", Scope(DAY))
    assert asking.wearers([later]) == {"w1": Due(ASKED_NS, None)}
