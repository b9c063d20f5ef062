"""The only place that reads the wall clock; everything else takes time as an argument."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime


def now_ns() -> int:
    """Nanoseconds since the Unix epoch, UTC."""
    return time.time_ns()


def date_today() -> date:
    """Today's date, UTC."""
    return datetime.now(UTC).date()


def monotonic_s() -> float:
    """Seconds on a clock that never runs backwards; for durations and deadlines only."""
    return time.monotonic()


def monotonic_ns() -> int:
    """Nanoseconds on the clock of `monotonic_s`."""
    return time.monotonic_ns()


def sleep(seconds: float) -> None:
    """Block the calling thread for some seconds; not for use in an event loop."""
    time.sleep(seconds)


def rfc3339_ms(time_ms: int) -> str:
    """Milliseconds since the Unix epoch as text, such as 2026-11-28T07:30:09.123Z."""
    return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%dT%H:%M:%S}.{time_ms % 1000:03d}Z"
