"""Strangers in an agent's group: they are named, kept out, and no offset of theirs is followed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from unittest.mock import AsyncMock

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer import group_coordinator
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import InconsistentGroupProtocolError, KafkaError, UnknownError

from streams import limits, metrics, topology
from streams.connection.connect import let_go
from streams.errors import InputError
from streams.kafka import reader
from streams.kafka.groups import (
    PROTOCOL,
    Group,
    check_prefix,
    leave_to_lookout,
    strangers_sentence,
    unformed_sentence,
)
from streams.kafka.lookout import Lookout, Member
from streams.kafka.standing import Place, look
from streams.kafka.transport import WatchfulAssignor
from streams.worker import agents
from tests.kafka import world
from tests.kafka.conftest import PARTITIONS, Room, numbers_by_partition, until, values_by_partition
from tests.kafka.test_pauses import PausingCore
from tests.kafka.test_transport import batch, dealt
from tests.patience import PATIENCE_S

COUNTED = {partition: list(range(1, 21)) for partition in range(PARTITIONS)}


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """What happens every few seconds happens now."""
    monkeypatch.setattr(limits, "LOOK_INTERVAL_S", 0.3)
    monkeypatch.setattr(limits, "WAIT_SAID_S", 0.5)
    monkeypatch.setattr(limits, "CHECKPOINT_INTERVAL_S", 0.5)


@contextlib.asynccontextmanager
async def watched(room: Room, *members: Member) -> AsyncIterator[None]:
    """A lookout beside what runs."""
    looking = asyncio.create_task(Lookout(room.broker, PARTITIONS, members).run())
    try:
        yield
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)


@contextlib.asynccontextmanager
async def stranger(
    room: Room, *, commits: bool = True, ours: bool = False
) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer that took our group's name, with the settings that a client has by itself.

    `ours`: it assigns partitions as workers do.
    """
    how = WatchfulAssignor(PARTITIONS) if ours else RoundRobinPartitionAssignor
    consumer = AIOKafkaConsumer(
        room.source,
        bootstrap_servers=room.broker,
        group_id=room.agent,
        client_id="somebody\x1b[31m",
        enable_auto_commit=commits,
        auto_offset_reset="earliest",
        session_timeout_ms=5000 if ours else 2000,
        heartbeat_interval_ms=300,
        partition_assignment_strategy=[how],
    )
    try:
        await consumer.start()
        yield consumer
    finally:
        await let_go(consumer)


def foreign(room: Room) -> float:
    """How many foreign commits were counted."""
    return sum(
        metrics.read("foreign_commit_total", agent=room.agent, partition=str(number))
        for number in range(PARTITIONS)
    )


