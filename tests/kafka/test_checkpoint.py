"""What a checkpoint writes is what is read back, whatever its size.

What nobody of ours wrote is passed over or said aloud.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

import pytest
from aiokafka import AIOKafkaProducer
from msgspec.structs import replace

from streams import limits, metrics, topology
from streams.events.record import Outgoing
from streams.kafka import checkpoint, topics
from tests.kafka.conftest import Room, now_ms

pytestmark = pytest.mark.kafka


async def write(room: Room, records: list[Outgoing]) -> None:
    await topics.declare(room.broker)
    async with AIOKafkaProducer(
        bootstrap_servers=room.broker, max_request_size=limits.MESSAGE_BYTES_MAX
    ) as producer:
        for record in records:
            await producer.send_and_wait(
                record.topic,
                record.value,
                key=record.key,
                partition=record.partition,
                headers=list(record.headers),
            )


def outputs(room: Room, entries: Mapping[str, bytes], offset: int) -> list[Outgoing]:
    return checkpoint.outputs(room.agent, 0, entries, offset, 0)


async def test_entries_of_any_size_come_back(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STATE_RECORD_BYTES_MAX", 10)
    first = {"long": b"0123456789" * 3 + b"x", "exact": b"0123456789", "short": b"", "other": b"abc"}
    await write(room, outputs(room, first, 5))
    assert await checkpoint.load(room.broker, room.agent, 0, wait_s=5) == checkpoint.Checkpoint(first, 5)
    second = {"long": b"0123456789ab", "short": b"0123456789" * 2}
    await write(room, outputs(room, second, 9))
    assert await checkpoint.load(room.broker, room.agent, 0, wait_s=5) == checkpoint.Checkpoint(
        {**first, **second}, 9
    )


def test_no_part_is_longer_than_a_record_may_be() -> None:
    made = checkpoint.outputs("a", 0, {"g1": b"x" * limits.DEVICE_STATE_BYTES_MAX}, 1, 0)
    assert len(made) == limits.DEVICE_STATE_BYTES_MAX // limits.STATE_RECORD_BYTES_MAX + 1
    assert max(len(record.value or b"") for record in made) <= limits.STATE_RECORD_BYTES_MAX


async def test_an_entry_that_lacks_a_part_is_lost_and_no_other_is(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "STATE_RECORD_BYTES_MAX", 10)
    made = outputs(room, {"long": b"0123456789" * 3, "g1": b"1"}, 5)
    await write(room, [record for record in made if not record.key.endswith(b"#1")])
    # An offset takes more than the ten bytes of a part here.
    found = await checkpoint.load(room.broker, room.agent, 0, wait_s=5)
    assert found == checkpoint.Checkpoint({"g1": b"1"}, None, frozenset({"long", checkpoint.CHECKPOINT_NAME}))


async def test_a_key_that_is_no_text_is_passed_over_aloud(
    room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    prefix = f"{room.agent}/0/".encode()
    await write(
        room,
        [Outgoing(topology.STATE, 0, prefix + b"\xff", b"7", (), now_ms()), *outputs(room, {"g1": b"1"}, 5)],
    )
    with caplog.at_level(logging.ERROR):
        assert await checkpoint.load(room.broker, room.agent, 0, wait_s=5) == checkpoint.Checkpoint(
            {"g1": b"1"}, 5
        )
    assert "is passed over: its key is none of ours" in caplog.text


async def test_only_what_is_ours_and_was_not_removed_is_there(room: Room) -> None:
    strangers = [
        Outgoing(topology.STATE, 0, key, b"7", (), now_ms())
        for key in (
            f"{room.agent}x/0/g7".encode(),
            f"{room.agent}/01/g7".encode(),
            f"{room.agent}/1/g7".encode(),
            b"\xff",
            b"",
        )
    ]
    removed = Outgoing(topology.STATE, 0, f"{room.agent}/0/g2".encode(), None, (), now_ms())
    assert await checkpoint.load(room.broker, room.agent, 0, wait_s=5) == checkpoint.Checkpoint({}, None)
    await write(room, [*strangers, *outputs(room, {"g1": b"1", "g2": b"2"}, 5)[:2], removed])
    assert await checkpoint.load(room.broker, room.agent, 0, wait_s=5) == checkpoint.Checkpoint(
        {"g1": b"1"}, None
    )
    await write(room, [*strangers, *outputs(room, {"g1": b"3", "g4": b"4"}, 9)])
    assert await checkpoint.load(room.broker, room.agent, 0, wait_s=5) == checkpoint.Checkpoint(
        {"g1": b"3", "g4": b"4"}, 9
    )


@pytest.mark.parametrize("count", [b"", b"x", b"-1", b"1" * 100, b"\xff"])
async def test_a_number_of_parts_that_is_none_is_one(room: Room, count: bytes) -> None:
    whole, end = outputs(room, {"g1": b"1"}, 5)
    await write(room, [replace(whole, headers=((checkpoint.PARTS, count),)), end])
    assert await checkpoint.load(room.broker, room.agent, 0, wait_s=5) == checkpoint.Checkpoint(
        {"g1": b"1"}, 5
    )


def test_what_is_written_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics.PROCESS, "_values", {})
    for entries in ({"g1": b"x" * 10, "g2": b"x" * 30}, {"g1": b"x" * 20}, {}):
        checkpoint.outputs("a", 0, entries, 1, 0)
    read = [
        metrics.read(name, agent="a")
        for name in ("state_entries_total", "state_written_bytes_total", "state_bytes_max")
    ]
    assert read == [3, 60, 30]


@pytest.mark.parametrize(
    "value", [b"", b"secret", b"[]", b'{"offset":null}', b'{"offset":-1}', b'{"offset":1e9}', b'"offset"']
)
async def test_a_checkpoint_that_cannot_be_read_is_lost(room: Room, value: bytes) -> None:
    key = f"{room.agent}/0/{checkpoint.CHECKPOINT_NAME}".encode()
    await write(
        room, [*outputs(room, {"g1": b"1"}, 5), Outgoing(topology.STATE, 0, key, value, (), now_ms())]
    )
    found = await checkpoint.load(room.broker, room.agent, 0, wait_s=5)
    assert found == checkpoint.Checkpoint({"g1": b"1"}, None, frozenset({checkpoint.CHECKPOINT_NAME}))
