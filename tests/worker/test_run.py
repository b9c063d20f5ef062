"""The process around the agents."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka.errors import KafkaConnectionError

from streams.errors import UnavailableError
from streams.worker.run import _owned, _started
from tests.patience import PATIENCE_S


async def test_a_broker_that_goes_while_an_agent_starts_is_a_sentence() -> None:
    async def start() -> None:
        raise KafkaConnectionError("127.0.0.1 refused")

    app = SimpleNamespace(start=start, conf=SimpleNamespace(id="glasses"))
    with pytest.raises(
        UnavailableError, match=r"The broker nowhere:1 went away while the agent glasses started\. Start"
    ):
        await _started(cast("Any", app), "nowhere:1")


def app(assigned: set[int], owned: dict[int, object], *, should_stop: bool = False) -> Any:
    """An app with a consumer that was assigned some partitions and owns some."""
    consumer = SimpleNamespace(assignment=lambda: assigned, ownerships=lambda: owned)
    return SimpleNamespace(consumer=consumer, should_stop=should_stop)


async def test_a_worker_is_ready_when_it_owns_all_that_it_was_assigned() -> None:
    glasses, training = app({0, 1}, {0: None}), app(set(), {})
    waiting = asyncio.create_task(_owned([glasses, training], asyncio.Event()))
    await asyncio.sleep(0.2)
    assert not waiting.done(), "partition 1 is restored"
    glasses.consumer.ownerships()[1] = None
    assert await asyncio.wait_for(waiting, PATIENCE_S)


async def test_a_worker_that_is_stopped_before_it_owns_all_is_never_ready() -> None:
    stop = asyncio.Event()
    waiting = asyncio.create_task(_owned([app({0}, {})], stop))
    await asyncio.sleep(0.2)
    stop.set()
    assert not await asyncio.wait_for(waiting, PATIENCE_S)
    crashed = [app({0}, {}, should_stop=True)]
    assert not await asyncio.wait_for(_owned(crashed, asyncio.Event()), PATIENCE_S)
