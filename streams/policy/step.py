"""Results of the stages for one fetch: outputs with their parents, decisions, rejects and counts (law 7).

Stages do not write lineage; the pipeline derives it from the `Step`, so no stage can forget it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

from msgspec import Struct
from msgspec import field as struct_field
from msgspec.structs import replace

from streams.consent.words import NO_CONSENT, Consent, Word
from streams.events.batch import Batch
from streams.events.claims import claimed
from streams.events.digest import digest
from streams.events.record import Headers, Received, bytes_on_topic
from streams.events.runs import Parent, Run
from streams.limits import KEY_BYTES_MAX, REJECTED_BYTES_MAX

Verdict = Literal["allow", "deny", "unconfigured"]
#: Stands for the verdict where another policy makes no decision, because it refuses the events earlier.
NOT_ASKED = "not-asked"
#: Outcomes of a batch or record that was not accepted: refused by a rule; unreadable; dropped because it is
#: stored already; other data under numbers that are in use; captured outside the policy's time window;
#: arrived after its place was given up, a hole in its stream or a window that it would change.
RejectOutcome = Literal["refused", "malformed", "repeated", "collision", "clock", "late"]
#: How feedback is given, and what it says of an answer.
FeedbackForm = Literal["thumb", "choice", "spoken", "rating", "review"]
FeedbackMeaning = Literal["confirmed", "corrected", "denied", "unclear"]
#: Rule, outcome and zone of a record that cannot be read.
MALFORMED: Literal["malformed"] = "malformed"


class Tagged(Struct, frozen=True):
    """A batch with its zone and label (packed bytes); `attributes` are what the policy used.

    `consent_number` is the consent record under which it was captured, `consent` the consent in force (None:
    the data belongs to no single person).
    """

    batch: Batch
    zone: str
    label: bytes
    rule: str
    attributes: str = ""
    consent_number: int = 0
    consent: Consent | None = NO_CONSENT


class Stretch(Struct):
    """Consecutive captured batches of one stream that no policy can distinguish.

    They agree in kind, wearer, session, origin, context and tag, and their numbers have no hole between them.
    So one decision holds for all, and lineage states once what they have in common. A stretch ends at the
    latest with the fetch.

    `first` is the first batch, tagged. `batches`, their `values` and `headers` are parallel lists in
    partition order. A part of a batch that was split is a stretch of its own; `source` is the value that was
    split. `due` is the number after the highest of the stream that had arrived
    before it; `seen` are the numbers that had arrived, without those that follow the last interval.
    """

    first: Tagged
    source: bytes = b""
    due: int = 0
    seen: Sequence[tuple[int, int]] = ()
    batches: list[Batch] = struct_field(default_factory=list)
    values: list[bytes] = struct_field(default_factory=list)
    headers: list[Headers] = struct_field(default_factory=list)

    @property
    def kind(self) -> str:
        """Kind of its events."""
        return self.first.batch.kind

    @property
    def stream(self) -> tuple[str, str]:
        """The stream, as (source, name)."""
        return self.first.batch.source, self.first.batch.stream

    @property
    def run(self) -> Run:
        """Numbers of all its events."""
        first, last = self.first.batch.run, self.batches[-1].run
        return Run(first.first, 1, last.first + last.count - first.first)

    @property
    def late(self) -> bool:
        """Whether later numbers of the same stream arrived before it."""
        return self.first.batch.run.first < self.due

    @property
    def holes(self) -> list[tuple[int, int]]:
        """Numbers (inclusive) below the highest that had not arrived when it began, in order."""
        first = self.first.batch.run.first
        seen = ((-1, -1), *self.seen)
        holes = [(below + 1, above - 1) for (_, below), (above, _) in pairwise(seen) if below + 1 < above]
        return [*holes, (self.due, first - 1)] if first > self.due else holes

    @property
    def whole(self) -> Tagged:
        """All of it as one tagged run, with the times and the position of the first batch."""
        return replace(self.first, batch=replace(self.first.batch, run=self.run))

    def tagged(self) -> list[Tagged]:
        """Its batches one by one, with their common tag."""
        return [replace(self.first, batch=batch) for batch in self.batches]

    def continued_by(self, tagged: Tagged) -> bool:
        """Whether a batch of the same stream continues it."""
        run, batch = self.batches[-1].run, tagged.batch
        return run.first + run.count == batch.run.first and alike(self.first, tagged)


def alike(earlier: Tagged, later: Tagged) -> bool:
    """Whether two batches of one stream have equal tags, and agree in all else that their lineage shares."""
    a, b = earlier.batch, later.batch
    return (
        (a.kind, a.wearer_id, a.session_id, a.origin, a.context)
        == (b.kind, b.wearer_id, b.session_id, b.origin, b.context)
        and (earlier.zone, earlier.label, earlier.rule) == (later.zone, later.label, later.rule)
        and (earlier.attributes, earlier.consent_number, earlier.consent)
        == (later.attributes, later.consent_number, later.consent)
    )


def in_order(stretches: Iterable[Stretch]) -> list[Tagged]:
    """All batches of some stretches one by one, in partition order."""
    tagged = [item for stretch in stretches for item in stretch.tagged()]
    return sorted(tagged, key=lambda item: item.batch.position)


class Output(Struct, frozen=True):
    """A tagged result of a stage for a topic, with its parents; `value` if its bytes exist already.

    `topic` is empty for a result that is only recorded.
    """

    topic: str
    tagged: Tagged
    operator: str = ""
    operator_version: int = 1
    parents: tuple[Parent, ...] = ()
    value: bytes | None = None


class Decision(Struct, frozen=True, kw_only=True):
    """One verdict about one run of events at one crossing; `t_ns` is when the first was captured.

    `appended_ns` is the append time; `at_ns` is the time for which the flow was decided, 0 if they are equal.
    `consent_state` is empty if the data belongs to no single person.
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
    """Why a batch or record was not accepted: the stage and its rule, a sentence, and the outcome.

    The sentence contains no value of the record.
    """

    stage: str
    rule: str
    reason: str
    outcome: RejectOutcome = "refused"


