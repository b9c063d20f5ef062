"""What `sightline watch` learns from a Kafka: how far readers are behind, and what is rejected.

Both are asked for in tasks of their own, so that a broker that is away or slow never delays the watching.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any

from streams import limits
from streams.cli.status import lag_of
from streams.ends import end_with
from streams.errors import InputError, UnavailableError
from streams.events.headers import RUN
from streams.events.record import Received
from streams.kafka.reader import Follower, end_offsets
from streams.settings.kafka import Broker
from streams.topology import REJECTED
from streams.watching.reading import Position, Reader, Refused

log = logging.getLogger(__name__)
_POLL_MS = 500
#: The rule of what arrived again and was dropped, which is no refusal.
_REPEATED = b"repeated"


class BrokerWatch:
    """Follows a broker while it is open; `taken` returns what is new.

    Delivery: refusals that the broker appended while this follows, each at most once; after a time without
    the broker it goes on where it stopped.

    Parameters
    ----------
    refusals
        Whether `glasses.rejected` is followed. Its records have no class, so only a role that is shown
        everything may be told of them.
    """

    def __init__(self, broker: Broker, *, refusals: bool) -> None:
        self._broker, self._refusals = broker, refusals
        #: Next offsets of glasses.lineage of the store's writer.
        self.offsets: Mapping[int, int] = {}
        self._positions: Mapping[Reader, Position] | None = None
        self._arrived: dict[str, tuple[int, str]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._next: dict[int, int] = {}
        self._fault: dict[str, str] = {}
        self._follows = False

    async def __aenter__(self) -> BrokerWatch:
        self._begin("lag", self._follow_lag)
        if self._refusals:
            self._begin("refusals", self._follow_refusals)
        return self

    async def __aexit__(self, *_exc: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def taken(self) -> tuple[Mapping[Reader, Position] | None, tuple[Refused, ...] | None]:
        """Return the newest positions of readers, once, and the refusals since the last call.

        None where they are not known: while the broker is away, the store has to tell of refusals.
        """
        positions, self._positions = self._positions, None
        arrived, self._arrived = self._arrived, {}
        refused = tuple(Refused(rule, events, id_) for rule, (events, id_) in arrived.items())
        return positions, refused if self._follows or refused else None

    def _begin(self, name: str, step: Callable[[], Coroutine[Any, Any, None]]) -> None:
        task = asyncio.create_task(self._again(name, step), name=f"watch of {name}")
        task.add_done_callback(end_with)
        self._tasks.append(task)

    async def _again(self, name: str, step: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Take a step again and again; while the broker is away, say so once."""
        while True:
            try:
                await step()
                self._fault.pop(name, None)
            except (UnavailableError, InputError) as error:
                if self._fault.get(name) != str(error):
                    self._fault[name] = str(error)
                    log.warning("%s of the broker: %s; asking again", name, error)
                if name == "refusals":
                    self._follows = False
                    # What the log does not hold any more is passed over, which was just said.
                    self._next = {} if isinstance(error, InputError) else self._next
            await asyncio.sleep(limits.WATCHED_LAG_INTERVAL_S)

    async def _follow_lag(self) -> None:
        rows = await lag_of(self._broker, self.offsets or None)
        self._positions = {
            Reader(row.agent, row.topic, row.partition): Position(
                row.next_offset, row.end_offset, row.records
            )
            for row in rows
        }

    async def _follow_refusals(self) -> None:
        """Follow from the end at the first step, or from where the last one stopped."""
        if not self._next:
            ends = await end_offsets(self._broker, [REJECTED], wait_s=limits.STATUS_WAIT_S)
            self._next = {partition: offset for (_, partition), offset in ends.items()}
        async with Follower(self._broker, REJECTED, self._next, wait_s=limits.STATUS_WAIT_S) as follower:
            self._follows = True
            while True:
                fetched = await follower.poll(_POLL_MS, limits.FETCH_RECORDS_MAX)
                for records in fetched.values():
                    self._take(records)
                self._next = await follower.positions()

    def _take(self, records: Iterable[Received]) -> None:
        for record in records:
            headers: dict[str, bytes] = dict(record.headers)
            if headers.get("sightline-outcome") == _REPEATED:
                continue
            rule = headers.get("sightline-rule", b"").decode("utf-8", "replace")
            # As in the store, consents that differ in their words are refused by one rule.
            rule = "consent" if rule.startswith("consent:") else rule
            events, id_ = self._arrived.get(rule, (0, ""))
            named = headers.get("ce_id", b"").decode("utf-8", "replace")
            self._arrived[rule] = (events + _events(headers.get(RUN, b"")), named or id_)


def _events(run: bytes) -> int:
    """How many events a record's run has; 1 if nobody could read its numbers."""
    words = run.split()
    return int(words[2]) if len(words) == 3 and words[2].isdigit() and len(words[2]) < 10 else 1
