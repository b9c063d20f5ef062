"""Records that are refused without being read."""

from __future__ import annotations

from streams.events.codec import digest
from streams.events.record import Received
from streams.events.step import Reject
from streams.limits import KEY_BYTES_MAX, REJECTED_BYTES_MAX


def unread(record: Received, reason: str, rule: str, stage: str, now_ns: int) -> Reject:
    """A record that cannot be read, or is refused unread; with its bytes, up to a bound."""
    value = record.value or b""
    return Reject(
        reason,
        rule,
        stage,
        record.offset,
        (record.key or b"")[:KEY_BYTES_MAX],
        len(value),
        digest(value),
        value[:REJECTED_BYTES_MAX],
        zone="malformed",
        t_ns=now_ns,
        appended_ns=now_ns,
    )
