"""For commands that show the status: how far a reader of a topic is behind, and who is in a group."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from streams.connection.connect import administering, reach
from streams.errors import InputError
from streams.kafka.groups import described
from streams.kafka.reader import Follower, end_offsets
from streams.settings.kafka import Broker

_POLL_MS = 1000


@dataclass(frozen=True, slots=True)
class Lag:
    """Lag of a reader in one partition: its next offset, the log's end, and the records between.

    `records` includes transaction markers, but is 0 if nothing except markers is left. `oldest_ms` is the
    append time of the first unread record in ms since the epoch, None if there is none.
    """

    partition: int
    next_offset: int
    end_offset: int
    records: int
    oldest_ms: int | None


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a consumer group: its client id and host."""

    group: str
    client: str
    host: str


async def lags(broker: Broker, topic: str, next_offsets: Mapping[int, int], *, wait_s: float) -> list[Lag]:
    """Return the lag of a reader for each partition of `topic`.

    Parameters
    ----------
    next_offsets
        Next offset of the reader by partition; the beginning of the log for partitions that it does not name.

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
        # The next offset lies outside the log, so count from the beginning of the log.
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
    """Offset and time of the first record from `at` on; None if only transaction markers are left."""
    begin = {} if at is None else {partition: at}
    async with Follower(broker, topic, begin, partitions=[partition], wait_s=wait_s) as follower:
        records = (await follower.poll(_POLL_MS, 1)).get(partition)
    return (records[0].offset, records[0].timestamp) if records else None


async def members(broker: Broker, groups: Iterable[str], *, wait_s: float) -> list[Member]:
    """Return the members of consumer groups; UnavailableError if the broker is absent."""
    clients = []
    async with administering(broker, wait_s) as admin:
        for name in groups:
            # Shortly after its start a broker has no coordinator yet.
            group = await reach(broker, partial(described, admin, name), wait_s)
            clients += [Member(name, client, host.removeprefix("/")) for client, host in group.members]
    return clients
