"""What the stages make of a fetch: outputs with their parents, decisions, rejects and counts (law 7).

Stages do not write lineage; the pipeline records it from the `Step`, so no stage can forget.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from msgspec import Struct

from streams.consent.words import NO_CONSENT, Consent, Word
from streams.events.batch import Batch
from streams.events.claims import claimed
from streams.events.digest import digest
from streams.events.record import Headers, Received
from streams.events.runs import Parent, Run
from streams.limits import KEY_BYTES_MAX, REJECTED_BYTES_MAX

Verdict = Literal["allow", "deny", "unconfigured"]
#: Stands for the verdict where another policy never asked: an earlier refusal kept the events from coming so
#: far.
NOT_ASKED = "not-asked"
#: What became of a batch or record that was not taken: refused by a rule, unreadable, dropped as one that is
#: stored, other data under numbers that are taken, captured outside the policy's window of time, or after its
#: place was given up.
RejectOutcome = Literal["refused", "malformed", "repeated", "collision", "clock", "late"]
#: Rule, outcome and zone of what cannot be read.
MALFORMED: Literal["malformed"] = "malformed"


class Tagged(Struct, frozen=True):
    """A batch with its zone and label (packed bytes); what the policy looked at is `attributes`.

    `consent_number` is the consent record that it was captured under, `consent` how that stands now (None: no
    one person's data).
    """

    batch: Batch
    zone: str
    label: bytes
    rule: str
    attributes: str = ""
    consent_number: int = 0
    consent: Consent | None = NO_CONSENT


class Output(Struct, frozen=True):
    """A tagged batch on its way to a topic. `parents` is empty for captured batches.

    `value` and `headers` are given where a record is forwarded as it came; `source_digest` where a batch was
    split. `topic` is empty for what is only recorded.
    """

    topic: str
    tagged: Tagged
    operator: str = ""
    operator_version: int = 1
    parents: tuple[Parent, ...] = ()
    value: bytes | None = None
    headers: Headers = ()
    source_digest: str = ""


class Decision(Struct, frozen=True, kw_only=True):
    """One verdict about one run of events at one crossing; `t_ns` is when the first was captured.

    `appended_ns` is when the broker took it, `at_ns` the time that the decision looked at, 0 where it is that
    same time. `consent_state` is empty where the data is no one person's.
    """

    source: str
    stream: str
    run: Run
    t_ns: int
    sink: str
    purpose: str
    verdict: Verdict
    passed: bool
    mode: str
    zone: str
    label: bytes
    rule: str
    attributes: str
    consent: int
    consent_state: str
    wearer: str
    appended_ns: int
    at_ns: int


class Cause(Struct, frozen=True):
    """Why a batch or record was not taken: the stage and its rule, a sentence, and what became of it.

    The sentence says no value of the record.
    """

    stage: str
    rule: str
    reason: str
    outcome: RejectOutcome = "refused"


class Reject(Struct, frozen=True, kw_only=True):
    """A batch, or a record that is none, on its way to `glasses.rejected`.

    `value` are the bytes of a malformed record and None for one that policy refused: those bytes go nowhere.
    `topic` is given where it was not read with the fetch. Times are the broker's or the device's, in ns since
    the Unix epoch.
    """

    cause: Cause
    position: int
    key: bytes
    value_bytes: int = 0
    digest: str = ""
    value: bytes | None = None
    source: str = ""
    stream: str = ""
    run: Run | None = None
    zone: str = ""
    t_ns: int = 0
    wearer: str = ""
    appended_ns: int = 0
    topic: str = ""

    @classmethod
    def malformed(cls, record: Received, cause: Cause, now_ns: int) -> Reject:
        """A record that cannot be read, or is refused unread, with its bytes up to a bound.

        It names the events that it claims to hold, and no wearer: nobody has looked whose they are. `now_ns`
        is the broker's time.
        """
        value = record.value or b""
        source, stream, run = claimed(record)
        return cls(
            cause=cause,
            position=record.offset,
            key=(record.key or b"")[:KEY_BYTES_MAX],
            value_bytes=len(value),
            digest=digest(value),
            value=value[:REJECTED_BYTES_MAX],
            source=source,
            stream=stream,
            run=run,
            zone=MALFORMED,
            t_ns=now_ns,
            appended_ns=now_ns,
        )

    @classmethod
    def refused(
        cls, batch: Batch, cause: Cause, *, zone: str = "", key: bytes | None = None, value: bytes = b""
    ) -> Reject:
        """A batch that a stage refuses, or that is not made, without its bytes.

        `key` and `value` are those of its record, if it has one: the size and the digest of the value are
        kept. Without `key` it is the batch's source.
        """
        return cls(
            cause=cause,
            position=batch.position,
            key=batch.source.encode() if key is None else key,
            value_bytes=len(value),
            digest=digest(value) if value else "",
            source=batch.source,
            stream=batch.stream,
            run=batch.run,
            zone=zone,
            t_ns=batch.t0_ns,
            wearer=batch.wearer_id,
            appended_ns=batch.appended_ns,
        )


@dataclass(slots=True)
class Counts:
    """What happened in a fetch besides outputs, in events unless said otherwise."""

    batches: int = 0
    events: int = 0
    repeated: int = 0
    late: int = 0
    too_late: int = 0
    collided: int = 0


@dataclass(slots=True)
class Step:
    """What the stages made of one fetch, in their order."""

    outputs: list[Output] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    #: What wearers said about the use of their data: the event alone in a batch, and the record that it comes
    #: to.
    consents: list[tuple[Batch, Word]] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
