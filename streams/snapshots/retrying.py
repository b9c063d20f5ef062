"""A writer that goes on after a disk was full or away: it says so and tries again after growing pauses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import duckdb

from streams.errors import UnavailableError
from streams.events.record import Received
from streams.snapshots.rows.poll import Poll
from streams.snapshots.writer import Writer

PAUSE_FIRST_S, PAUSE_MAX_S = 0.5, 5.0

T = TypeVar("T")


class RetryingWriter:
    """Wraps an open `Writer`; what a full or lost disk makes fail is tried again until it is done.

    Delivery: that of `Writer`. DuckDB may give up a file after a failed write, so each further attempt begins
    with a store that is opened again as after a crash; what had been taken in by then is known by its offsets
    and not repeated.

    Parameters
    ----------
    say
        Gets one sentence per failed attempt.
    wait
        Waits so many seconds; returns True when the writer shall stop instead of trying again.
    """

    def __init__(self, writer: Writer, say: Callable[[str], None], wait: Callable[[float], bool]) -> None:
        self._writer, self._say, self._wait = writer, say, wait

    def ingest(
        self, records: Mapping[int, Sequence[Received]], next_offsets: Mapping[int, int], monotonic_ns: int
    ) -> int:
        """See `Writer.ingest`."""
        return self._retried(lambda: self._writer.ingest(records, next_offsets, monotonic_ns))

    def take_in(self, poll: Poll, next_offsets: Mapping[int, int], monotonic_ns: int) -> int:
        """See `Writer.take_in`."""
        return self._retried(lambda: self._writer.take_in(poll, next_offsets, monotonic_ns))

    def publish_due(self, monotonic_ns: int) -> int | None:
        """See `Writer.publish_due`."""
        return self._retried(lambda: self._writer.publish_due(monotonic_ns))

    def publish(self, now_ns: int) -> int | None:
        """See `Writer.publish`."""
        return self._retried(lambda: self._writer.publish(now_ns))

    def settle(self, now_ns: int) -> int | None:
        """See `Writer.settle`."""
        return self._retried(lambda: self._writer.settle(now_ns))

    def _retried(self, work: Callable[[], T]) -> T:
        """Return what `work` does once it succeeds.

        Raises
        ------
        UnavailableError
            It shall stop, and the store still cannot be written.
        """
        pause_s, reopen = PAUSE_FIRST_S, False
        while True:
            try:
                if reopen:
                    self._writer.reopen()
                return work()
            except (OSError, duckdb.Error) as error:
                # Of a refused write DuckDB's message holds the file and the system's reason, nothing of a
                # row.
                failure = f"the store {self._writer.path} cannot be written ({_reason(error)})"
                self._say(f"{failure}; nothing is lost, tried again in {pause_s:g} s")
                if self._wait(pause_s):
                    raise UnavailableError(
                        f"{failure}. Make room and start again: it goes on where it stopped"
                    ) from error
            pause_s, reopen = min(pause_s * 2, PAUSE_MAX_S), True


def _reason(error: OSError | duckdb.Error) -> str:
    # DuckDB puts the system's reason at the end, of some of its errors inside JSON.
    text = (
        error.strerror if isinstance(error, OSError) else str(error).partition('","')[0].rpartition(": ")[2]
    )
    return text.splitlines()[0][:200] if text else type(error).__name__
