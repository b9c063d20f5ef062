"""The bytes in flight of a worker are bounded, and nobody waits for a partition that stands still."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams import limits, metrics
from streams.events.record import Fetch, Outcome
from streams.kafka import budget
from streams.kafka.budget import FetchBudget
from tests.kafka.conftest import Room, until
from tests.kafka.toy import ToyCore


@given(st.integers(1, 64), st.data())
def test_the_total_is_never_exceeded_and_an_empty_owner_always_has_room(owners: int, data: st.DataObject) -> None:
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


class Standing(ToyCore):
    """Holds every fetch until it is told to go on."""

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self.go = asyncio.Event()

    async def process(self, state: int, fetch: Fetch, *, silent: bool, poisoned: object) -> Outcome[int]:
        await self.go.wait()
        return await super().process(state, fetch, silent=silent, poisoned={})


@pytest.mark.kafka
async def test_a_worker_that_is_slower_than_the_stream_holds_no_more_than_its_budget(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    total = 4_000_000
    monkeypatch.setattr(budget, "WORKER", FetchBudget(total))
    monkeypatch.setattr(limits, "FETCH_BYTES_MAX", 1_500_000)
    core = Standing(room.target)
    values = [b"%d" % number + b" " * 10_000 for number in range(1600)]
    await room.produce(values)
    async with room.running(core):
        await until(lambda: budget.WORKER.held_bytes > total * 0.8)
        await asyncio.sleep(1.5)
        held = [budget.WORKER.held_bytes]
        assert metrics.read("fetch_in_flight_bytes") == held[0]
        core.go.set()
        while len(await room.outputs()) < len(values):
            held.append(budget.WORKER.held_bytes)
        # To within one value for each partition, where even one is more than there is room for.
        assert max(held) <= total + 4 * len(values[-1])
        await until(lambda: budget.WORKER.held_bytes == 0)
    assert sorted(len(record.value) for record in await room.outputs()) == sorted(map(len, values))
