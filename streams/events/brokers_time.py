"""The broker's time as a process knows it: what it read last, and what has passed since."""

from __future__ import annotations


class BrokersTime:
    """The newest append time that was heard, continued by a monotonic clock."""

    def __init__(self) -> None:
        self._heard_ns, self._at_ns = 0, 0

    def heard(self, appended_ns: int, monotonic_ns: int) -> None:
        """Note an append time, ns since the epoch, that was read at a time of a monotonic clock (ns)."""
        if appended_ns > self.now_ns(monotonic_ns):
            self._heard_ns, self._at_ns = appended_ns, monotonic_ns

    def now_ns(self, monotonic_ns: int) -> int:
        """The broker's time at a time of the monotonic clock, never too late; 0 if none was heard yet."""
        return self._heard_ns + monotonic_ns - self._at_ns if self._heard_ns else 0
