"""Nothing leaves a device under a consent before Kafka has the change, and in the end everything leaves."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_sim import gateway, runner, scenarios
from device_sim.device import Captured, Clock, Device, Past
from device_sim.files import Journal
from device_sim.held import Held
from device_sim.link import NONE, Faults, Link
from device_sim.outbox import Outbox
from device_sim.playback import timeline
from device_sim.runner import Simulation
from device_sim.wearer import Queries, Wearer
from streams.events import journal
from streams.events.batch import Batch
from streams.events.journal import Sent
from tests import build
from tests.device_sim.play import START_NS, Kafka, batches, options, under_consent_too_early

SECOND_NS = 10**9
SMOKE = scenarios.load("smoke")
FAULTS = st.builds(
    Faults,
    repeat=st.floats(0, 1),
    delay=st.floats(0, 1),
    swap=st.floats(0, 1),
    delay_max_ns=st.integers(0, 3 * SECOND_NS),
    outage_from_ns=st.integers(0, 6 * SECOND_NS),
    outage_ns=st.integers(0, 6 * SECOND_NS),
)


def named(batch: Batch) -> set[int]:
    return {context.consent for _, _, context in batch.spans() if context is not None} - {0}


def gives(batch: Batch) -> set[int]:
    return set(batch.columns["consent"]) if batch.kind == "consent_change" else set()


def device() -> Device:
    wearer = Wearer("g1", SMOKE.talk, Queries("nlu-queries", 1, 0, 1), 1, hears_answers=False)
    sampled = partial(timeline, SMOKE, 0, 1)
    return Device("g1", "w1", SMOKE, sampled, wearer, past=Past(), clock=Clock(START_NS), seed=1)


def captured(found: list[Captured], kind: str) -> Captured:
    return next(one for one in found if one.batch.kind == kind)


@settings(max_examples=60, deadline=None)
@given(faults=FAULTS, seed=st.integers(0, 99), slowness=st.integers(1, 12))
def test_no_batch_leaves_under_a_consent_that_kafka_has_not_and_all_leave(
    faults: Faults, seed: int, slowness: int
) -> None:
    draw, glasses, on_record = random.Random(seed), device(), {0}
    left: list[Sent] = []
    unacknowledged: list[Sent] = []

    def send(sent: Sent) -> None:
        assert named(build.CODEC.decode(sent.value, 0)) <= on_record, sent.id
        left.append(sent)
        unacknowledged.append(sent)

    with TemporaryDirectory() as directory:
        outbox = Outbox(Journal(Path(directory), "g1"), Link(faults, seed, "g1"), send)

        def acknowledge() -> None:
            sent = unacknowledged.pop(0)
            on_record.update(gives(build.CODEC.decode(sent.value, 0)))
            outbox.acknowledged(sent, 0, 0, None)

        for _ in range(60):
            outbox.write(glasses.period(), START_NS)
            outbox.forward(glasses.elapsed_ns, glasses.now_ns)
            while unacknowledged and not draw.randrange(slowness):
                acknowledge()
        outbox.drain()
        outbox.write(glasses.end(), START_NS)
        outbox.forward(glasses.elapsed_ns, glasses.now_ns)
        while unacknowledged:
            acknowledge()
        sent = [one.id for one in journal.sent(outbox.journal.path)]
        outbox.journal.close()
    assert outbox.waiting == 0
    assert {one.id for one in left} == set(sent)
    assert left[-1].id == sent[-1], "the end of the session is the last to leave"


@settings(max_examples=40, deadline=None)
@given(faults=FAULTS, seed=st.integers(0, 99))
def test_without_a_broker_the_change_arrives_first(faults: Faults, seed: int) -> None:
    glasses = device()
    with TemporaryDirectory() as directory:
        outbox = Outbox(Journal(Path(directory), "g1"), Link(faults, seed, "g1"), None)
        for _ in range(40):
            outbox.write(glasses.period(), START_NS)
            outbox.forward(glasses.elapsed_ns, glasses.now_ns)
        outbox.drain()
        outbox.journal.close()
        arrived = [build.CODEC.decode(one.value, 0) for _, one in journal.arrivals(outbox.journal.path)]
        assert {one.first_id for one in arrived} == {one.first_id for one in batches(outbox.journal.path)}
    assert outbox.waiting == 0
    change = next(at for at, batch in enumerate(arrived) if batch.kind == "consent_change")
    assert min(at for at, batch in enumerate(arrived) if named(batch)) > change


def test_what_stands_behind_a_batch_that_waits_waits_too() -> None:
    out = [one for period in [device()] for _ in range(20) for one in period.period()]
    first, change = captured(out, "device_state"), captured(out, "consent_change")
    asked = captured(out, "voice_query")
    held = Held()
    for number, one in enumerate((change, asked, first)):
        held.add(Sent(str(number), b"g1", b"", (), 0, 0, one.batch.stream, 0, 1), one.batch)
    assert [one.id for one in held.free()] == ["0"]
    assert held.free() == []
    assert (len(held), set(held.awaited)) == (2, {"0"})
    held.acknowledged("7")
    assert held.free() == []
    held.acknowledged("0")
    assert [one.id for one in held.free()] == ["1", "2"]


def test_a_number_that_nothing_in_front_recorded_holds_nothing_back() -> None:
    out = [one for period in [device()] for _ in range(20) for one in period.period()]
    held = Held()
    for number, kind in enumerate(("voice_query", "consent_change")):
        held.add(Sent(str(number), b"g1", b"", (), 0, 0, kind, 0, 1), captured(out, kind).batch)
    assert [one.id for one in held.free()] == ["0", "1"]


def test_a_change_that_is_swapped_with_nothing_goes_alone() -> None:
    link = Link(Faults(0, 0, 1.0), 1, "g1")
    change = Sent("g1/consent-change/0", b"g1", b"", (), 0, 0, "consent-change", 0, 1)
    assert link.pass_on([change], 0) == []
    assert link.pass_on([], 0) == []
    assert link.pass_on([], 200_000_000) == [change]


def links(monkeypatch: pytest.MonkeyPatch, takes: Callable[[Sent], bool] = lambda sent: True) -> list[Kafka]:
    """Every `KafkaLink` that a run makes from now on."""
    made: list[Kafka] = []

    def link(*arguments: Any) -> Kafka:
        made.append(Kafka(*arguments, takes=takes))
        return made[-1]

    monkeypatch.setattr(gateway, "KafkaLink", link)
    monkeypatch.setattr(runner, "ANSWER_WAIT_S", 0.0)
    return made


@pytest.mark.parametrize("faults", [False, True])
async def test_what_was_held_when_a_run_ended_is_sent_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faults: bool
) -> None:
    inf = float("inf")
    links(monkeypatch, lambda sent: sent.stream != "consent-change")
    asked = options(tmp_path, devices=1, duration_s=4.0, speed=inf, broker="nobody:1", faults=faults)
    summary = await Simulation(asked).run()
    found = batches(tmp_path / "g1.jsonl")
    under = [batch for batch in found if named(batch)]
    left = Journal(tmp_path, "g1")
    left.close()
    unacknowledged = [sent.id for sent in left.earlier.unacknowledged]
    assert summary.unacknowledged == len(unacknowledged) > len(under)
    assert {batch.first_id for batch in under} < set(unacknowledged)
    made = links(monkeypatch)
    summary = await Simulation(asked).run()
    assert summary.unacknowledged == 0
    assert {sent.id for sent in made[-1].sent} >= set(unacknowledged)
    assert under_consent_too_early(tmp_path / "g1.jsonl") == []


async def test_a_restart_knows_which_consents_kafka_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await Simulation(options(tmp_path, devices=1, duration_s=4.0)).run()
    made = links(monkeypatch, lambda sent: False)
    await Simulation(
        options(tmp_path, devices=1, duration_s=0.6, speed=float("inf"), broker="nobody:1")
    ).run()
    assert made[-1].sent
    assert all(named(build.CODEC.decode(sent.value, 0)) == {1} for sent in made[-1].sent)


async def test_devices_capture_nothing_more_until_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway, "BUFFER_BATCHES_MAX", 10)
    made = links(monkeypatch)
    asked = options(tmp_path, devices=1, duration_s=20.0, speed=float("inf"), broker="nobody:1")
    summary = await Simulation(asked).run()
    assert (summary.unacknowledged, summary.batches_sent) == (0, len(made[-1].sent))
    assert 10 <= made[-1].most < 20


async def test_a_crowd_behind_kafka_holds_the_devices_back_and_one_behind_the_radio_does_not(
    tmp_path: Path,
) -> None:
    sents: list[Sent] = []
    glasses = device()
    outbox = Outbox(Journal(tmp_path, "g1"), Link(Faults(0, 1, 0, 3 * SECOND_NS), 1, "g1"), sents.append)
    waited, crowds = [], []
    for _ in range(30):
        outbox.write(glasses.period(), START_NS)
        outbox.forward(glasses.elapsed_ns, glasses.now_ns)
        waited.append(outbox.waiting)
        crowds.append(outbox.behind_kafka)
    sent_at = next(i for i, crowd in enumerate(crowds) if crowd)
    assert waited[sent_at - 1] > 0, "the radio still had the change"
    assert crowds[sent_at:] == waited[sent_at:]
    change = next(sent for sent in sents if sent.stream == "consent-change")
    outbox.acknowledged(change, 0, 0, None)
    assert (outbox.waiting, outbox.behind_kafka) == (0, 0)
    outbox.journal.close()


def test_the_radio_is_well_once_it_is_drained() -> None:
    link = Link(Faults(0, 1.0, 0), 1, "g1")
    one = Sent("g1/imu-right/0", b"g1", b"", (), 0, 0, "imu-right", 0, 1)
    assert link.pass_on([one], 0) == []
    assert link.drain() == [one]
    assert link.pass_on([one], 0) == [one]
    assert link.faults == NONE