def said(caplog: pytest.LogCaptureFixture, words: str) -> list[str]:
    """Sentences of ours with some words in them."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith("streams") and words in record.getMessage()
    ]


async def ours(room: Room) -> dict[int, tuple[int, bool]]:
    """What the group has committed, by partition: offset, and whether it was us."""
    found = await reader.committed(room.broker, room.agent, [room.source])
    return {partition: (one.offset, one.ours) for (_, partition), one in found.items()}


@pytest.mark.kafka
@pytest.mark.usefixtures("hasty")
async def test_what_a_stranger_committed_while_nobody_ran_is_not_skipped(
    room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    await room.produce(batch(0, 40))
    async with room.running(PausingCore(room)):
        await room.wait_for(40)
    await room.produce(batch(40, 40))
    async with stranger(room) as consumer:
        read = 0
        while read < 80:
            read += sum(map(len, (await consumer.getmany(timeout_ms=200)).values())) or 40
    assert await ours(room) == dict.fromkeys(range(PARTITIONS), (20, False)), "it did not take our place"
    async with room.running(PausingCore(room)):
        found = await room.wait_for(80)
        async with asyncio.timeout(PATIENCE_S):
            while await ours(room) != dict.fromkeys(range(PARTITIONS), (20, True)):
                await asyncio.sleep(0.1)
    assert values_by_partition(found) == dealt(0, 80)
    assert numbers_by_partition(found) == COUNTED
    sentences = said(caplog, "Somebody else commits")
    assert len(sentences) == PARTITIONS
    assert "found offset 20" in sentences[0]
    assert "expected 10" in sentences[0]
    # The stranger has left by then, and the agent that says it is no stranger.
    for sentence in sentences:
        assert "has left" in sentence
        assert f"-{room.agent} at" not in sentence
    assert foreign(room) == PARTITIONS
    assert not room.ended


@pytest.mark.kafka
@pytest.mark.usefixtures("hasty")
async def test_a_group_that_is_taken_says_by_whom_and_goes_on_when_it_is_free(
    room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    await room.produce(batch(0, 80))
    app = agents.build_app(room.spec(PausingCore(room)), room.broker, room.directory / "waits")
    async with stranger(room, commits=False) as consumer:
        await asyncio.wait_for(consumer.getone(), 30)
        starting = asyncio.create_task(app.start())
        async with watched(room, app.consumer):
            await until(lambda: bool(said(caplog, "Waiting for partitions of")), 30)
            await asyncio.sleep(1.0)
    try:
        sentence = said(caplog, "Waiting for partitions of")[0]
        assert r"somebody\x1b[31m at " in sentence
        assert f"the group {room.agent}" in sentence
        assert "reads nothing until they have left" in sentence
        await asyncio.wait_for(starting, PATIENCE_S)
        found = await room.wait_for(80)
        with pytest.raises(KafkaError, match="InconsistentGroupProtocol"):
            async with stranger(room, commits=False) as consumer:
                await asyncio.wait_for(consumer.getone(), 30)
    finally:
        await app.stop()
    assert values_by_partition(found) == dealt(0, 80)
    assert numbers_by_partition(found) == COUNTED
    assert not room.ended


@pytest.mark.kafka
@pytest.mark.usefixtures("hasty")
async def test_workers_that_share_partitions_out_anew_are_not_taken_for_strangers(
    room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    await room.produce(batch(0, 80))
    app = agents.build_app(room.spec(PausingCore(room)), room.broker, room.directory / "waits")
    async with stranger(room, commits=False, ours=True) as dead:
        await asyncio.wait_for(dead.getone(), 30)
        coordinator = dead._coordinator
        for task in (coordinator._heartbeat_task, coordinator._coordination_task):
            task.cancel()
        # It waits until the dead one's session is over.
        starting = asyncio.create_task(app.start())
        try:
            await until(lambda: bool(app.consumer.let_in), 30)
            async with watched(room, app.consumer):
                await until(lambda: bool(said(caplog, "Waiting for partitions of")), 30)
                await asyncio.wait_for(starting, PATIENCE_S)
            assert numbers_by_partition(await room.wait_for(80)) == COUNTED
        finally:
            await app.stop()
    (sentence,) = said(caplog, "Waiting for partitions of")
    assert "(state PreparingRebalance)" in sentence
    assert "workers of this version and share the partitions out anew; that waits up to 6 s" in sentence
    assert "left" not in sentence


@pytest.mark.kafka
@pytest.mark.usefixtures("hasty")
async def test_an_offset_that_is_put_under_a_running_agent_is_written_over(
    room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    await room.produce(batch(0, 40))
    async with room.running(PausingCore(room)) as app, watched(room, app.consumer):
        await room.wait_for(40)
        await world.commit_in_transaction(room.broker, room.agent, room.source, {1: 3, 2: 10})
        await until(lambda: bool(said(caplog, "Somebody else commits")))
        async with asyncio.timeout(PATIENCE_S):
            while (await ours(room))[1] != (10, True):
                await asyncio.sleep(0.1)
        await room.produce(batch(40, 40))
        found = await room.wait_for(80)
    assert values_by_partition(found) == dealt(0, 80)
    assert numbers_by_partition(found) == COUNTED
    (sentence,) = said(caplog, "Somebody else commits")
    assert "partition 1, expected 10" in sentence, "the other one is where this agent stands"
    assert "has left, or commits without being a member" in sentence
    assert f"-{room.agent} at" not in sentence
    assert foreign(room) == 1


@pytest.mark.kafka
async def test_partitions_that_are_added_under_a_running_agent_are_left_alone(room: Room) -> None:
    await room.produce(batch(0, 40))
    async with room.running(PausingCore(room)) as app:
        await room.wait_for(40)
        generation = app.consumer_generation_id
        await world.raised(room.broker, room.source, 2 * PARTITIONS)
        client = app.consumer._thread._ensure_consumer()._client
        app.consumer._thread.thread_loop.call_soon_threadsafe(client.force_metadata_update)
        await until(lambda: app.consumer_generation_id > generation)
        await room.produce(batch(40, 40))
        found = await room.wait_for(80)
        assert {place.partition for place in app.consumer._owners} == set(range(PARTITIONS))
    assert numbers_by_partition(found) == COUNTED
    assert not room.ended


@pytest.mark.kafka
async def test_a_group_of_another_prefix_does_not_go_on_with_the_state(room: Room) -> None:
    await room.produce(batch(0, 40))
    core = PausingCore(room)
    async with room.running(core):
        await room.wait_for(40)
    for group, refused in ((room.agent, False), (f"acme.{room.agent}", True)):
        place = Place(room.broker, room.agent, core, TopicPartition(room.source, 0), {}, 5.0, group)
        with pytest.raises(InputError, match="Start with the prefix ''") if refused else _nothing():
            await look(place, 10, (0, 10), accept_loss=False)


@contextlib.contextmanager
def _nothing() -> Iterator[None]:
    yield


def test_a_prefix_that_no_group_can_have_is_refused() -> None:
    check_prefix("")
    check_prefix("acme.eu-1_")
    for prefix in ("a b", "x" * limits.GROUP_CHARACTERS_MAX, "\x1b", "ä"):
        with pytest.raises(InputError, match="--group-prefix") as raised:
            check_prefix(prefix)
        assert not prefix or prefix not in str(raised.value)
    assert topology.group("training", "acme.") == "acme.training"


async def test_that_a_group_is_taken_is_not_said_by_the_client_too(caplog: pytest.LogCaptureFixture) -> None:
    leave_to_lookout()
    leave_to_lookout()
    for error in (InconsistentGroupProtocolError, UnknownError):
        client = SimpleNamespace(
            _rebalance_timeout_ms=1000,
            member_id="",
            _group_instance_id=None,
            _send_req=AsyncMock(return_value=SimpleNamespace(error_code=error.errno)),
        )
        subscription = SimpleNamespace(topics={"t"}, active=True)
        joining = group_coordinator.CoordinatorGroupRebalance(
            client, "g", 0, subscription, [RoundRobinPartitionAssignor], 1000, 100
        )
        with pytest.raises(KafkaError):
            await joining.perform_group_join()
    assert [record.getMessage() for record in caplog.records if record.name.startswith("aiokafka")] == [
        "Unexpected error in join group 'g' response: [Error -1] UnknownError"
    ]


def test_who_is_in_a_group_is_said_in_bounded_words() -> None:
    members = tuple((f"c{number}" + "x" * 200, "/10.0.0.1") for number in range(7))
    crowd = str(Group("training", "Stable", "connect", "sessioned", members))
    assert "a connect group" in crowd
    assert "and 2 more" in crowd
    assert len(crowd) < 600
    newer = unformed_sentence("glasses", Group("glasses", "Dead", "", "", ()), 5, let_in=False)
    assert "KIP-848" in newer
    empty = unformed_sentence("glasses", Group("glasses", "Empty", "consumer", "", ()), 5, let_in=False)
    assert "nobody is in the group glasses" in empty


def test_who_committed_is_named_while_it_is_there_and_no_worker_ever_is() -> None:
    ours = (("sightline-glasses", "/10.0.0.1"), ("sightline-glasses", "/10.0.0.2"))
    workers = strangers_sentence(Group("glasses", "Stable", "consumer", PROTOCOL, ours))
    assert "has left, or commits without being a member" in workers
    anew = strangers_sentence(Group("glasses", "PreparingRebalance", "consumer", "", ours))
    assert "PreparingRebalance" in anew
    empty = strangers_sentence(Group("glasses", "Empty", "consumer", "", ()))
    assert "nobody is in the group glasses" in empty
    assert "has left" in empty
    for sentence in (workers, anew, empty):
        assert "sightline-glasses" not in sentence
    somebody = (("somebody\x1b[31m", "/10.0.0.3"),)
    assert r"somebody\x1b[31m at 10.0.0.3" in strangers_sentence(
        Group("glasses", "Stable", "consumer", "range", somebody)
    )
