"""A room per test on the shared broker.

Its own source and target topic and its own agents (groups, transactional ids, states).
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaProducer, ConsumerRecord
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streams import clock
from streams.ends import End
from streams.events.record import AgentSpec, LiveCore
from streams.kafka import reader, topics, transport
from streams.worker import agents
from tests.patience import PATIENCE_S

PARTITIONS = 4
_COUNTER = itertools.count()


@dataclass
class Room:
    """One test's topics and agent on the shared broker, and what to do with them."""

    broker: str
    agent: str
    source: str
    target: str
    directory: Path
    ended: list[str] = field(default_factory=list)
    _runs: Any = field(default_factory=itertools.count)

    async def produce(self, values: Sequence[bytes], *, topic: str | None = None, key: bytes = b"") -> None:
        """Write values to the partitions of the source in turn."""
        producer = AIOKafkaProducer(bootstrap_servers=self.broker, enable_idempotence=True, linger_ms=5)
        await producer.start()
        try:
            sent = [
                await producer.send(
                    topic or self.source, value, key=key or self.agent.encode(), partition=number % PARTITIONS
                )
                for number, value in enumerate(values)
            ]
            await asyncio.gather(*sent)
        finally:
            await producer.stop()

    def spec(self, core: LiveCore[Any]) -> AgentSpec:
        """The agent of the room, with this core."""
        return AgentSpec(self.agent, self.source, core)

    @asynccontextmanager
    async def running(self, core: LiveCore[Any], *, accept_loss: bool = False) -> AsyncIterator[Any]:
        """Run the agent in this process; gives its Faust app."""
        directory = self.directory / f"run{next(self._runs)}"
        app = agents.build_app(self.spec(core), self.broker, directory, accept_loss=accept_loss)
        await app.start()
        try:
            yield app
        finally:
            await app.stop()

    async def outputs(self, topic: str | None = None) -> list[ConsumerRecord]:
        """Committed records of this room on a topic."""
        return [
            record
            for record in await reader.read_all(self.broker, topic or self.target)
            if record.key == self.agent.encode()
        ]

    async def wait_for(
        self, count: int, topic: str | None = None, timeout_s: float = PATIENCE_S
    ) -> list[ConsumerRecord]:
        """Return the outputs once there are `count`; fails after the timeout."""
        found: list[ConsumerRecord] = []
        for _ in range(int(timeout_s / 0.25)):
            found = await self.outputs(topic)
            if len(found) >= count or self.ended:
                break
            await asyncio.sleep(0.25)
        assert not self.ended, self.ended
        assert len(found) >= count, (
            f"{len(found)} of {count} records on {topic or self.target} after {timeout_s} s"
        )
        return found

    async def committed(self) -> int:
        """Sum of the committed offsets."""
        return sum((await reader.committed_offsets(self.broker, self.agent, [self.source])).values())


def now_ms() -> int:
    """The time of a record that no retention deletes while a test runs."""
    return clock.now_ns() // 1_000_000


def values_by_partition(records: Sequence[ConsumerRecord]) -> dict[int, list[bytes]]:
    """Values in the order of each partition."""
    return {
        partition: [record.value for record in records if record.partition == partition]
        for partition in range(PARTITIONS)
    }


def numbers_by_partition(records: Sequence[ConsumerRecord]) -> dict[int, list[int]]:
    """The running numbers that the toy core gave, in the order of each partition."""
    return {
        partition: [
            int(dict(record.headers)["number"]) for record in records if record.partition == partition
        ]
        for partition in range(PARTITIONS)
    }


@pytest_asyncio.fixture
async def room(broker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Room:
    """A room of its own on the shared broker; a loud end of the process is noted instead."""
    suffix = f"{os.getpid()}-{next(_COUNTER)}"
    made = Room(broker, f"agent-{suffix}", f"source-{suffix}", f"target-{suffix}", tmp_path)
    await topics.declare(broker)
    await create(broker, {made.source: {}, made.target: {}})

    def note(reason: str, error: BaseException | None = None, end: End = End.UNEXPECTED) -> None:
        made.ended.append(reason)

    monkeypatch.setattr(transport, "end_process", note)
    monkeypatch.setattr(agents, "end_process", note)
    return made


async def create(broker: str, configs: Mapping[str, Mapping[str, str]]) -> None:
    """Create topics with their configurations."""
    admin = AIOKafkaAdminClient(bootstrap_servers=broker)
    await admin.start()
    try:
        await admin.create_topics(
            [NewTopic(name, PARTITIONS, 1, topic_configs=dict(config)) for name, config in configs.items()]
        )
        await topics.until_known(admin, broker, list(configs))
    finally:
        await admin.close()


async def until(condition: Callable[[], bool], timeout_s: float = PATIENCE_S) -> None:
    """Wait for a condition, without a busy loop."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.1)