class Reject(Struct, frozen=True, kw_only=True):
    """A batch, or a record that is no batch, for `glasses.rejected`.

    It arrived and was not accepted, or it was not made for a reason that no decision states. A derived event
    that the policy refuses has no reject, because its decision says everything; a model version that it
    refuses has one, because its number is used up.

    `value` has the bytes of a malformed record, and is None if the policy refused the data: those bytes go
    nowhere. `topic` is given if the record was not read with the fetch. Times are those of the broker or of
    the device, in ns since the Unix epoch.
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
        """Reject a record that cannot be read, or is refused unread; keep its bytes up to a bound.

        The reject names the events that the record claims to contain, but no wearer, because the claim was
        not checked. `now_ns` is the broker's time.
        """
        value = bytes_on_topic(record)
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
        """Reject a batch that a stage refuses or does not make; its bytes are not kept.

        `key` and `value` are those of its record, if it has one; only the size and the digest of the value
        are kept. Without `key` the batch's source is used.
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


class NoticeEvent(Struct, frozen=True):
    """A notice that is due at an event of a device, or that the event acknowledges, by its version."""

    batch: Batch
    version: str
    acknowledged: bool = False


class Opinion(Struct, frozen=True):
    """What one event of `feedback` says of an answer: the answer's stream and number, and its version.

    `zone` and `label` are the highest and the join of those of both, because it tells of both.
    `candidate` is a version that answered the same query in shadow, 0 for none, and `candidate_meaning` what
    the feedback says of that answer.
    """

    feedback: Tagged
    zone: str
    label: bytes
    answer_stream: str
    answer: int
    version: int
    form: FeedbackForm
    meaning: FeedbackMeaning
    candidate: int = 0
    candidate_meaning: FeedbackMeaning | Literal[""] = ""


@dataclass(slots=True)
class Counts:
    """Counts of one fetch besides outputs, in events except `batches`.

    `queries` are those that the model read, `grams` the mass of their n-grams (see `streams.models.drift`);
    `shadowed` are those that a candidate answered in shadow, of which it understood `shadowed_alike` alike.
    """

    batches: int = 0
    events: int = 0
    repeated: int = 0
    late: int = 0
    too_late: int = 0
    collided: int = 0
    queries: int = 0
    shadowed: int = 0
    shadowed_alike: int = 0
    grams: Any = None


@dataclass(slots=True)
class Step:
    """Results of the stages for one fetch, in the order of the stages.

    `stretches` are the captured data that passed the zones, in order of the position of their first batch;
    `outputs` are what was made from them.
    """

    stretches: list[Stretch] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    opinions: list[Opinion] = field(default_factory=list)
    #: Words of wearers about the use of their data: a batch of one event, and the word that it states.
    consents: list[tuple[Batch, Word]] = field(default_factory=list)
    notices: list[NoticeEvent] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
