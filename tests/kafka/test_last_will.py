"""A worker that is killed leaves its groups, long before its session would be over."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys

import pytest
from aiokafka import AIOKafkaConsumer

from streams.connection.connect import administering, let_go
from streams.kafka import leaving
from streams.kafka.groups import described
from streams.kafka.last_will import LastWill
from streams.kafka.leaving import Member
from tests.kafka.conftest import Room
from tests.kafka.toy import ToyCore

#: Longer than the test takes, whatever the machine does beside it.
SESSION_MS, PATIENCE_S = 120_000, 60.0
_DOOMED = """
import sys, time
from streams.kafka.last_will import LastWill
will = LastWill(6.0)
will.joined(sys.argv[1], sys.argv[2], "somebody-before")
will.joined(*sys.argv[1:])
print("said", flush=True)
time.sleep(3600)
"""


@pytest.mark.kafka
async def test_who_is_killed_has_left_its_group(room: Room) -> None:
    member = AIOKafkaConsumer(
        room.source, bootstrap_servers=room.broker, group_id=room.agent, session_timeout_ms=SESSION_MS
    )
    await member.start()
    try:
        coordinator = member._coordinator
        doomed = [sys.executable, "-c", _DOOMED, room.broker, room.agent, coordinator.member_id]
        with subprocess.Popen(doomed, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            async with administering(room.broker) as admin:
                assert len((await described(admin, room.agent)).members) == 1
                for task in (coordinator._heartbeat_task, coordinator._coordination_task):
                    task.cancel()
                process.kill()
                async with asyncio.timeout(PATIENCE_S):
                    while (await described(admin, room.agent)).members:
                        await asyncio.sleep(0.1)
    finally:
        await let_go(member)


@pytest.mark.kafka
async def test_an_agent_says_who_it_is_in_its_group(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, ...]] = []
    monkeypatch.setattr(LastWill, "joined", lambda _self, *words: told.append(words))
    monkeypatch.setattr(LastWill, "left", lambda _self, *words: told.append(words))
    async with room.running(ToyCore(room.target)) as app:
        member = app.consumer._thread._ensure_consumer()._coordinator.member_id
        assert set(told) == {(room.broker, room.agent, member)}
    assert told[-1] == (room.broker, room.agent)


def test_a_broker_that_is_away_is_asked_again() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        host, port = silent.getsockname()
        assert not leaving._left(Member(host, port, "glasses", "somebody"))
