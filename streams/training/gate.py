"""The training gate: learn from an example only if its label permits training and all the model serves.

It decides by label, never by trust in earlier stages, and always enforces. What it refuses is listed with the
rule, in a decision and in the manifest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from msgspec.structs import replace

from streams.errors import MalformedError
from streams.events.agreement import check_headers
from streams.events.batch import Batch
from streams.events.codec import decode
from streams.events.consent import reference
from streams.events.headers import LABEL, SINCE, ZONE
from streams.events.known import Known
from streams.events.record import Received, stamp_ns
from streams.events.step import Decision, Tagged
from streams.limits import LABEL_BYTES, NUMBER_MAX
from streams.policy.flow import at_gate, decision_of
from streams.policy.policy import JOIN_RULE, Policy
from streams.topology import TRAINING_RUN


@dataclass(frozen=True, slots=True)
class Candidate:
    """An example as it stands at the gate, and what the gate decided."""

    tagged: Tagged
    decision: Decision

    @property
    def id(self) -> str:
        """Identity of the example."""
        return self.tagged.batch.first_id

    @property
    def admitted(self) -> bool:
        """Whether a run may learn from it."""
        return self.decision.passed

    @property
    def rule(self) -> str:
        """What admitted or refused it."""
        return self.decision.rule


#: (label, policy version that gave it, policy in force) -> label in the words of that policy, empty where it
#: has none.
Adopt = Callable[[bytes, str, Policy], bytes]


def read(record: Received) -> tuple[Batch, str, str]:
    """(batch, zone, label header) of a record of `glasses.examples`.

    MalformedError when no feedback stage wrote it.
    """
    batch = decode(record.value, record.offset, stamp_ns(record), captured=False)
    if batch.context is None:
        raise MalformedError("context: found none, expected that of the feedback which made the example")
    if batch.kind != "example" or batch.run.count != 1:
        raise MalformedError("example: found another kind or several events, expected one example a record")
    check_headers(record.headers, batch, captured=False)
    if record.key != batch.source.encode():
        raise MalformedError("key: found another one than device_id, expected the key to be the device")
    headers = dict(record.headers)
    since = headers.get(SINCE, b"1")
    if not since.isdigit() or not 0 < int(since) <= NUMBER_MAX:
        raise MalformedError(f"headers: {SINCE} holds no time, expected what the pipeline writes")
    # An example that does not say so is one of an older version: as if it had held something ever since.
    batch = replace(batch, since_ns=int(since))
    try:
        return batch, headers.get(ZONE, b"").decode(), headers.get(LABEL, b"").decode()
    except UnicodeDecodeError:
        raise MalformedError(
            "headers: found a tag that is no text, expected what the pipeline writes"
        ) from None


def judge(record: Received, policy: Policy, adopt: Adopt, known: Known, now_ns: int) -> Candidate:
    """Judge one example at `now_ns`, the broker's time.

    MalformedError when the record is no example.

    The consent is the wearer's as it stands then, of what the example was captured under.
    """
    batch, zone, header = read(record)
    label, number = _label(header, policy, adopt), batch.consent
    under = reference(batch.source, batch.stream, number)
    consent = known.of(batch.wearer_id, under, batch.oldest_ns, record.offset, now_ns)
    tagged = Tagged(batch, zone, label, JOIN_RULE, "", number, consent)
    return Candidate(tagged, decision_of(tagged, TRAINING_RUN, at_gate(policy, tagged, now_ns), now_ns))


def labelled_under(record: Received) -> str:
    """Policy version that the label of a record names; empty when it names none."""
    return (
        next((value or b"" for name, value in record.headers if name == LABEL), b"")
        .decode(errors="replace")
        .partition(":")[0]
    )


def _label(header: str, policy: Policy, adopt: Adopt) -> bytes:
    """Label of a header in the words of the policy in force.

    Empty, which passes nowhere, when it is missing or cannot be said in them.
    """
    version, _, packed = header.partition(":")
    if not packed:
        return b""
    try:
        label = bytes.fromhex(packed)
    except ValueError:
        label = b""
    if len(label) != LABEL_BYTES:
        raise MalformedError(
            f"headers: {LABEL} holds no label, expected the policy's version and {LABEL_BYTES} bytes in "
            "hexadecimal"
        )
    return adopt(label, version, policy)
