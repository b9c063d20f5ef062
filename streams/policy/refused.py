"""Records that are refused: unread, by what they claim to be, or as the batch that they hold."""

from __future__ import annotations

from streams.events.batch import Batch
from streams.events.claims import claimed
from streams.events.codec import digest
from streams.events.record import Received
from streams.limits import KEY_BYTES_MAX, REJECTED_BYTES_MAX
from streams.policy.step import Reject, RejectOutcome


def unread(
    record: Received, reason: str, rule: str, outcome: RejectOutcome, stage: str, now_ns: int
) -> Reject:
    """A record that cannot be read, or is refused unread; with its bytes, up to a bound.

    It names the events that it claims to hold, and no wearer: nobody has looked whose they are.
    """
    value = record.value or b""
    claim = claimed(record)
    return Reject(
        reason,
        rule,
        outcome,
        stage,
        record.offset,
        (record.key or b"")[:KEY_BYTES_MAX],
        len(value),
        digest(value),
        value[:REJECTED_BYTES_MAX],
        *claim,
        zone="malformed",
        t_ns=now_ns,
        appended_ns=now_ns,
    )


def rejected(
    stage: str,
    record: Received,
    batch: Batch,
    rule: str,
    outcome: RejectOutcome,
    reason: str,
    zone: str = "",
    appended_ns: int = 0,
) -> Reject:
    """A batch that a stage refuses, without its bytes; `appended_ns` is the batch's own unless given."""
    value = record.value or b""
    return Reject(
        reason,
        rule,
        outcome,
        stage,
        batch.position,
        record.key or b"",
        len(value),
        digest(value),
        None,
        batch.source,
        batch.stream,
        batch.run,
        zone,
        batch.t0_ns,
        batch.wearer_id,
        appended_ns or batch.appended_ns,
    )
