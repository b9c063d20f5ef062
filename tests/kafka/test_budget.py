"""The bytes in flight of a worker are bounded, and nobody waits for a partition that stands still."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError
from hypothesis import given
from hypothesis import strategies as st

from streams import limits, metrics
from streams.events.record import Fetch, Outcome, Received
from streams.kafka import budget
from streams.kafka.budget import FetchBudget
from streams.kafka.ownership import Ownership
from streams.kafka.partition import Feed, PartitionOwner
from tests.kafka.conftest import Room, until
from tests.kafka.toy import ToyCore
from tests.patience import PATIENCE_S


@given(st.integers(1, 64), st.data())
def test_the_total_is_never_exceeded_and_an_empty_owner_always_has_room(
    owners: int, data: st.DataObject
) -> None:
    made, total = FetchBudget(1000), 1000
    for owner in range(owners):
        made.join(owner)
    held = dict.fromkeys(range(owners), 0)
    for owner, back in data.draw(st.lists(st.tuples(st.integers(0, owners - 1), st.booleans()), max_size=60)):
        if back:
            made.give_back(owner, held[owner])
            held[owner] = 0
        else:
            taken = max(made.room_bytes(owner), 0)
            made.take(owner, taken)
            held[owner] += taken
        assert made.held_bytes == sum(held.values()) <= total
        assert all(made.room_bytes(one) >= total // 2 // owners for one, size in held.items() if size == 0)


@given(st.integers(1, 8), st.data())
def test_owners_that_were_announced_find_their_share_whenever_they_join(
    owners: int, data: st.DataObject
) -> None:
    made, total = FetchBudget(1000), 1000
    made.announce("zones", owners)
    for owner in range(owners):
        made.join(owner)
        assert made.room_bytes(owner) >= total // 2 // owners
        for one in range(owner + 1):
            made.take(one, data.draw(st.integers(0, max(made.room_bytes(one), 0))))
        assert made.held_bytes <= total


async def test_who_waits_goes_on_when_something_is_given_back_or_somebody_leaves() -> None:
    made = FetchBudget(100)
    for owner in "ab":
        made.join(owner)
        made.take(owner, made.room_bytes(owner))
    steps: list[Callable[[], None]] = [lambda: made.give_back("a", 50), lambda: made.leave("a")]
    for done in steps:
        waiting = asyncio.create_task(made.wait_for_room("b"))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        done()
        await asyncio.wait_for(waiting, 1)
        made.take("b", made.room_bytes("b"))


def test_a_read_under_way_holds_the_room_that_it_may_need_until_it_has_ended() -> None:
    made = FetchBudget(100)
    for owner in "ab":
        made.join(owner)
    made.expect("a", 60)
    assert (made.room_bytes("a"), made.room_bytes("b"), made.held_bytes) == (15, 40, 0)
    assert (made.room_bytes("a", common=False), made.room_bytes("b", common=False)) == (0, 25)
    made.take("a", 10)
    assert (made.room_bytes("a"), made.room_bytes("b"), made.held_bytes) == (65, 75, 10)
    assert (made.room_bytes("a", common=False), made.room_bytes("b", common=False)) == (15, 25)


async def test_who_waits_goes_on_when_a_read_brings_less_than_expected_and_when_it_leaves_itself() -> None:
    made = FetchBudget(100)
    for owner in "ab":
        made.join(owner)
    made.expect("a", 75)
    made.take("b", 25)
    steps: list[Callable[[], None]] = [lambda: made.take("a", 10), lambda: made.leave("b")]
    for done in steps:
        waiting = asyncio.create_task(made.wait_for_room("b"))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        done()
        await asyncio.wait_for(waiting, 1)
        if "b" in made._held:
            made.take("b", made.room_bytes("b"))


def test_what_comes_back_from_who_has_left_changes_nothing() -> None:
    made = FetchBudget(100)
    made.join("a")
    made.join("b")
    made.take("a", 40)
    made.leave("a")
    made.leave("a")
    made.give_back("a", 40)
    made.take("a", 10)
    made.expect("a", 10)
    assert (made.held_bytes, made.room_bytes("b")) == (0, 100)


class Resting(str):
    """Stands for an ownership of its name, which has nothing to save."""

    __slots__ = ()
    records_max = limits.FETCH_RECORDS_MAX

    async def rest(self) -> None:
        """There is nothing to save."""


class Empty:
    """A feed without records, away after some reads; notes what another partition may fetch during each."""

    def __init__(self) -> None:
        self.left = list[int]()

    async def flowing(self) -> None:
        """It always flows."""

    async def records(self, _tp: TopicPartition, _timeout_s: float, _max_records: int) -> list[Received]:
        self.left.append(budget.WORKER.room_bytes("other"))
        if len(self.left) == 3:
            raise KafkaConnectionError
        return []


async def test_a_partition_that_waits_for_a_first_record_leaves_the_common_half_to_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    total, feed = 16_000_000, Empty()
    monkeypatch.setattr(budget, "WORKER", FetchBudget(total))
    for name in ("me", "other"):
        budget.WORKER.join(name)
    owner = PartitionOwner("nowhere:1", "a", ToyCore("x"), TopicPartition("t", 0), cast("Feed", feed))
    with pytest.raises(KafkaConnectionError):
        await owner._fetch(cast("Ownership[int]", Resting("me")))
    assert feed.left == [total // 2 + total // 4] * 3
    assert budget.WORKER.room_bytes("other") == feed.left[0], (
        "what a read that failed was expected to bring is free again"
    )


class Standing(ToyCore):
    """Holds every fetch until it is told to go on."""

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self.go = asyncio.Event()

    async def process(
        self, state: int, fetch: Fetch, inputs: object, *, silent: bool, poisoned: object
    ) -> Outcome[int]:
        await self.go.wait()
        return await super().process(state, fetch, inputs, silent=silent, poisoned={})


@pytest.mark.kafka
async def test_a_worker_that_is_slower_than_the_stream_holds_no_more_than_its_budget(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    total = 4_000_000
    monkeypatch.setattr(budget, "WORKER", FetchBudget(total))
    monkeypatch.setattr(limits, "FETCH_BYTES_MAX", 1_500_000)
    core, committed = Standing(room.target), PartitionOwner._committed

    async def late(owner: PartitionOwner[int]) -> tuple[int | None, bool]:
        # One partition after the other, the last when those before have taken all that there is for them.
        await asyncio.sleep(owner._tp.partition * 0.3)
        return await committed(owner)

    monkeypatch.setattr(PartitionOwner, "_committed", late)
    values = [b"%d" % number + b" " * 10_000 for number in range(1600)]
    await room.produce(values)
    async with room.running(core):
        await until(lambda: budget.WORKER.held_bytes > total * 0.8)
        await asyncio.sleep(1.5)
        held = [budget.WORKER.held_bytes]
        assert metrics.read("fetch_in_flight_bytes") == held[0]
        core.go.set()
        async with asyncio.timeout(PATIENCE_S):
            while len(await room.outputs()) < len(values):
                held.append(budget.WORKER.held_bytes)
        # To within one value for each partition, where even one is more than there is room for.
        assert max(held) <= total + 4 * len(values[-1])
        await until(lambda: budget.WORKER.held_bytes == 0)
    assert sorted(len(record.value) for record in await room.outputs()) == sorted(map(len, values))
