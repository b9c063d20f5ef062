"""Hold back batches that name a consent until Kafka has the change that recorded it.

The radio may repeat, delay and swap batches. A batch that overtakes the consent that it names would be
rejected.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Set as AbstractSet

from device_sim.own_consent import KIND
from streams.events.batch import Batch
from streams.events.journal import Sent


class Held:
    """Queue of the batches of one device in journal order, some of which wait for a consent.

    Guarantee: a batch that names a consent number is sent after the acknowledgement of the earlier change
    that recorded the number, and all later batches are sent after it. A number that no earlier change
    recorded does not hold a batch back, because that change would never arrive.
    """

    def __init__(self) -> None:
        self._queue: deque[tuple[Sent, frozenset[int], frozenset[int]]] = deque()
        self._awaited: dict[str, frozenset[int]] = {}

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def awaited(self) -> AbstractSet[str]:
        """Ids of the changes of consent that were sent and are not acknowledged."""
        return self._awaited.keys()

    def add(self, sent: Sent, batch: Batch) -> None:
        """Add the next batch of the journal."""
        contexts = (batch.context, *(context for _, context in batch.changes))
        named = frozenset(context.consent for context in contexts if context is not None)
        # An acknowledgement of a notice has the number 0, which is that of no record.
        records = frozenset(filter(None, batch.columns["consent"])) if batch.kind == KIND else frozenset()
        self._queue.append((sent, named, records))

    def free(self) -> list[Sent]:
        """Remove and return the batches that may be sent now, in order."""
        out = []
        while self._queue and not self._waits(self._queue[0][1]):
            sent, _, records = self._queue.popleft()
            if records:
                self._awaited[sent.id] = records
            out.append(sent)
        return out

    def acknowledged(self, batch_id: str) -> None:
        """Note that Kafka has a batch."""
        self._awaited.pop(batch_id, None)

    def _waits(self, named: frozenset[int]) -> bool:
        return any(not named.isdisjoint(records) for records in self._awaited.values())
