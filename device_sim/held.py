"""What a device keeps to itself until Kafka has a consent: nothing leaves under a number before that.

The radio repeats, delays and swaps batches. What is captured under a consent and overtakes it would be
refused for want of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Set as AbstractSet

from device_sim.own_consent import KIND
from streams.events.batch import Batch
from streams.events.journal import Sent


class Held:
    """Batches of one device in the order of its journal; those in front that wait for no consent may leave.

    Guarantee: a batch that names a consent number leaves after the acknowledgement of the change in front of
    it that recorded the number, and whatever is behind such a batch leaves after it. A number that no change
    in front recorded holds nothing back: what could be waited for would never come.
    """

    def __init__(self) -> None:
        self._queue: deque[tuple[Sent, frozenset[int], frozenset[int]]] = deque()
        self._awaited: dict[str, frozenset[int]] = {}

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def awaited(self) -> AbstractSet[str]:
        """Ids of the changes of consent that have left and are not acknowledged."""
        return self._awaited.keys()

    def add(self, sent: Sent, batch: Batch) -> None:
        """Take the next batch of the journal."""
        contexts = (batch.context, *(context for _, context in batch.changes))
        named = frozenset(context.consent for context in contexts if context is not None)
        self._queue.append((sent, named, frozenset(batch.columns["consent"] if batch.kind == KIND else ())))

    def free(self) -> list[Sent]:
        """Give away what may leave now, in order."""
        out = []
        while self._queue and not self._waits(self._queue[0][1]):
            sent, _, records = self._queue.popleft()
            if records:
                self._awaited[sent.id] = records
            out.append(sent)
        return out

    def acknowledged(self, batch_id: str) -> None:
        """Hear that Kafka has a batch."""
        self._awaited.pop(batch_id, None)

    def _waits(self, named: frozenset[int]) -> bool:
        return any(not named.isdisjoint(records) for records in self._awaited.values())
