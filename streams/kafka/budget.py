"""A bound for the bytes that a worker has fetched and not yet committed, shared by all its partitions."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable

from streams import limits, metrics


class FetchBudget:
    """Bytes of values in flight (fetched, not committed), by owner of a partition.

    Half of the total is divided evenly among the owners; the other half goes to whoever asks first. So an
    owner with nothing in flight can always fetch: a stalled partition never blocks another, and there is no
    deadlock. The bound may be exceeded by one read of the consumer, whose size is estimated from the read
    before. It may also be exceeded when an owner joins without `announce`: the owner gets its share at once,
    although others may still hold bytes of it.
    """

    def __init__(self, total_bytes: int) -> None:
        self._total_bytes = total_bytes
        self._held: dict[Hashable, int] = {}
        self._expected: dict[Hashable, int] = {}
        self._announced: dict[str, int] = {}
        self._waiting: set[asyncio.Future[None]] = set()

    def announce(self, agent: str, owners: int) -> None:
        """Reserve a share for each owner of an agent's new assignment before the owners join."""
        self._announced[agent] = owners
        self._changed()

    def join(self, owner: Hashable) -> None:
        """Add an owner."""
        self._held[owner] = self._expected[owner] = 0

    def leave(self, owner: Hashable) -> None:
        """Remove an owner and release all that it holds. Does nothing if it has left already."""
        self._held.pop(owner, None)
        self._expected.pop(owner, None)
        self._changed()

    def room_bytes(self, owner: Hashable, *, common: bool = True) -> int:
        """Bytes that `owner` may still fetch; without `common`, only the rest of its own share."""
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
        """Reserve bytes for a read that is under way."""
        if owner in self._held:
            self._expected[owner] = size_bytes

    def take(self, owner: Hashable, size_bytes: int) -> None:
        """Replace the reservation by the bytes that were read."""
        if owner in self._held:
            self._held[owner] += size_bytes
            self._expected[owner] = 0
            self._changed()

    def give_back(self, owner: Hashable, size_bytes: int) -> None:
        """Release bytes of a fetch that is finished, committed or not."""
        if owner in self._held:
            self._held[owner] -= size_bytes
            self._changed()

    @property
    def held_bytes(self) -> int:
        """Bytes in flight of all owners."""
        return sum(self._held.values())

    def _changed(self) -> None:
        self._measure()
        for future in self._waiting:
            if not future.done():
                future.set_result(None)

    def _measure(self) -> None:
        metrics.gauge("fetch_in_flight_bytes", self.held_bytes)


#: The budget of this process, shared by both agents of a worker.
WORKER = FetchBudget(limits.FETCHED_BYTES_MAX)
