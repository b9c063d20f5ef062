"""How far a reader of a topic is behind, and who reads in a group: for whoever looks, not for readers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from streams.connection.connect import administering, reach
from streams.connection.settings import Broker
from streams.errors import InputError
from streams.kafka.groups import described
from streams.kafka.reader import Follower, end_offsets

_POLL_MS = 1000


@dataclass(frozen=True, slots=True)
class Lag:
    """One partition: the offset that is read next and the log's end, and how much lies between.

    `records` counts the marks of transactions among records, and is 0 where nothing else is left. `oldest_ms`
    is when the broker took the first record that was not read, Unix epoch; None where there is none.
    """

    partition: int
    next_offset: int
    end_offset: int
    records: int
    oldest_ms: int | None


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a consumer group, as it calls itself, and where it is."""

    group: str
    client: str
    host: str


async def lags(broker: Broker, topic: str, next_offsets: Mapping[int, int], *, wait_s: float) -> list[Lag]:
    """Return how far a reader is behind, by partition of `topic`.

    Parameters
    ----------
    next_offsets
        Offset that it reads next by partition; from the log's beginning where it never read.

    Raises
    ------
    UnavailableError
        Broker or topic is absent.
    """
    ends = await end_offsets(broker, [topic], wait_s=wait_s)
    return await asyncio.gather(
        *(
            _lag(broker, topic, partition, next_offsets.get(partition), end, wait_s)
            for (_, partition), end in sorted(ends.items())
        )
    )


async def _lag(broker: Broker, topic: str, partition: int, at: int | None, end: int, wait_s: float) -> Lag:
    if end in (at, 0):
        return Lag(partition, end, end, 0, None)
    begin = at
    try:
        first = await _first(broker, topic, partition, begin, wait_s)
    except InputError:
        # What it reads next was removed, or never was: what is there now is what it can read.
        begin = None
        first = await _first(broker, topic, partition, begin, wait_s)
    if first is None:
        return Lag(partition, end if at is None else at, end, 0, None)
    offset, stamp_ms = first
    return Lag(
        partition, offset if at is None else at, end, end - (offset if begin is None else begin), stamp_ms
    )


async def _first(
    broker: Broker, topic: str, partition: int, at: int | None, wait_s: float
) -> tuple[int, int] | None:
    """Offset and time of the first record from `at` on; None where only marks are left."""
    begin = {} if at is None else {partition: at}
    async with Follower(broker, topic, begin, partitions=[partition], wait_s=wait_s) as follower:
        records = (await follower.poll(_POLL_MS, 1)).get(partition)
    return (records[0].offset, records[0].timestamp) if records else None


async def members(broker: Broker, groups: Iterable[str], *, wait_s: float) -> list[Member]:
    """Return who is in some consumer groups; UnavailableError when the broker is absent."""
    clients = []
    async with administering(broker, wait_s) as admin:
        for name in groups:
            # A broker that just started says for a moment that it has no coordinator.
            group = await reach(broker, partial(described, admin, name), wait_s)
            clients += [Member(name, client, host.removeprefix("/")) for client, host in group.members]
    return clients
