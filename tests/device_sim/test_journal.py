"""A device starts again from its journal: nothing used twice, nothing left out, the unacknowledged first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from device_sim import gateway, runner, scenarios
from device_sim.device import Past
from device_sim.files import Journal, read_answer
from device_sim.runner import Simulation
from streams.errors import InputError, UnavailableError
from streams.events import journal
from tests.device_sim.play import (
    START_NS,
    Kafka,
    batches,
    by_stream,
    forget_acknowledgements,
    options,
    play,
    truth,
)

SMOKE = scenarios.load("smoke")


@pytest.fixture(scope="module")
def journal_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    directory = tmp_path_factory.mktemp("journal")
    play(directory, devices=1, duration_s=6.0)
    return (directory / "g1.jsonl").read_bytes()


def test_the_next_run_goes_on(tmp_path: Path) -> None:
    play(tmp_path, devices=1, duration_s=45.0)
    before = (tmp_path / "g1.jsonl").read_bytes()
    play(
        tmp_path, devices=1, duration_s=10.0, start_ns=START_NS
    )  # the clock stands where it stood: capture times go on all the same
    assert (tmp_path / "g1.jsonl").read_bytes().startswith(before)
    found = batches(tmp_path / "g1.jsonl")
    for stream in by_stream(found).values():
        assert [batch.run.first for batch in stream] == [0, *(batch.run.last + 1 for batch in stream)][:-1]
        assert [batch.t0_ns for batch in stream] == sorted(batch.t0_ns for batch in stream)
    assert sorted({batch.session_id for batch in found}) == ["s1", "s2", "s3"]
    first_of_third = next(batch for batch in found if batch.session_id == "s3")
    assert first_of_third.columns["session"] == ["resumed"]
    assert first_of_third.consent == 1


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_journal_torn_anywhere_goes_on_whole(
    data: st.DataObject, journal_bytes: bytes, tmp_path: Path
) -> None:
    cut = data.draw(st.integers(0, len(journal_bytes)), label="cut")
    path = tmp_path / "g1.jsonl"
    path.write_bytes(journal_bytes[:cut])
    whole = len(list(journal.sent(path))) if cut else 0
    play(tmp_path, devices=1, duration_s=3.0)
    sent = list(journal.sent(path))
    assert len(sent) > whole
    assert len({each.id for each in sent}) == len(sent)
    acknowledged = {line["id"] for line in journal.lines(path) if line["line"] == "ack"}
    assert acknowledged == {each.id for each in sent}, "what the crash left on the way arrives too"
    for stream in by_stream(batches(path)).values():
        assert [batch.run.first for batch in stream] == [0, *(batch.run.last + 1 for batch in stream)][:-1]
    zones = truth(path)
    assert sorted(zones) == sorted((batch.stream, number) for batch in batches(path) for number in batch.run)
    assert all(len(claims) == 1 for claims in zones.values())


def test_without_a_broker_the_journal_says_in_which_order_the_radio_let_batches_through(
    tmp_path: Path,
) -> None:
    play(tmp_path, devices=1, duration_s=40.0, faults=True, seed=2)
    path = tmp_path / "g1.jsonl"
    sent = [one.id for one in journal.sent(path)]
    arrived = [one.id for _, one in journal.arrivals(path)]
    times = [time for time, _ in journal.arrivals(path)]
    assert times == sorted(times)
    assert set(arrived) == set(sent)
    assert len(arrived) > len(sent), "some came twice"
    assert list(dict.fromkeys(arrived)) != sent, "some came late"
    forget_acknowledgements(path)
    assert [one.id for _, one in journal.arrivals(path)] == sent


def test_what_was_not_acknowledged_is_found_in_order(tmp_path: Path) -> None:
    play(tmp_path, devices=1, duration_s=1.0)
    forget_acknowledgements(tmp_path / "g1.jsonl")
    sent = list(journal.sent(tmp_path / "g1.jsonl"))
    opened = Journal(tmp_path, "g1")
    assert list(opened.earlier.unacknowledged) == sent
    for each in sent[:3]:
        opened.acknowledged(each.id, 0, 5, START_NS, START_NS, START_NS)
    opened.close()
    again = Journal(tmp_path, "g1")
    again.close()
    assert list(again.earlier.unacknowledged) == sent[3:]
    assert again.earlier.past == Past(
        {"device-state": 2, "imu-right": 100, "location": 1},
        1,
        START_NS + 10**9,
        context=SMOKE.first_segments[0].context,
    )


async def test_the_unacknowledged_are_resent_first_with_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    links: list[Kafka] = []

    def link(*arguments: Any) -> Kafka:
        links.append(Kafka(*arguments))
        return links[-1]

    monkeypatch.setattr(gateway, "KafkaLink", link)
    await Simulation(options(tmp_path, devices=1, duration_s=4.0)).run()
    forget_acknowledgements(tmp_path / "g1.jsonl")
    journaled = list(journal.sent(tmp_path / "g1.jsonl"))
    opened = Journal(tmp_path, "g1")
    opened.acknowledged(journaled[0].id, 0, 0, START_NS, START_NS, START_NS)
    opened.close()
    run = Simulation(options(tmp_path, devices=1, duration_s=0.6, speed=10, broker="nobody:1"))
    monkeypatch.setattr(runner, "ANSWER_WAIT_S", 0.2)
    summary = await run.run()
    assert links[-1].sent[: len(journaled) - 1] == journaled[1:]
    assert links[-1].sent[len(journaled) - 1 :] == list(journal.sent(tmp_path / "g1.jsonl"))[len(journaled) :]
    assert (
        summary.batches_sent == len(links[-1].sent) - len(journaled) + 1 == 6
    )  # resumed, 3 x imu, location, ended
    query = next(each for each in journaled if each.stream == "voice-query")
    assert run.devices["g1"].wearer.waits, f"the answer to the resent {query.id} is expected"


def test_a_file_that_is_no_journal_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "g1.jsonl").write_text('{"line":"sent","id":"g1/x/0"}\n')
    with pytest.raises(InputError, match="found a line that is no device's journal line"):
        Journal(tmp_path, "g1")
    (tmp_path / "g2.jsonl").write_text("hello\n" * 3)
    with pytest.raises(InputError, match="line 1: found text that is not JSON"):
        Journal(tmp_path, "g2")
    with pytest.raises(InputError, match="found a file, expected a directory"):
        Journal(tmp_path / "g1.jsonl", "g1")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (
            b'{"stream":"answer-erasure-request","device_id":"g1","first":3,"n":1,"columns":{"intent":["erasure_request"]}}',
            [],
        ),
        (
            b'{"stream":"answer","device_id":"g1","first":3,"n":1,"columns":{"intent":["a"],"model_version":[1]}}',
            [("g1", "answer", 3, "a")],
        ),
        (
            b'{"stream":"answer~2","device_id":"g1","first":3,"n":2,"step":4,"columns":{"intent":["a","b"]}}',
            [("g1", "answer~2", 3, "a"), ("g1", "answer~2", 7, "b")],
        ),
        (b"{", []),
        (b"[]", []),
        (None, []),
        (b'{"device_id":"g1","columns":{"intent":["a"]}}', []),
    ],
)
def test_answers_are_read_and_malformed_ones_passed_over(
    value: bytes | None, expected: list[tuple[str, str, int, str]]
) -> None:
    assert read_answer(value) == expected


def test_a_journal_has_one_writer(tmp_path: Path) -> None:
    first = Journal(tmp_path, "g1")
    with pytest.raises(UnavailableError, match=r"g1\.jsonl: another device-sim is writing this journal"):
        Journal(tmp_path, "g1")
    first.close()
    Journal(tmp_path, "g1").close()


def test_the_broker_says_when_it_took_a_batch_and_older_journals_when_that_was_heard(tmp_path: Path) -> None:
    play(tmp_path, devices=1, duration_s=0.4)
    path = tmp_path / "g1.jsonl"
    sent = list(journal.sent(path))
    forget_acknowledgements(path)
    acks = [
        journal.ack_line(sent[0].id, 0, 0, START_NS, START_NS + 9, START_NS + 5),
        journal.ack_line(sent[1].id, 0, 1, START_NS, START_NS + 9, START_NS + 4),
        journal.ack_line(sent[2].id, 0, 2, START_NS, START_NS + 9, 0).replace(b',"appended_ns":0', b""),
    ]
    with path.open("ab") as file:
        file.write(b"".join(acks))
    assert [(time - START_NS, one.id) for time, one in journal.arrivals(path)][:3] == [
        (5, sent[0].id),
        (5, sent[1].id),
        (9, sent[2].id),
    ]


def test_without_a_broker_a_batch_is_taken_when_it_gets_through(tmp_path: Path) -> None:
    play(tmp_path, devices=1, duration_s=0.4)
    acks = [line for line in journal.lines(tmp_path / "g1.jsonl") if line["line"] == "ack"]
    assert all(line["appended_ns"] == line["acked_ns"] >= START_NS for line in acks)
