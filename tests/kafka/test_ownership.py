"""What an agent sees of a fetch whose ownership ends under it."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from streams.events.record import Fetch, StoredRecord
from streams.kafka import ownership
from streams.kafka.ownership import Ownership
from streams.kafka.transaction import TransactionWriter
from tests.kafka.toy import ToyCore
from tests.patience import PATIENCE_S

FETCH = Fetch("source", 0, [StoredRecord(0, 0, b"k", b"0")])


class Stuck:
    """A writer whose transaction comes to no end."""

    partition, group = 0, "agent"

    async def write(self, _outputs: object, _next_offset: int) -> None:
        await asyncio.sleep(3600)

    async def close(self) -> None:
        """Nothing to close."""


async def owned(monkeypatch: pytest.MonkeyPatch) -> tuple[Ownership[Any], asyncio.Task[None]]:
    """An ownership and the agent's task, which waits for a transaction."""
    monkeypatch.setattr(ownership, "STOP_WORK_S", 0.05)
    core = ToyCore("target")
    owner: Ownership[Any] = Ownership(
        "agent", core, cast("TransactionWriter", Stuck()), core.empty(0), 0, None
    )
    await owner.slots.acquire()
    agent = asyncio.create_task(owner.process(FETCH, 1))
    await asyncio.sleep(0.05)
    return owner, agent


async def test_an_agent_outlives_a_fetch_that_a_revocation_gave_up(monkeypatch: pytest.MonkeyPatch) -> None:
    owner, agent = await owned(monkeypatch)
    await owner.end()
    await asyncio.wait_for(agent, PATIENCE_S)
    assert owner.next_offset == 0, "what was given up is not done"


async def test_an_agent_that_is_cancelled_itself_says_so_and_its_transaction_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    owner, agent = await owned(monkeypatch)
    agent.cancel()
    with pytest.raises(asyncio.CancelledError):
        await agent
    assert owner.work is not None
    assert not owner.work.done()
    await owner.end()


class Committing(Stuck):
    """A writer that writes to nobody, at once."""

    async def write(self, _outputs: object, _next_offset: int) -> None:
        """Committed."""


async def test_fetches_of_a_new_owner_begin_small_and_grow_while_they_are_full() -> None:
    core = ToyCore("target")
    owner: Ownership[Any] = Ownership(
        "agent", core, cast("TransactionWriter", Committing()), core.empty(0), 0, None
    )
    bounds = list[int]()
    for share in (1.0, 1.0, 0.4, 1.0, 0.5, 1.0, 1.0, 1.0):
        bounds.append(owner.records_max)
        count = int(owner.records_max * share)
        offsets = range(owner.next_offset, owner.next_offset + count)
        fetch = Fetch("source", 0, [StoredRecord(offset, 0, b"k", b"0") for offset in offsets])
        await owner.slots.acquire()
        await owner.process(fetch, 1)
        assert owner.next_offset == offsets.stop
    assert bounds == [250, 500, 1000, 1000, 2000, 4000, 5000, 5000]
