"""One stream while a fetch lasts: which of its batches are new, their tags, and what keeps them out."""

from __future__ import annotations

from collections.abc import Sequence

from streams.consent import change
from streams.consent.words import NO_CONSENT, Consent, EffectiveConsent, reference
from streams.events.batch import Batch, Context
from streams.events.codec import encode
from streams.events.digest import digest
from streams.events.record import Received
from streams.events.state import Seen
from streams.policy.crossing import Crossing
from streams.policy.policy import Tag
from streams.policy.step import Cause, Output, Reject, Tagged
from streams.topology import CONSENTS, STORE, ZONED
from streams.zones.seen import Memory, add, bounded, unseen

STAGE = "zones"
_NONE = -1
_REPEAT = Cause(STAGE, "repeat", "arrived before; dropped", "repeated")
_NOT_BOUND = Cause(
    STAGE,
    "pairing",
    "pairing: the device is not bound to the wearer that it names; an operator binds it with "
    "`sightline pair`",
)
_CLOCK = Cause(
    STAGE,
    "clock",
    "clock: captured too far before or after the broker took it; set the device's clock",
    "clock",
)
_COLLISION = Cause(
    STAGE,
    "collision",
    "collision: other data came under these numbers before; is another device using this name?",
    "collision",
)
_TOO_LATE = Cause(
    STAGE, "too-late", "too late: the hole that it would fill was given up, or it came before", "late"
)


