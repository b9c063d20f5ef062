"""Run folds while epochs are published, one at a time, and postpone folds that fail."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from streams import clock, limits, metrics
from streams.snapshots.folds.fold import Folded

_PAUSE_FIRST_S = 1.0


class Work(Protocol):
    """A fold, or what makes files beside the current ones like one."""

    def run(self) -> Folded:
        """Make the files; any error means that there are none."""

    def interrupt(self) -> None:
        """End it soon, with an error; called by another thread."""


class Folder:
    """At most one fold at a time; every method is for the thread that publishes.

    Parameters
    ----------
    inline
        Folds run in the calling thread: for tests, and for commands where waiting does not matter.
    say
        Called with one sentence when folds begin to fail.
    """

    def __init__(self, *, inline: bool, say: Callable[[str], None]) -> None:
        self._inline, self._say = inline, say
        self._fold: Work | None = None
        self._thread: threading.Thread | None = None
        self._done: Folded | None = None
        self._error: Exception | None = None
        self._failures, self._not_before_s = 0, 0.0

    @property
    def rows_max(self) -> int:
        """Maximal number of rows of the next fold; smaller after each failed fold."""
        return limits.FOLD_ROWS_MAX >> min(self._failures, 16)

    @property
    def free(self) -> bool:
        """Whether a fold may be started now."""
        return self._fold is None and self._done is None and clock.monotonic_s() >= self._not_before_s

    def start(self, work: Work) -> None:
        """Begin a fold; none may be running."""
        self._fold = work
        if self._inline:
            self._run(work)
            self.result()
        else:
            self._thread = threading.Thread(target=self._run, args=(work,), name="fold")
            self._thread.start()

    def _run(self, fold: Work) -> None:
        try:
            self._done = fold.run()
        except Exception as error:  # noqa: BLE001 - whatever it is, epochs go on
            self._error = error

    def result(self, wait_s: float | None = 0.0) -> Folded | None:
        """Result of the last fold, until `recorded`; None if there is nothing to record.

        Waits for a running fold for at most `wait_s` seconds, or without a bound if that is None.
        """
        if self._thread is not None:
            if wait_s != 0.0:
                self._thread.join(wait_s)
            if not self._thread.is_alive():
                self._thread = None
        if self._fold is not None and self._thread is None:
            self._fold = None
            if self._error is None:
                self._failures = 0
            else:
                self._failed(self._error)
                self._error = None
        return self._done if self._fold is None else None

    def _failed(self, error: Exception) -> None:
        metrics.count("fold_failed_total")
        if not self._failures:
            # Without the error's text, which may hold values of the store.
            self._say(
                f"segments could not be folded, or freed of what is over ({type(error).__name__}); epochs "
                "go on, and it is tried again with less at a time. Is there room on the disk?"
            )
        self._failures += 1
        pause_s = min(_PAUSE_FIRST_S * 2 ** (self._failures - 1), limits.FOLD_PAUSE_MAX_S)
        self._not_before_s = clock.monotonic_s() + pause_s

    def recorded(self) -> None:
        """Note that an epoch recorded the result."""
        self._done = None

    def abandon(self) -> None:
        """End a running fold and discard its result; no epoch will record it."""
        if self._fold is not None and self._thread is not None:
            self._fold.interrupt()
            self._thread.join()
        self._fold = self._thread = self._done = self._error = None
