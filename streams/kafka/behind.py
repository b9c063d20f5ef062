"""How far the reader of a partition is behind the end of its log, seen at several moments."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from aiokafka import AIOKafkaConsumer, TopicPartition

#: Ends of the log that are remembered; with more, every other one is forgotten.
_ENDS_MAX = 512


@dataclass(slots=True)
class Behind:
    """The lag of one partition: `records` at the last look, and for how long the oldest of them has waited.

    The time is measured by a monotonic clock from the look that first saw the record in the log, so steps of
    a clock do not change it. It is too short by what happened before the first look. `oldest_ms` is the
    append time of the oldest record that was read and not committed yet, if there is one; it knows of that.
    """

    records: int = 0
    oldest_ms: int | None = None
    _ends: deque[tuple[int, float]] = field(default_factory=deque)

    def look(self, next_offset: int, end: int, now_s: float, *, only_markers: bool = False) -> None:
        """Take note of the next offset to commit, and of the end of the log, which was asked for after it.

        An end before the next offset counts as that offset: the log was truncated, or the broker that
        answered was behind. With `only_markers`, nothing but markers of transactions lies between them.
        """
        self.records = 0 if only_markers else max(end - next_offset, 0)
        if not self.records:
            self._ends.clear()
            return
        while self._ends and self._ends[0][0] <= next_offset:
            self._ends.popleft()
        if not self._ends or end > self._ends[-1][0]:
            self._ends.append((end, now_s))
        if len(self._ends) > _ENDS_MAX:
            # The first one stays, because it is the one that counts now.
            self._ends = deque(list(self._ends)[::2])

    def seconds(self, now_s: float, now_ms: float) -> float:
        """For how long the oldest unread record has waited at least, in seconds; 0 if there is none.

        `now_s` is the monotonic time, `now_ms` the time of day in ms since the epoch.
        """
        if not self.records:
            return 0.0
        waited_s = now_s - self._ends[0][1] if self._ends else 0.0
        since_s = 0.0 if self.oldest_ms is None else (now_ms - self.oldest_ms) / 1000
        return max(waited_s, since_s, 0.0)


async def ends_of(
    consumer: AIOKafkaConsumer, tps: Sequence[TopicPartition]
) -> Mapping[TopicPartition, tuple[int, int]]:
    """Next offset to read, and end of the committed records, of partitions that are still assigned.

    KafkaError if the broker does not answer.
    """
    ends = await consumer.end_offsets(tps)
    assigned = consumer.assignment()
    # The client would wait for a position, which a partition does not have before its first seek.
    states = {
        tp: consumer._subscription.subscription.assignment.state_value(tp) for tp in ends if tp in assigned
    }
    return {
        tp: (state.position, ends[tp]) for tp, state in states.items() if state and state.has_valid_position
    }
