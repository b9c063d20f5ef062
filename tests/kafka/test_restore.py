"""What stands on `glasses.state` and cannot be read is made again, and nothing is put out twice or lost."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from streams import limits, metrics, topology
from streams.errors import InputError
from streams.kafka import checkpoint
from streams.kafka.restore import Restored, restored
from tests.kafka.conftest import Room
from tests.kafka.toy import ToyCore

pytestmark = pytest.mark.kafka
OFFSET = checkpoint.CHECKPOINT_NAME


async def write(room: Room, entries: Mapping[str, bytes | None], partition: int = 0) -> None:
    """Write to the topic as a stranger does."""
    async with AIOKafkaProducer(bootstrap_servers=room.broker) as producer:
        for name, value in entries.items():
            key = f"{room.agent}/{partition}/{name}".encode()
            await producer.send_and_wait(topology.STATE, value, key=key, partition=partition)


async def stand(room: Room) -> None:
    """Ten records on partition 0, and a checkpoint after the seventh."""
    await room.produce([b"%d" % number for number in range(40)])
    await write(room, {"seen": b"7", OFFSET: b'{"offset":7}'})


async def found(room: Room, committed: int | None = 10) -> tuple[Restored[int], list[int]]:
    """What a new owner makes of it, and how many records it runs again."""
    core, place = ToyCore(room.target), TopicPartition(room.source, 0)
    made = await restored(room.broker, room.agent, core, place, committed, 5.0)
    assert all(silent for _, _, silent in core.calls)
    return made, [count for _, count, _ in core.calls]


async def test_what_cannot_be_read_is_made_again_said_and_counted(
    room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    await stand(room)
    assert await found(room) == (Restored(10, 10, 7), [3])
    told = "cannot be read; they were made again from the records of"
    for forged, lost in (
        ({"seen": b"secret"}, {"seen"}),
        ({"seen": b"7", OFFSET: b"secret"}, {OFFSET}),
        ({OFFSET: b'{"offset":123456789}'}, {OFFSET}),
        ({OFFSET: b"{}", "seen": b"secret"}, {"seen", OFFSET}),
        ({"seen": None}, {OFFSET}),
        ({OFFSET: b'{"offset":7}', "seen": b"secret"}, {"seen"}),
    ):
        refused = metrics.read("state_refused_total", agent=room.agent)
        caplog.clear()
        await write(room, forged)
        with caplog.at_level(logging.ERROR):
            assert await found(room) == (Restored(10, 10, None, frozenset(lost)), [10])
        assert metrics.read("state_refused_total", agent=room.agent) == refused + len(lost)
        assert told in caplog.text
        assert "secret" not in caplog.text
    admin = AIOKafkaAdminClient(bootstrap_servers=room.broker)
    await admin.start()
    await admin.delete_records({TopicPartition(room.source, 0): RecordsToDelete(before_offset=4)})
    await admin.close()
    with caplog.at_level(logging.ERROR):
        assert await found(room) == (Restored(6, 10, None, frozenset({"seen"})), [6])
    assert "1 entries of agent" in caplog.text
    assert "from offset 4 on, and what they held of before is lost" in caplog.text


async def test_offsets_that_were_reset_are_refused(room: Room) -> None:
    await stand(room)
    with pytest.raises(InputError, match="offsets were reset"):
        await found(room, 3)


async def test_a_stranger_stops_nobody_and_nothing_is_put_out_twice(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CHECKPOINT_INTERVAL_S", 0.0)
    async with room.running(ToyCore(room.target)):
        await room.produce([b"%d" % number for number in range(40)])
        await room.wait_for(40)
    await write(room, {"seen": b"secret", OFFSET: b"secret", "stranger": b"secret"})
    core = ToyCore(room.target)
    async with room.running(core):
        await room.produce([b"%d" % number for number in range(40, 80)])
        written = await room.wait_for(80)
    first = [record for record in written if record.partition == 0]
    assert [int(dict(record.headers)["number"]) for record in first] == list(range(1, 21))
    assert all(partition == 0 for partition, _, silent in core.calls if silent), "nobody else is held up"
    now = await checkpoint.load(room.broker, room.agent, 0, wait_s=5)
    assert (now.entries, now.offset, now.lost) == ({"seen": b"20"}, 20, frozenset()), (
        "what stands can be read"
    )
