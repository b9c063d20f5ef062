"""A store writer that survives a full or lost disk: it reports errors and retries with growing pauses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import duckdb

from streams import metrics
from streams.consent.erased import Erasure, Mark
from streams.errors import UnavailableError
from streams.events.record import Received
from streams.snapshots.rows.poll import Poll
from streams.snapshots.writer import Writer

PAUSE_FIRST_S, PAUSE_MAX_S = 0.5, 5.0

T = TypeVar("T")


class RetryingWriter:
    """Wraps an open `Writer` and repeats calls that fail because of the disk until they succeed.

    Delivery: that of `Writer`. DuckDB may abandon a file after a failed write, so each further attempt first
    reopens the store as after a crash. Records that were taken in before are recognised by their offsets and
    not repeated.

    Parameters
    ----------
    say
        Called with one sentence per failed attempt.
    wait
        Waits the given number of seconds; returns True if the writer must stop instead of trying again.
    """

    def __init__(self, writer: Writer, say: Callable[[str], None], wait: Callable[[float], bool]) -> None:
        self._writer, self._say, self._wait = writer, say, wait

    def erase(self, erasures: Sequence[Erasure], mark: Mark, now_ns: int) -> int | None:
        """See `Writer.erase`."""
        return self._retried(lambda: self._writer.erase(erasures, mark, now_ns))

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
        """Repeat `work` until it succeeds, and return its result.

        Raises
        ------
        UnavailableError
            The writer must stop while the store still cannot be written.
        """
        pause_s, reopen = PAUSE_FIRST_S, False
        while True:
            try:
                if reopen:
                    self._writer.reopen()
                return work()
            except (OSError, duckdb.Error) as error:
                # DuckDB's message about a failed write holds the file and the system's reason, and no values.
                metrics.count("store_write_failed_total")
                failure = f"the store {self._writer.path} cannot be written ({_reason(error)})"
                self._say(f"{failure}; nothing is lost, tried again in {pause_s:g} s")
                if self._wait(pause_s):
                    raise UnavailableError(
                        f"{failure}. Make room and start again: it goes on where it stopped"
                    ) from error
            pause_s, reopen = min(pause_s * 2, PAUSE_MAX_S), True


def _reason(error: OSError | duckdb.Error) -> str:
    # DuckDB puts the system's reason at the end; some of its errors are JSON.
    text = (
        error.strerror if isinstance(error, OSError) else str(error).partition('","')[0].rpartition(": ")[2]
    )
    return text.splitlines()[0][:200] if text else type(error).__name__
