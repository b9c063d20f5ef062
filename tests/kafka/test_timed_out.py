"""A transaction that is open for longer than the broker allows.

The broker aborts it and fences the producer, and nothing comes of it.
"""

from __future__ import annotations

import asyncio
import logging
import re
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from streams import limits, metrics
from streams.kafka import reader, transaction
from streams.kafka.transaction import TransactionWriter
from tests.kafka.conftest import Room, numbers_by_partition, values_by_partition
from tests.kafka.test_transport import batch, dealt
from tests.kafka.toy import ToyCore

TIMEOUT_MS = 500


@pytest.mark.kafka
@pytest.mark.parametrize(
    ("step", "call"),
    [("send_batch", 2), ("send_offsets_to_transaction", 1), ("commit_transaction", 1)],
    ids=["between two outputs", "before the offsets", "before the commit"],
)
async def test_records_of_a_transaction_that_timed_out_come_once_in_the_next_one(
    room: Room, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, step: str, call: int
) -> None:
    """Hold the first producer of partition 0 at a step until the broker has aborted its transaction.

    Its outputs are in the log by then.
    """
    real_new, real_step, real_close = (
        transaction._new_producer,
        getattr(AIOKafkaProducer, step),
        TransactionWriter.close,
    )
    made, closed, calls = list[AIOKafkaProducer](), list[AIOKafkaProducer | None](), list[str]()

    def impatient(broker: str, transactional_id: str) -> AIOKafkaProducer:
        producer = real_new(broker, transactional_id)
        if transactional_id == f"{room.agent}-{room.source}-0":
            made.append(producer)
            producer._txn_manager.transaction_timeout_ms = (
                TIMEOUT_MS if len(made) == 1 else limits.TRANSACTION_TIMEOUT_MS
            )
        return producer

    async def holding(self: AIOKafkaProducer, *arguments: Any, **named: Any) -> Any:
        if self in made[:1]:
            calls.append(step)
            if len(calls) == call:
                while not await reader.read_all(room.broker, room.target, 0, committed=False):
                    await asyncio.sleep(0.1)
                assert not await reader.read_all(room.broker, room.target, 0), (
                    "a reader waits for the end of the transaction, the abort"
                )
        return await real_step(self, *arguments, **named)

    async def noting(self: TransactionWriter) -> None:
        closed.append(self._producer)
        await real_close(self)

    monkeypatch.setattr(transaction, "_new_producer", impatient)
    monkeypatch.setattr(AIOKafkaProducer, step, holding)
    monkeypatch.setattr(TransactionWriter, "close", noting)
    await room.produce(batch(0, 40))
    with caplog.at_level(logging.WARNING):
        async with room.running(ToyCore(room.target)):
            await room.wait_for(40)
            assert (closed, made[0]._closed, len(made)) == (made[:1], True, 2), (
                "the lost producer is closed, and there is another one"
            )
            await room.produce(batch(40, 40))
            found = await room.wait_for(80)
    assert values_by_partition(found) == dealt(0, 80)
    assert numbers_by_partition(found) == {number: list(range(1, 21)) for number in range(4)}
    assert [
        metrics.read("assignment_total", agent=room.agent, partition=str(number)) for number in range(4)
    ] == [2, 1, 1, 1]
    assert re.search(
        r"partition 0 goes through assignment again in .*(ProducerFenced|InvalidProducerEpoch)", caplog.text
    )
    written = await reader.read_all(room.broker, room.target, 0, committed=False)
    assert [record.value for record in written] == [*dealt(0, 40)[0], *dealt(0, 80)[0]], (
        "what was aborted had been written"
    )
    assert not room.ended
