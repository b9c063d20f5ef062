"""How many records the next fetch of a partition may have."""

from __future__ import annotations

from streams import limits


class Pace:
    """Fetches begin small, double while they are done soon, and are halved where one took too long.

    A partition that changes hands has a backlog, and the first thing that comes of it should come soon. All
    partitions of a worker are computed in one loop, so a long fetch also holds up its neighbours, and those
    that are being restored. And whoever gives a partition up waits for its fetch for STOP_WORK_S only: what
    takes longer than that is done again by the next owner, while output stands still.
    """

    def __init__(self) -> None:
        self._records_max = limits.FETCH_RECORDS_FIRST

    @property
    def records_max(self) -> int:
        """Records that the next fetch may have."""
        return min(self._records_max, limits.FETCH_RECORDS_MAX)

    def done(self, records: int, work_s: float) -> None:
        """Take note of a fetch of `records` that was committed `work_s` seconds after its work began."""
        if work_s > limits.FETCH_WORK_S:
            self._records_max = max(records // 2, limits.FETCH_RECORDS_FIRST)
        elif 2 * records >= self.records_max:
            self._records_max = 2 * self.records_max
