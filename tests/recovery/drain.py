"""Waiting, with bounded patience, until all that was sent is committed and published.

Committed by the agents, published by the store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

from streams import clock
from streams.errors import SightlineError, UnavailableError
from streams.kafka.reader import committed_offsets, end_offsets, read_all
from streams.queries.store import Store
from streams.topology import AGENTS, LINEAGE

_LOOK_S = 0.5


async def drained(broker: str, store: Path | Sequence[Path], wait_s: float) -> str | None:
    """Wait until agents and store (or several stores together) hold all that was sent.

    Returns None, or who did not reach the end within `wait_s` seconds.
    """
    deadline_s = clock.monotonic_s() + wait_s
    for agent, topic in AGENTS.items():
        if not await _reached(partial(_agent_at_end, broker, agent, topic), deadline_s):
            return f"the agent {agent} did not reach the end of {topic} within {wait_s:.0f} s"
    ends = {partition: end for (_, partition), end in (await end_offsets(broker, [LINEAGE])).items()}
    if not await _reached(lambda: asyncio.to_thread(_store_at, store, ends), deadline_s):
        return f"the store did not reach the end of {LINEAGE} within {wait_s:.0f} s"
    return None


async def _reached(there: Callable[[], Awaitable[bool]], deadline_s: float) -> bool:
    while clock.monotonic_s() < deadline_s:
        try:
            if await there():
                return True
        except SightlineError:
            pass
        await asyncio.sleep(_LOOK_S)
    return False


async def _agent_at_end(broker: str, agent: str, topic: str) -> bool:
    committed, ends = await committed_offsets(broker, agent, [topic]), await end_offsets(broker, [topic])
    if sum(ends.values()) - sum(committed.values()) > 1000:
        return False
    # Transaction markers stand behind the last record: whether a record is left tells, offsets alone do not.
    return not await read_all(
        broker, topic, from_offsets={partition: offset for (_, partition), offset in committed.items()}
    )


def _store_at(store: Path | Sequence[Path], ends: dict[int, int]) -> bool:
    try:
        with Store.open(store) as opened:
            offsets = opened.newest.offsets
    except (UnavailableError, IndexError):
        return False
    return all(offsets.get(partition, 0) >= end for partition, end in ends.items())
