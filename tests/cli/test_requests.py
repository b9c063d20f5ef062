"""Which erasure requests are open: those of wearers who are not erased since, each wearer once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from streams.cli.rights.requests import Open
from streams.consent.erased import Erasure
from streams.consent.view import Consents
from streams.errors import InputError
from streams.events.record import StoredRecord
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


def request_record(device: str = "g1", first: int = 3, **span: list[int | None]) -> StoredRecord:
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
    assert asking.wearers(asked) == {"w1": TAKEN - S_NS, "w2": TAKEN}


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
    assert asking.wearers(asked) == {"w2": TAKEN}, "that of w8 is an operator's"


def test_another_key_store_is_refused(asking: Open, tmp_path: Path) -> None:
    other = KeyStore.made(tmp_path / "other")
    with pytest.raises(InputError, match="found key store"):
        states(asking, topic((other.mark_of("w1"), TAKEN)))


@pytest.mark.parametrize(
    ("on_topic", "state"),
    [
        (request_record(), ""),
        (request_record(from_ns=[None, None]), ""),
        (request_record(from_ns=[None, 5]), "by hand: it names a span of time"),
        (request_record(to_ns=[None, 5]), "by hand: it names a span of time"),
        (request_record(from_ns=[5, None], to_ns=[5, None]), ""),
        (request_record("g2"), GONE),
        (request_record(first=5), GONE),
        (StoredRecord(0, 1, b"g1", b"no batch"), GONE),
        (InputError("Offset 4 lies outside the log"), GONE),
        (None, GONE),
    ],
)
def test_what_names_a_span_is_never_taken_for_all(
    on_topic: StoredRecord | InputError | None, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Number 4 is the second of its batch."""

    async def read(*_: object, **between: object) -> list[StoredRecord]:
        assert between == {"from_offsets": {2: 4}, "until_offsets": {2: 5}}
        if isinstance(on_topic, InputError):
            raise on_topic
        return [on_topic] if on_topic else []

    monkeypatch.setattr(by_hand, "read_all", read)
    asked = ErasureRequest(
        source="g1",
        stream="erasure-request",
        number=4,
        wearer="w1",
        t_ns=1,
        asked_ns=1,
        rule="",
        partition=2,
        offset=4,
    )
    broker = KafkaSettings("localhost:1")
    assert asyncio.run(by_hand.why_by_hand(broker, build.CODEC, asked)) == state
