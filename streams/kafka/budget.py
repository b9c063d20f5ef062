"""How many bytes a worker holds that are fetched and not committed: one bound for all its partitions."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable

from streams import limits, metrics


class FetchBudget:
    """Bytes of values in flight, by owner of a partition.

    Half of the total is divided evenly among the owners, the other half is for whoever comes first. So an
    owner with nothing in flight can always fetch, whatever the others hold: a partition that stands still
    never stops another, and nobody waits for a circle. The bound is kept to within one read of the consumer,
    whose size is guessed from the one before. An owner that nobody had announced (`announce`) has its share
    at once, so the bound is then passed by as much, until the others have given back what they took of it.
    """

    def __init__(self, total_bytes: int) -> None:
        self._total_bytes = total_bytes
        self._held: dict[Hashable, int] = {}
        self._expected: dict[Hashable, int] = {}
        self._announced: dict[str, int] = {}
        self._waiting: set[asyncio.Future[None]] = set()

    def announce(self, agent: str, owners: int) -> None:
        """Keep a share for each owner that an agent's assignment will bring, before it has joined."""
        self._announced[agent] = owners
        self._changed()

    def join(self, owner: Hashable) -> None:
        """Divide among one more owner."""
        self._held[owner] = self._expected[owner] = 0

    def leave(self, owner: Hashable) -> None:
        """Give back all that an owner holds. Does nothing for one that has left."""
        self._held.pop(owner, None)
        self._expected.pop(owner, None)
        self._changed()

    def room_bytes(self, owner: Hashable, *, common: bool = True) -> int:
        """How much more `owner` may fetch; without the `common` half only what is left of its own share."""
        share = self._total_bytes // 2 // max(len(self._held), sum(self._announced.values()))
        own = max(share - self._held[owner] - self._expected[owner], 0)
        if not common:
            return own
        pooled = sum(max(held + self._expected[each] - share, 0) for each, held in self._held.items())
        return own + max(self._total_bytes // 2 - pooled, 0)

    async def wait_for_room(self, owner: Hashable) -> None:
        """Return once `owner` may fetch."""
        while owner in self._held and self.room_bytes(owner) <= 0:
            changed = asyncio.get_running_loop().create_future()
            self._waiting.add(changed)
            try:
                await changed
            finally:
                self._waiting.discard(changed)

    def expect(self, owner: Hashable, size_bytes: int) -> None:
        """Keep room for a read that is under way."""
        if owner in self._held:
            self._expected[owner] = size_bytes

    def take(self, owner: Hashable, size_bytes: int) -> None:
        """Note what the read under way has brought."""
        if owner in self._held:
            self._held[owner] += size_bytes
            self._expected[owner] = 0
            self._changed()

    def give_back(self, owner: Hashable, size_bytes: int) -> None:
        """Note what is done with, committed or not."""
        if owner in self._held:
            self._held[owner] -= size_bytes
            self._changed()

    @property
    def held_bytes(self) -> int:
        """All that is in flight."""
        return sum(self._held.values())

    def _changed(self) -> None:
        self._measure()
        for future in self._waiting:
            if not future.done():
                future.set_result(None)

    def _measure(self) -> None:
        metrics.gauge("fetch_in_flight_bytes", self.held_bytes)


#: The one of this process: both agents of a worker share it.
WORKER = FetchBudget(limits.FETCHED_BYTES_MAX)
