"""The first records are written once, however many workers start together."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import UnknownError
from aiokafka.producer.sender import EndTxnHandler

from streams.errors import UnavailableError
from streams.events.record import Outgoing, Received
from streams.kafka import publish
from streams.kafka.publish import publish_now, publish_once
from streams.kafka.reader import read_all
from tests.kafka.conftest import Room, now_ms
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.kafka


async def any_stand(records: Sequence[Received]) -> bool:
    return bool(records)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let the broker fail over a number of ends of transactions.

    Staged: a broker does so when a commit meets the beginning of a fence, which takes it microseconds.
    """
    monkeypatch.setattr(publish, "_LOOKS", 1)  # nobody else writes
    real = EndTxnHandler.do

    def fail(times: int) -> None:
        left = [UnknownError.errno] * times

        async def do(self: EndTxnHandler, node_id: int) -> Any:
            if left:
                return self.handle_response(SimpleNamespace(error_code=left.pop()))
            return await real(self, node_id)

        monkeypatch.setattr(EndTxnHandler, "do", do)

    return fail


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


async def test_what_the_broker_failed_to_commit_is_written_by_the_next_attempt(
    room: Room, failing: Callable[[int], None], caplog: pytest.LogCaptureFixture
) -> None:
    key, stamp_ms = room.agent.encode(), now_ms()
    first, second = (
        [Outgoing(topic, 0, key, b"%d" % number, (), stamp_ms) for number in range(5)]
        for topic in (room.target, room.source)
    )
    failing(2)
    async with asyncio.timeout(PATIENCE_S):
        placed = await publish_now(room.broker, first)
        failing(1)
        assert await publish_once(room.broker, room.source, second, any_stand)
    written = await room.outputs()
    assert [record.value for record in written] == [record.value for record in first]
    assert [place.offset for place in placed] == [record.offset for record in written]
    assert [record.value for record in await read_all(room.broker, room.source)] == [
        one.value for one in second
    ]
    gc.collect()
    assert "never retrieved" not in caplog.text


async def test_a_broker_that_never_commits_is_said_and_nothing_is_written(
    room: Room, failing: Callable[[int], None]
) -> None:
    one, two = (
        [Outgoing(room.target, 0, room.agent.encode(), value, (), now_ms())] for value in (b"one", b"two")
    )
    failing(100)
    with pytest.raises(
        UnavailableError, match=r"failed to end a transaction 3 times, and nothing is written"
    ):
        await publish_now(room.broker, one)
    with pytest.raises(UnavailableError, match=rf"The broker {room.broker} failed .* Look into its log\."):
        await publish_once(room.broker, room.target, one, any_stand)
    failing(0)
    await publish_now(room.broker, two)
    assert [record.value for record in await room.outputs()] == [b"two"]
