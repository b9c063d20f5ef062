"""The worker as a process: two apps in one loop, signals, and starting again."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from streams.connection.connect import administering
from streams.kafka import reader
from streams.kafka.groups import described
from streams.worker.follower import TableFollower
from streams.worker.run import WorkerContext, WorkerSettings
from tests.kafka import world
from tests.kafka.conftest import (
    PARTITIONS,
    Room,
    create,
    numbers_by_partition,
    until,
    values_by_partition,
)
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.kafka
ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def worker(room: Room, pause_s: float = 0.0) -> AsyncIterator[subprocess.Popen[str]]:
    """Run the toy worker as a child process; killed at the end if it still runs."""
    arguments = [
        room.broker,
        room.agent,
        room.source,
        room.target,
        str(room.directory / "note"),
        str(pause_s),
    ]
    command = [sys.executable, "-m", "tests.kafka.toy", *arguments]
    ready = room.directory / "note.ready"
    ready.unlink(missing_ok=True)
    child = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        await until(lambda: ready.exists() or child.poll() is not None)
        yield child
    finally:
        if child.poll() is None:
            child.kill()
        child.communicate()


async def interrupted(child: subprocess.Popen[str], number: signal.Signals) -> None:
    """Send a signal and check that the worker leaves.

    Beside many other tests it may leave because its patience is over (`tests/test_ends.py`), which must lose
    nothing either.
    """
    child.send_signal(number)
    assert await asyncio.to_thread(child.wait, PATIENCE_S) == 0


async def test_two_apps_in_one_process(room: Room) -> None:
    await create(room.broker, {f"{room.source}-2": {}, f"{room.target}-2": {}})
    await room.produce([b"%d" % number for number in range(80)])
    await room.produce([b"%d" % number for number in range(40)], topic=f"{room.source}-2")
    async with worker(room) as child:
        assert len(await room.wait_for(80)) == 80
        assert len(await room.wait_for(40, f"{room.target}-2")) == 40
        await interrupted(child, signal.SIGTERM)
    assert sum((await reader.committed_offsets(room.broker, room.agent, [room.source])).values()) == 80
    assert (
        sum((await reader.committed_offsets(room.broker, f"{room.agent}-2", [f"{room.source}-2"])).values())
        == 40
    )


async def test_what_cannot_be_owned_is_said_before_it_says_that_it_is_ready(room: Room) -> None:
    """Somebody else committed, and there is no checkpoint: only who owns the partition finds that."""
    await room.produce([b"%d" % number for number in range(40)])
    await world.commit(room.broker, room.agent, room.source, dict.fromkeys(range(PARTITIONS), 5))
    async with worker(room) as child:
        assert await asyncio.to_thread(child.wait, PATIENCE_S) == 4
        assert child.stderr is not None
        assert "holds no checkpoint of it" in child.stderr.read()
        assert not (room.directory / "note.ready").exists()


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGKILL])
async def test_stop_in_the_middle_and_start_again_loses_and_repeats_nothing(
    room: Room, kind: signal.Signals
) -> None:
    turns = (
        2 if kind is signal.SIGINT else 1
    )  # a killed member holds its partitions for the session timeout of 6 s
    values = [b"%d" % number for number in range(turns * 400)]
    for turn in range(turns):
        async with worker(room, pause_s=0.1) as child:
            producing = asyncio.create_task(room.produce(values[turn * 400 : turn * 400 + 400]))
            await room.wait_for(turn * 400 + 4)
            if kind is signal.SIGKILL:
                child.kill()
            else:
                await interrupted(child, kind)
            await producing
    async with worker(room) as child:
        found = await room.wait_for(len(values))
        await interrupted(child, signal.SIGINT)
    assert values_by_partition(found) == {partition: values[partition::4] for partition in range(4)}
    assert numbers_by_partition(found) == {
        partition: list(range(1, turns * 100 + 1)) for partition in range(4)
    }


async def test_worker_leaves_its_group_at_once(room: Room) -> None:
    async with worker(room) as child:
        await room.produce([b"0"])
        await room.wait_for(1)
        await interrupted(child, signal.SIGINT)
    async with administering(room.broker) as admin:
        # A member that did not leave holds its partitions for the session timeout of 6 s.
        assert (await described(admin, room.agent)).members == ()
    async with worker(room):
        await room.produce([b"1"])
        await room.wait_for(2)


async def test_absent_broker_ends_the_worker_with_a_sentence(room: Room) -> None:
    room.broker = "127.0.0.1:1"
    async with worker(room) as child:
        assert await asyncio.to_thread(child.wait, PATIENCE_S) == 1
        assert child.stderr is not None
        assert "UnavailableError: No Kafka answers at 127.0.0.1:1" in child.stderr.read()


async def test_follower_has_read_to_the_end_before_the_worker_starts(room: Room) -> None:
    await room.produce([b"%d" % number for number in range(20)])
    seen: list[bytes] = []

    def take(record: object) -> None:
        value: bytes = record.value  # type: ignore[attr-defined]
        if value == b"bad":
            raise ValueError(value)
        seen.append(value)

    context = WorkerContext(WorkerSettings(room.broker, "household"))
    follower: TableFollower = await context.follow(room.source, take)
    try:
        assert sorted(map(int, seen)) == list(range(20))
        await room.produce([b"bad", b"20"])
        await until(lambda: b"20" in seen)
        await until(lambda: follower.refused == 1)
    finally:
        await follower.stop()
