"""The first records are written once, however many workers start together."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Sequence

import pytest

from streams.events.record import Outgoing, Received
from streams.kafka.publish import publish_now, publish_once
from tests.kafka.conftest import Room, now_ms
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.kafka


async def any_stand(records: Sequence[Received]) -> bool:
    return bool(records)


async def test_of_many_that_start_together_one_writes_and_all_come_to_an_end(
    room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    gc.collect()
    caplog.clear()  # of what other tests left
    key, stamp_ms = room.agent.encode(), now_ms()
    records = [Outgoing(room.target, 0, key, b"%d" % number, (), stamp_ms) for number in range(20)]
    async with asyncio.timeout(PATIENCE_S):
        written = await asyncio.gather(
            *(publish_once(room.broker, room.target, records, any_stand) for _ in range(4))
        )
    assert sorted(written) == [False, False, False, True]
    assert [record.value for record in await room.outputs()] == [b"%d" % number for number in range(20)]
    assert await publish_once(room.broker, room.target, records, any_stand) is False
    gc.collect()
    assert "never retrieved" not in caplog.text, "those that were fenced leave no traceback"


async def test_of_many_that_write_together_each_writes_all_of_its_records(room: Room) -> None:
    key, stamp_ms = room.agent.encode(), now_ms()
    records = [
        [Outgoing(room.target, 0, key, b"%d/%d" % (writer, number), (), stamp_ms) for number in range(5)]
        for writer in range(4)
    ]
    async with asyncio.timeout(PATIENCE_S):
        placed = await asyncio.gather(*(publish_now(room.broker, some) for some in records))
    outputs = [record.value or b"" for record in await room.outputs()]
    assert sorted(outputs) == sorted(record.value or b"" for some in records for record in some)
    assert [[outputs.index(record.value or b"") for record in some] for some in records] == [
        [*range(at, at + 5)] for at in (outputs.index(some[0].value or b"") for some in records)
    ]
    assert all(len(some) == 5 for some in placed)
