"""The training gate: an example is learned from only if its label permits training and all that the model serves.

It decides by label, never by trust in earlier stages, and always enforces. What it refuses is listed with the rule, in
a decision and in the manifest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from streams.errors import MalformedError
from streams.events.agreement import check_headers
from streams.events.batch import Batch
from streams.events.codec import decode
from streams.events.headers import LABEL, ZONE
from streams.events.record import Received
from streams.events.step import Decision, Tagged, Verdict
from streams.limits import LABEL_BYTES
from streams.policy.flow import TRAINING_RUN
from streams.policy.policy import Policy


@dataclass(frozen=True, slots=True)
class Candidate:
    """An example as it stands at the gate; `rule` says what admitted or refused it."""

    tagged: Tagged
    verdict: Verdict
    rule: str

    @property
    def admitted(self) -> bool:
        """Whether a run may learn from it."""
        return self.verdict == "allow"


def read(record: Received) -> tuple[Batch, str, str]:
    """(batch, zone, label header) of a record of `glasses.examples`; MalformedError when no feedback stage wrote it."""
    batch = decode(record.value, record.offset, captured=False)
    if batch.context is None:
        raise MalformedError("context: found none, expected that of the feedback which made the example")
    if batch.kind != "example" or batch.run.count != 1:
        raise MalformedError("example: found another kind or several events, expected one example a record")
    check_headers(record.headers, batch, captured=False)
    if record.key != batch.source.encode():
        raise MalformedError("key: found another one than device_id, expected the key to be the device")
    headers = dict(record.headers)
    try:
        return batch, headers.get(ZONE, b"").decode(), headers.get(LABEL, b"").decode()
    except UnicodeDecodeError:
        raise MalformedError("headers: found a tag that is no text, expected what the pipeline writes") from None


def judge(record: Received, policy: Policy, now_ns: int) -> Candidate:
    """Judge one example at `now_ns` (event time of the run); MalformedError when the record is no example."""
    batch, zone, header = read(record)
    label = _label(header, policy)
    verdict, rule = _verdict(batch, zone, label, policy, now_ns)
    return Candidate(Tagged(batch, zone, label, "join of parents"), verdict, rule)


def _label(header: str, policy: Policy) -> bytes:
    """Label of a header; empty when it is missing or of another policy version, which no verdict lets pass."""
    version, _, packed = header.partition(":")
    if version != policy.version:
        return b""
    try:
        label = bytes.fromhex(packed)
    except ValueError:
        label = b""
    if len(label) != LABEL_BYTES:
        raise MalformedError(f"headers: {LABEL} holds no label, expected the policy's version and {LABEL_BYTES} bytes in hexadecimal")
    return label


def _verdict(batch: Batch, zone: str, label: bytes, policy: Policy, now_ns: int) -> tuple[Verdict, str]:
    if not label:
        return "unconfigured", "gate: the label is missing or of another policy version"
    flow = policy.flow(zone, label, TRAINING_RUN)
    if flow.verdict != "allow":
        return flow.verdict, flow.rule
    if not policy.permits(label, policy.served_purposes):
        return "deny", "gate: the example does not permit what the model serves"
    if policy.expires_ns(label, batch.t0_ns) <= now_ns:
        return "deny", "gate: the example's retention is over"
    if not batch.consent:
        return "deny", "gate: no consent is known"
    return "allow", flow.rule


def decisions(candidates: Sequence[Candidate], policy: Policy) -> list[Decision]:
    """Record of what the gate decided."""
    purpose = policy.sinks[TRAINING_RUN].purpose if TRAINING_RUN in policy.sinks else ""
    return [Decision(one.tagged.batch.source, one.tagged.batch.stream, one.tagged.batch.run, one.tagged.batch.t0_ns, TRAINING_RUN, purpose,
                     one.verdict, one.admitted, "enforcing", one.tagged.zone, one.tagged.label, one.rule, "",
                     one.tagged.batch.consent) for one in candidates]
