"""A long wait is logged once, with what is waited for; anything else logs nothing."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import AIOKafkaProducer

from streams import limits
from streams.kafka.reader import read_all
from streams.waiting import saying
from tests.kafka import world
from tests.patience import PATIENCE_S


async def test_a_wait_is_said_once_and_a_short_one_is_not(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(limits, "WAIT_SAID_S", 0.05)
    async with saying("nothing"):
        await asyncio.sleep(0)
    with pytest.raises(KeyError):
        async with saying("an error"):
            raise KeyError
    async with saying("a long time"):
        await asyncio.sleep(0.3)
    assert caplog.messages == ["Waiting for a long time (since 0.05 s)"]


@pytest.mark.kafka
async def test_a_reader_behind_an_open_transaction_says_what_it_waits_for(
    broker: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(limits, "WAIT_SAID_S", 0.2)
    topic = "waiting-for-a-stranger"
    await world.remade(broker, topic, 1)
    async with AIOKafkaProducer(bootstrap_servers=broker, transactional_id=topic) as producer:
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"open")
        reading = asyncio.create_task(read_all(broker, topic))
        async with asyncio.timeout(PATIENCE_S):
            while not [
                one for one in caplog.messages if "Waiting for records of waiting-for-a-stranger" in one
            ]:
                await asyncio.sleep(0.1)
        assert not reading.done()
        await producer.commit_transaction()
        assert [one.value for one in await reading] == [b"open"]
