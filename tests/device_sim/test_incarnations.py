"""A device without a journal that the broker knows begins a new incarnation, and uses no number again."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import orjson
import pytest

from device_sim import gateway, incarnations, runner
from device_sim.incarnations import INCARNATION_MAX, Incarnations, next_incarnations
from device_sim.runner import Simulation
from streams.errors import InputError, UnavailableError
from streams.events import journal
from streams.events.record import StoredRecord
from streams.topology import CAPTURED, CONSENTS
from tests.device_sim.play import Kafka, batches, options


def stored(key: str, event: str = "", value: object = None) -> StoredRecord:
    headers = (("ce_id", event.encode()),) if event else ()
    return StoredRecord(0, 0, key.encode(), orjson.dumps(value), headers)


def said(event: str) -> StoredRecord:
    return stored(f"w1/{event}", value={"v": 2, "wearer": "w1", "event": event})


@pytest.mark.parametrize(
    ("captured", "consents", "expected"),
    [
        ([], [], 1),
        ([stored("g2", "g2/imu-right~7/0")], [said("g2/consent-change~7/0")], 1),
        ([stored("g1", "g1/imu-right/40")], [], 2),
        ([stored("g1", "g1/imu-right~3/40"), stored("g1", "g1/gaze~2/0")], [], 4),
        ([], [said("g1/consent-change/0")], 2),
        ([stored("g1", "g1/imu-right/40")], [said("g1/consent-change~5/2"), said("g1/consent-change/0")], 6),
        ([stored("g1")], [], 2),
        ([stored("g1", "what is this?")], [], 2),
        ([stored("g1", "g9/imu-right~9/1")], [], 2),
        ([stored("\x00")], [stored("w1/operator/1", value={"v": 2, "device": "", "event": "operator/1"})], 1),
        ([], [stored("pairing/g1/w1", value={"v": 2, "pairing": {"device": "g1", "wearer": "w1"}})], 1),
        ([], [stored("x", value=[]), stored("x", value={"event": 7}), StoredRecord(0, 0, None, None)], 1),
    ],
)
def test_the_highest_that_the_broker_has_and_one_more(
    captured: list[StoredRecord], consents: list[StoredRecord], expected: int
) -> None:
    known = Incarnations(["g1"])
    for record in captured:
        known.captured(record)
    for record in consents:
        known.consent(record)
    assert known.next("g1") == expected


def test_there_is_a_last_one() -> None:
    known = Incarnations(["g1"])
    known.captured(stored("g1", f"g1/imu-right~{INCARNATION_MAX}/0"))
    with pytest.raises(InputError, match="have reached 999999, the last there is"):
        known.next("g1")


async def test_another_journal_begins_another_incarnation_and_goes_on_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = {CAPTURED: [stored("g1", "g1/imu-right/40")], CONSENTS: [said("g1/consent-change~2/0")]}
    links: list[Kafka] = []

    def link(*arguments: object) -> Kafka:
        links.append(partial(Kafka, stored=held)(*arguments))  # type: ignore[arg-type]
        return links[-1]

    monkeypatch.setattr(gateway, "KafkaLink", link)
    monkeypatch.setattr(runner, "ANSWER_WAIT_S", 0.0)
    asked = options(tmp_path, duration_s=4.0, speed=float("inf"), broker="nobody:1")
    await Simulation(asked).run()
    assert links[-1].looked == [CONSENTS, CAPTURED]
    found = batches(tmp_path / "g1.jsonl")
    assert {batch.stream.partition("~")[2] for batch in found} == {"3"}
    assert [batch.columns["consent"] for batch in found if batch.kind == "consent_change"] == [[1]]
    assert {batch.stream.partition("~")[2] for batch in batches(tmp_path / "g2.jsonl")} == {""}
    await Simulation(asked).run()
    assert links[-1].looked == [], "the journals know"
    for stream in {sent.stream for sent in journal.sent(tmp_path / "g1.jsonl")}:
        numbers = [n for batch in batches(tmp_path / "g1.jsonl") if batch.stream == stream for n in batch.run]
        assert stream.endswith("~3")
        assert numbers == list(range(len(numbers)))


async def test_too_little_time_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    link = Kafka("nobody:1", 4, ["g1"], lambda *_: None, None)
    unread = {CONSENTS: 0, CAPTURED: 7}

    async def look(topic: str, partition: int, take: object, until_s: float) -> int:
        return unread[topic]

    monkeypatch.setattr(link, "look", look)
    assert await next_incarnations(link, ["g1"]) == {"g1": 1}  # type: ignore[arg-type]
    assert (
        "the oldest 7 records of glasses.captured partition 0 were not looked at within 10 s" in caplog.text
    )
    unread[CONSENTS] = 1
    monkeypatch.setattr(incarnations, "LOOK_WAIT_S", 3.0)
    with pytest.raises(
        UnavailableError, match=r"glasses\.consents on nobody:1 could not be read whole within 3 s"
    ):
        await next_incarnations(link, ["g1"])  # type: ignore[arg-type]


@pytest.mark.parametrize(("stream", "heard"), [("answer", False), ("answer~2", True), ("answer~3", False)])
def test_a_device_hears_the_answers_to_its_own_queries_only(tmp_path: Path, stream: str, heard: bool) -> None:
    run = Simulation(options(tmp_path, devices=1, broker="nobody:1"))
    device = run.devices["g1"]
    device.begin_incarnation(2)
    while not device.wearer.waits:
        device.period()
    said = {"device_id": "g1", "stream": stream, "first": 0, "n": 1, "columns": {"intent": ["x"]}}
    run._answered(orjson.dumps(said))
    late_ns = 2**62  # whenever that is: the run has not begun to count its time
    assert bool(device.wearer.due(late_ns)) is heard
    run._gateway.close_journals()
