"""The transport against the real broker: exactly once, in order, whatever fails."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from streams import limits, topology
from streams.events.record import Fetch, Outcome
from streams.kafka import reader, transport
from streams.kafka.ownership import Ownership
from tests.kafka.conftest import Room, create, numbers_by_partition, until, values_by_partition
from tests.kafka.toy import ToyCore

pytestmark = pytest.mark.kafka


def batch(first: int, count: int) -> list[bytes]:
    """Values with their number, dealt to the partitions in turn."""
    return [b"%d" % number for number in range(first, first + count)]


def dealt(first: int, count: int) -> dict[int, list[bytes]]:
    """What each partition holds of `batch(first, count)`."""
    return {partition: batch(first, count)[partition::4] for partition in range(4)}


async def test_forwards_exactly_once_in_order_on_every_partition(room: Room) -> None:
    await room.produce(batch(0, 400))
    async with room.running(ToyCore(room.target)):
        await room.wait_for(400)
        await room.produce(batch(400, 400))
        found = await room.wait_for(800)
    assert values_by_partition(found) == dealt(0, 800)
    assert numbers_by_partition(found) == {partition: list(range(1, 201)) for partition in range(4)}


async def test_partition_that_never_committed_is_read_from_its_start(room: Room) -> None:
    await room.produce([b"early"])
    async with room.running(ToyCore(room.target)):
        await room.wait_for(1)
    await room.produce([b"late"] * 8)
    async with room.running(ToyCore(room.target)):
        found = await room.wait_for(9)
    assert {partition: len(values) for partition, values in values_by_partition(found).items()} == {
        0: 3,
        1: 2,
        2: 2,
        3: 2,
    }


async def test_refused_produce_is_not_committed_over(room: Room, caplog: pytest.LogCaptureFixture) -> None:
    room.target = f"small-{room.target}"
    await create(room.broker, {room.target: {"max.message.bytes": "2000"}})
    large = os.urandom(5000)
    await room.produce([b"a", b"b", b"c", b"d", large])
    with caplog.at_level(logging.WARNING):
        async with room.running(ToyCore(room.target)):
            await until(
                lambda: (
                    caplog.text.count(
                        "an output was not accepted, nothing is committed: MessageSizeTooLargeError"
                    )
                    >= 2
                )
            )
            assert [record.value for record in await room.outputs() if record.partition == 0] == []
            committed = await reader.committed_offsets(room.broker, room.agent, [room.source])
            assert (room.source, 0) not in committed
            admin = AIOKafkaAdminClient(bootstrap_servers=room.broker)
            await admin.start()
            await admin.alter_configs(
                [ConfigResource(ConfigResourceType.TOPIC, room.target, {"max.message.bytes": "1000000"})]
            )
            await admin.close()
            found = await room.wait_for(5)
    assert values_by_partition(found) == {0: [b"a", large], 1: [b"b"], 2: [b"c"], 3: [b"d"]}


async def test_checkpoint_and_silent_run_equal_the_undisturbed_state(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CHECKPOINT_INTERVAL_S", 3600.0)
    # It ends as one that is killed: without a checkpoint at the committed offset.
    monkeypatch.setattr(Ownership, "dirty", False)
    first, second = ToyCore(room.target), ToyCore(room.target)
    await room.produce(batch(0, 40))
    async with room.running(first):
        await room.wait_for(40)
        await room.produce(
            batch(40, 40)
        )  # within the checkpoint interval: committed, but not in the stored state
        await room.wait_for(80)
    await room.produce(batch(80, 40))
    async with room.running(second):
        found = await room.wait_for(120)
    assert values_by_partition(found) == dealt(0, 120)
    assert numbers_by_partition(found) == {partition: list(range(1, 31)) for partition in range(4)}
    assert not any(silent for _partition, _count, silent in first.calls)
    silent = {partition: count for partition, count, is_silent in second.calls if is_silent}
    assert silent == dict.fromkeys(range(4), 10), (
        "the new owner runs what lies between checkpoint and committed offset, nothing else"
    )


@pytest.mark.parametrize(
    ("often", "rarely"),
    [
        (("CHECKPOINT_INTERVAL_S", 0.0), ("CHECKPOINT_RECORDS_MAX", 10**9)),
        (("CHECKPOINT_RECORDS_MAX", 1), ("CHECKPOINT_INTERVAL_S", 3600.0)),
    ],
)
async def test_checkpoint_follows_the_interval_and_the_records(
    room: Room, monkeypatch: pytest.MonkeyPatch, often: tuple[str, float], rarely: tuple[str, float]
) -> None:
    monkeypatch.setattr(limits, *often)
    monkeypatch.setattr(limits, *rarely)
    second = ToyCore(room.target)
    async with room.running(ToyCore(room.target)):
        for start in (0, 8, 16):
            await room.produce(batch(start, 8))
            await room.wait_for(start + 8)
    await room.produce(batch(24, 8))
    async with room.running(second):
        found = await room.wait_for(32)
    assert numbers_by_partition(found) == {partition: list(range(1, 9)) for partition in range(4)}
    assert not any(silent for _partition, _count, silent in second.calls)


async def test_fenced_producer_goes_through_assignment_again(
    room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        async with room.running(ToyCore(room.target)):
            await room.produce(batch(0, 40))
            await room.wait_for(40)
            for partition in range(4):
                usurper = AIOKafkaProducer(
                    bootstrap_servers=room.broker, transactional_id=f"{room.agent}-{room.source}-{partition}"
                )
                await usurper.start()
                await usurper.stop()
            await room.produce(batch(40, 40))
            found = await room.wait_for(80)
    assert caplog.text.count("goes through assignment again") >= 4
    assert values_by_partition(found) == dealt(0, 80)
    assert numbers_by_partition(found) == {partition: list(range(1, 21)) for partition in range(4)}


async def test_unfinished_commit_is_retried_from_memory_without_the_core(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = [KafkaError("staged")] * 2
    real = AIOKafkaProducer.send_offsets_to_transaction

    async def failing(self: AIOKafkaProducer, offsets: object, group: str) -> None:
        if failures:
            raise failures.pop()
        await real(self, offsets, group)

    monkeypatch.setattr(AIOKafkaProducer, "send_offsets_to_transaction", failing)
    core = ToyCore(room.target)
    await room.produce([b"0"])
    async with room.running(core):
        found = await room.wait_for(1)
    assert [record.value for record in found] == [b"0"]
    assert core.calls == [(0, 1, False)]
    assert not failures


async def test_poison_is_rejected_while_its_neighbours_pass(room: Room) -> None:
    values = batch(0, 200)
    values[40], values[120], values[41] = b"poison", b"poison", b"bug"
    await room.produce(values)
    async with room.running(ToyCore(room.target)):
        found = await room.wait_for(197)
        rejected = await room.wait_for(3, topology.REJECTED)
    assert {
        p: [v for v in vs if v not in {b"poison", b"bug"}]
        for p, vs in {p: values[p::4] for p in range(4)}.items()
    } == (values_by_partition(found))
    assert sorted((record.partition, record.value.decode().split(":")[0]) for record in rejected) == [
        (0, "cannot be understood"),
        (0, "cannot be understood"),
        (1, "KeyError at toy.py"),
    ]


async def test_output_that_no_topic_takes_is_rejected(room: Room) -> None:
    await room.produce([b"a", b"b", b"c", b"d", b"big%d" % limits.MESSAGE_BYTES_MAX])
    async with room.running(ToyCore(room.target)):
        found = await room.wait_for(4)
        rejected = await room.wait_for(1, topology.REJECTED)
    assert len(found) == 4
    assert rejected[0].value.startswith(b"an output to target-")


async def test_core_that_fails_on_what_is_rejected_ends_the_process(room: Room) -> None:
    class Hopeless(ToyCore):
        async def process(
            self, state: int, fetch: Fetch, inputs: object, *, silent: bool, poisoned: Mapping[int, str]
        ) -> Outcome[int]:
            raise ValueError("always")

    await room.produce([b"0"])
    async with room.running(Hopeless(room.target)):
        await until(lambda: bool(room.ended))
    assert "fails on the rejected offset 0" in room.ended[0]
    assert await room.committed() == 0


async def test_full_partition_does_not_hold_up_another(room: Room) -> None:
    class Slow(ToyCore):
        async def process(
            self, state: int, fetch: Fetch, inputs: object, *, silent: bool, poisoned: Mapping[int, str]
        ) -> Outcome[int]:
            self.pause_s = 30.0 if fetch.partition == 0 else 0.0
            return await super().process(state, fetch, inputs, silent=silent, poisoned=poisoned)

    async with room.running(Slow(room.target)):
        for start in range(0, 40, 8):
            await room.produce(batch(start, 8))
            found = await room.wait_for(start // 8 * 6 + 6)
    assert values_by_partition(found) == {**dealt(0, 40), 0: []}


async def test_nothing_grows_with_the_number_of_fetches(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[transport.BatchConsumer] = []
    real = transport.BatchConsumer.__init__

    def noting(self: transport.BatchConsumer, *arguments: object, **named: object) -> None:
        real(self, *arguments, **named)
        made.append(self)

    monkeypatch.setattr(transport.BatchConsumer, "__init__", noting)
    for bound in ("FETCH_RECORDS_FIRST", "FETCH_RECORDS_MAX"):
        monkeypatch.setattr(limits, bound, 5)
    await room.produce(batch(0, 400))
    async with room.running(ToyCore(room.target)):
        await room.wait_for(400)
        consumer = made[0]
        assert not any(consumer._acked.values())
        assert not any(consumer._acked_index.values())
        assert not consumer._unacked_messages


async def test_assignment_of_a_topic_without_partitions_is_asked_for_again(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Blind:
        def partitions_for_topic(self, _topic: str) -> None:
            return None

    assigned: list[bool] = []
    real = transport.WatchfulAssignor.assign

    def blind_once(
        self: transport.WatchfulAssignor, cluster: object, members: Mapping[str, object]
    ) -> object:
        assigned.append(True)
        return real(self, cluster if len(assigned) > 1 else Blind(), members)

    monkeypatch.setattr(transport.WatchfulAssignor, "assign", blind_once)
    monkeypatch.setattr(limits, "EMPTY_ASSIGNMENT_REJOIN_S", 0.5)
    await room.produce(batch(0, 8))
    async with room.running(ToyCore(room.target)):
        found = await room.wait_for(8)
    assert values_by_partition(found) == dealt(0, 8)
    assert len(assigned) == 2