class Track:
    """One stream while a fetch lasts.

    Which numbers have come, and the stretch of events that is decided as one.
    """

    def __init__(self, seen: Seen, crossing: Crossing) -> None:
        self._ranges, self._floor, self._memory = seen.ranges, seen.floor, Memory(seen)
        self._crossing = crossing
        self._policy, self._known, self._step = crossing.policy, crossing.consents, crossing.step
        #: Numbers `_begun` ... `_next - 1` have come in this fetch, in order, and are not in `_ranges` yet.
        self._next = self._begun = self._ranges[-1][1] + 1 if self._ranges else _NONE
        self._stretch = crossing.stretch(ZONED, STORE)
        # What the batch before looked at, so that the next one, which is nearly always like it, need not.
        self._wearer, self._number, self._version = "", _NONE, _NONE
        self._standing, self._asked_ns = EffectiveConsent(NO_CONSENT), 0
        self._kind = ""
        self._context: Context | None = None
        self._consent, self._tag = NO_CONSENT, Tag("", "", b"", "")

    def take(self, record: Received, batch: Batch) -> None:
        """Take the next batch of the stream: what of it is new is tagged and handed on or refused."""
        run = batch.run
        if batch.wearer_id != self._wearer:
            if not self._known.bound(batch.source, batch.wearer_id):
                self._step.rejects.append(rejected(record, batch, _NOT_BOUND))
                return
            self._wearer, self._number = batch.wearer_id, _NONE
        if run.first == self._next:
            parts = [(run.first, run.last)]
            self._next = run.first + run.count
        else:
            self._remember()
            parts = unseen(self._ranges, run.first, run.last)
            if self._known_already(record, batch, parts):
                return
            if parts:
                self._ranges, self._floor = bounded(add(self._ranges, run.first, run.last), self._floor)
                self._next = self._begun = self._ranges[-1][1] + 1
        self._memory.note(batch, record.value or b"")
        self._step.counts.events += sum(high - low + 1 for low, high in parts)
        if not self._in_time(batch):
            for low, high in parts:
                part = batch.part(low - run.first, high - run.first + 1, batch.context)
                self._step.rejects.append(rejected(record, part, _CLOCK))
        elif parts == [(run.first, run.last)]:
            self._tag_whole(record, batch)
        else:
            self._tag_parts(record, batch, parts)

    def end(self) -> Seen:
        """Record the last decisions; return what the next fetch needs."""
        self._stretch.close()
        self._remember()
        return self._memory.end(self._ranges, self._floor)

    def _remember(self) -> None:
        if self._next > self._begun:
            self._ranges = add(self._ranges, self._begun, self._next - 1)
            self._begun = self._next

    def _known_already(self, record: Received, batch: Batch, parts: Sequence[tuple[int, int]]) -> bool:
        """Name what of a batch arrived again or late; True when nothing of it may be taken.

        A batch that says something else under numbers that have come is not taken at all: its other numbers
        are still to come from whoever they belong to.
        """
        run, counts = batch.run, self._step.counts
        fresh = sum(high - low + 1 for low, high in parts)
        if fresh == run.count:
            counts.late += fresh if self._ranges and run.first <= self._ranges[-1][1] else 0
            return False
        verdict = self._memory.verdict(batch, record.value or b"")
        if verdict == "collision":
            counts.collided += run.count
            self._step.rejects.append(rejected(record, batch, _COLLISION))
            return True
        if verdict == "unknown" and run.first < self._floor:
            counts.too_late += run.count - fresh
            cause = _TOO_LATE
        else:
            counts.repeated += run.count - fresh
            cause = _REPEAT
        if cause is _REPEAT and not fresh:
            self._step.rejects.append(rejected(record, batch, cause))
        else:
            for low, high in _between(parts, run.first, run.last):
                part = batch.part(low - run.first, high - run.first + 1, batch.context)
                self._step.rejects.append(rejected(record, part, cause))
        counts.late += fresh
        return not fresh

    def _tag_parts(self, record: Received, batch: Batch, parts: Sequence[tuple[int, int]]) -> None:
        first, source_digest = batch.run.first, digest(record.value or b"")
        for low, high in parts:
            for start, end, context in batch.spans():
                start_here, end_here = max(start, low - first), min(end, high - first + 1)
                if start_here < end_here:
                    self._hand_on(record, batch.part(start_here, end_here, context), None, source_digest)

    def _tag_whole(self, record: Received, batch: Batch) -> None:
        """Hand on a batch of which every event is new.

        As it is, or in parts where its context changes the zone or, of consent changes, one is refused.
        """
        if batch.kind == change.KIND and batch.run.count > 1:
            self._tag_changes(record, batch)
            return
        if batch.changes:
            spans = batch.spans()
            # Another consent is another thing to decide, whether or not the zone stays the same.
            if (
                len(
                    {
                        (self._tagged(batch, context).zone, context and context.consent)
                        for _, _, context in spans
                    }
                )
                > 1
            ):
                self._tag_parts(record, batch, [(batch.run.first, batch.run.last)])
                return
        self._hand_on(record, batch, record.value, "")

    def _tag_changes(self, record: Received, batch: Batch) -> None:
        """Hand on consent changes one by one: each is judged by those before it."""
        source_digest = digest(record.value or b"")
        for start, end, context in batch.spans():
            for index in range(start, end):
                self._hand_on(record, batch.part(index, index + 1, context), None, source_digest)

    def _in_time(self, batch: Batch) -> bool:
        """Whether all was captured inside the policy's window of the time at which the broker took it."""
        low_ns = batch.appended_ns - self._policy.clock_old_ns
        high_ns = batch.appended_ns + self._policy.clock_ahead_ns
        if batch.t_ns is None:
            return low_ns <= batch.t0_ns and batch.t0_ns + batch.dt_ns * (batch.run.count - 1) <= high_ns
        return low_ns <= min(batch.t_ns) and max(batch.t_ns) <= high_ns

    def _tagged(self, batch: Batch, context: Context | None) -> Tagged:
        number = 0 if context is None else context.consent
        consent = self._stands(batch, number) if number else NO_CONSENT
        if context != self._context or consent is not self._consent or batch.kind != self._kind:
            self._tag = self._policy.tag_of(batch.kind, batch.stream, context, consent)
            self._kind, self._context, self._consent = batch.kind, context, consent
        tag = self._tag
        return Tagged(batch, tag.zone, tag.label, tag.rule, tag.attributes, number, consent)

    def _stands(self, batch: Batch, number: int) -> Consent:
        """How the consent record that a batch names stands at its place."""
        known, standing, oldest_ns = self._known, self._standing, batch.oldest_ns
        if (
            number != self._number
            or known.version != self._version
            or not standing.since_ns <= oldest_ns < standing.before_ns
            or not self._asked_ns <= batch.appended_ns < standing.until_ns
        ):
            under = reference(batch.source, batch.stream, number)
            words = known.words(batch.wearer_id, batch.position)
            standing = words.effective(under, oldest_ns, batch.appended_ns)
            self._standing, self._number, self._version = standing, number, known.version
            self._asked_ns = batch.appended_ns
        return standing.consent

    def _hand_on(self, record: Received, batch: Batch, forwarded: bytes | None, source_digest: str) -> None:
        """Give a batch of one zone its tag, and let it pass or refuse it."""
        tagged = self._tagged(batch, batch.context)
        rule = self._stretch.refusing_rule(tagged)
        if batch.kind == change.KIND:
            rule = self._say(tagged, rule)
        if rule:
            cause = Cause(STAGE, rule, f"policy: {rule}")
            self._step.rejects.append(rejected(record, batch, cause, tagged.zone))
            return
        value_out, headers = (
            (forwarded, record.headers)
            if forwarded is not None
            else (encode(batch, split_from=source_digest), ())
        )
        self._step.outputs.append(
            Output(ZONED, tagged, value=value_out, headers=headers, source_digest=source_digest)
        )

    def _say(self, tagged: Tagged, rule: str) -> str:
        """Let a consent change take effect at its place; return the rule that refuses it.

        Of one that is refused only what takes something away has effect.
        """
        batch, word = tagged.batch, change.word(tagged.batch)
        words = self._known.words(batch.wearer_id, batch.position)
        rule = rule or words.refuses(word) or self._crossing.refusing_rule(tagged, CONSENTS)
        if not rule or words.narrowed_by(word):
            self._known.say(batch.wearer_id, batch.position, word)
        if not rule:
            self._step.consents.append((batch, word))
        return rule


def rejected(record: Received, batch: Batch, cause: Cause, zone: str = "") -> Reject:
    """A batch of a record, or a part of it, that the zones keep out."""
    return Reject.refused(batch, cause, zone=zone, key=record.key or b"", value=record.value or b"")


def _between(parts: Sequence[tuple[int, int]], low: int, high: int) -> list[tuple[int, int]]:
    """What of `low ... high` is not in `parts`."""
    left: list[tuple[int, int]] = []
    for start, end in parts:
        if low < start:
            left.append((low, start - 1))
        low = end + 1
    return [*left, (low, high)] if low <= high else left
