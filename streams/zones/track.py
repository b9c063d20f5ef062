"""One stream during a fetch: which of its batches are new, their tags, and the rules that refuse them.

Nearly every batch is like the one before it: it has the next number and the same wearer, session and context.
Such a batch extends the current stretch, and nothing is looked up or decided again.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from streams.consent import change
from streams.consent.erased import NOTHING_ERASED, WORDS, ErasedParts
from streams.consent.words import NO_CONSENT, Consent, EffectiveConsent, reference
from streams.events.batch import Batch, Context
from streams.events.codec import Codec, encode
from streams.events.digest import digest
from streams.events.record import Headers, Received
from streams.events.state import Seen
from streams.policy.crossing import Crossing
from streams.policy.flow import decide, rule_against
from streams.policy.policy import Tag
from streams.policy.step import Cause, Reject, Stretch, Tagged
from streams.topology import CONSENTS, STORE, ZONED
from streams.zones.notices import MET_AT, Notices
from streams.zones.seen import Memory, add, bounded, unseen

STAGE = "zones"
_SINKS = (ZONED, STORE)
_NONE = -1
_ALWAYS = EffectiveConsent(NO_CONSENT)
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
_ERASED = Cause(
    STAGE,
    "erased",
    "erased: it was captured before the data of its wearer was erased, and is refused whenever it comes",
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
    """One stream during a fetch: its numbers that have arrived, and the stretch that is decided as one."""

    def __init__(self, seen: Seen, crossing: Crossing, codec: Codec, notices: Notices) -> None:
        self._ranges, self._floor, self._memory = seen.ranges, seen.floor, Memory(seen)
        self._crossing, self._codec, self._notices = crossing, codec, notices
        self._policy, self._known, self._step = crossing.policy, crossing.consents, crossing.step
        # Numbers `_begun` ... `_next - 1` arrived in this fetch, in order, and are not in `_ranges` yet.
        self._next = self._begun = self._ranges[-1][1] + 1 if self._ranges else _NONE
        # The stretch that the next batch may extend, the number after it, and the rule that refuses it (or
        # none). Its consent is valid for the times in `_holds`, while the consents have version `_holds_at`.
        self._stretch: Stretch | None = None
        self._end = _NONE
        self._refused = ""
        # The number that was due when the batch came, and what had arrived before it.
        self._due, self._before = 0, seen.ranges
        self._holds, self._holds_at = _ALWAYS, _NONE
        # Results for the batch before, reused for the next one, which is nearly always like it.
        self._wearer, self._number, self._version = "", _NONE, _NONE
        self._erased = NOTHING_ERASED
        self._standing, self._asked_ns = _ALWAYS, 0
        self._kind = ""
        self._context: Context | None = None
        self._consent, self._tag = NO_CONSENT, Tag("", "", b"", "")

    def take(self, record: Received, batch: Batch) -> None:
        """Process the next batch of the stream: its new events are tagged, and passed on or rejected."""
        run = batch.run
        if self._goes_on(batch):
            self._next = run.first + run.count
            self._step.counts.events += run.count
            self._memory.note(batch, record.value or b"")
            self._add(record, batch, record.value or b"", record.headers)
            return
        if batch.wearer_id != self._wearer:
            erased = self._known.erased(batch.wearer_id)
            if not self._known.bound(batch.source, batch.wearer_id):
                self._reject(record, batch, _NOT_BOUND, erased)
                return
            self._wearer, self._number, self._erased = batch.wearer_id, _NONE, erased
        self._due, self._before = max(self._next, 0), self._ranges
        if run.first == self._next:
            parts = [(run.first, run.last)]
            self._next = run.first + run.count
        else:
            self._remember()
            self._before = self._ranges
            parts = unseen(self._ranges, run.first, run.last)
            if self._known_already(record, batch, parts):
                return
            if parts:
                self._ranges, self._floor = bounded(add(self._ranges, run.first, run.last), self._floor)
                self._next = self._begun = self._ranges[-1][1] + 1
        self._memory.note(batch, record.value or b"")
        self._step.counts.events += sum(high - low + 1 for low, high in parts)
        if (cause := self._untimely(batch)) is not None:
            for low, high in parts:
                part = batch.part(low - run.first, high - run.first + 1, batch.context)
                self._reject(record, part, cause, self._erased)
        elif parts == [(run.first, run.last)]:
            self._tag_whole(record, batch)
        else:
            self._tag_parts(record, batch, parts)

    def end(self) -> Seen:
        """Record the last decisions; return the state for the next fetch."""
        self._close()
        self._remember()
        return self._memory.end(self._ranges, self._floor)

    def _remember(self) -> None:
        if self._next > self._begun:
            self._ranges = add(self._ranges, self._begun, self._next - 1)
            self._begun = self._next

    def _known_already(self, record: Received, batch: Batch, parts: Sequence[tuple[int, int]]) -> bool:
        """Reject and count the events of a batch that arrived before; True if no event of it is to be taken.

        A batch with other data under numbers that have arrived is rejected whole: its remaining numbers may
        still arrive from the device that they belong to.
        """
        run, counts = batch.run, self._step.counts
        fresh = sum(high - low + 1 for low, high in parts)
        if fresh == run.count:
            counts.late += fresh if self._ranges and run.first <= self._ranges[-1][1] else 0
            return False
        verdict = self._memory.verdict(batch, record.value or b"")
        if verdict == "collision":
            counts.collided += run.count
            self._reject(record, batch, _COLLISION, self._erased)
            return True
        if verdict == "unknown" and run.first < self._floor:
            counts.too_late += run.count - fresh
            cause = _TOO_LATE
        else:
            counts.repeated += run.count - fresh
            cause = _REPEAT
        if cause is _REPEAT and not fresh:
            self._reject(record, batch, cause, self._erased)
        else:
            for low, high in _between(parts, run.first, run.last):
                part = batch.part(low - run.first, high - run.first + 1, batch.context)
                self._reject(record, part, cause, self._erased)
        counts.late += fresh
        return not fresh

    def _tag_parts(self, record: Received, batch: Batch, parts: Sequence[tuple[int, int]]) -> None:
        first = batch.run.first
        for low, high in parts:
            for start, end, context in batch.spans():
                start_here, end_here = max(start, low - first), min(end, high - first + 1)
                if start_here < end_here:
                    self._hand_on(record, batch.part(start_here, end_here, context), None)

    def _tag_whole(self, record: Received, batch: Batch) -> None:
        """Pass on a batch of which every event is new.

        It is split where its context changes the zone or the consent; consent changes are always split.
        """
        if batch.kind == change.KIND and batch.run.count > 1:
            self._tag_changes(record, batch)
            return
        if batch.changes:
            spans = batch.spans()
            # A change of consent needs a decision of its own, even if the zone stays the same.
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
        self._hand_on(record, batch, record.value)

    def _tag_changes(self, record: Received, batch: Batch) -> None:
        """Pass on consent changes one by one, because each is judged by those before it."""
        for start, end, context in batch.spans():
            for index in range(start, end):
                self._hand_on(record, batch.part(index, index + 1, context), None)

    def _reject(self, record: Received, batch: Batch, cause: Cause, erased: ErasedParts) -> None:
        """Reject a batch before it is tagged.

        What comes again after an erasure must not bring the wearer's name back.
        """
        # A part does not tell where the batch was behind it.
        if cause is _ERASED or _is_erased(erased, batch):
            batch = replace(batch, wearer_id="")
        self._step.rejects.append(rejected(record, batch, cause))

    def _untimely(self, batch: Batch) -> Cause | None:
        """Why the capture times of a batch refuse it; None if they do not.

        A batch goes as a whole if any of it was captured in a time, or at a place, that is erased. If the
        device's clock is ahead, the append time counts as the capture time.
        """
        first_ns, last_ns = _captured_ns(batch)
        if _is_erased(self._erased, batch):
            return _ERASED
        return None if self._in_time(batch.appended_ns, first_ns, last_ns) else _CLOCK

    def _in_time(self, appended_ns: int, first_ns: int, last_ns: int) -> bool:
        """Whether all capture times lie within the policy's window around the append time."""
        return (
            appended_ns - self._policy.clock_old_ns <= first_ns
            and last_ns <= appended_ns + self._policy.clock_ahead_ns
        )

    def _goes_on(self, batch: Batch) -> bool:
        """Whether a batch is certainly new and extends the stretch, with a tag that is still valid for it."""
        stretch = self._stretch
        if stretch is None or not self._next == self._end == batch.run.first or batch.changes:
            return False
        head, holds, appended_ns = stretch.first.batch, self._holds, batch.appended_ns
        first_ns, last_ns = _captured_ns(batch)
        return (
            batch.wearer_id == head.wearer_id
            and batch.session_id == head.session_id
            and batch.context == head.context
            and batch.kind == head.kind
            and batch.origin == head.origin
            and self._holds_at == self._known.version
            and self._asked_ns <= appended_ns < holds.until_ns
            # If the device's clock is ahead, the append time counts as the capture time.
            and holds.since_ns <= min(first_ns, appended_ns) < holds.before_ns
            # What was captured earlier may be erased, and is looked at.
            and min(first_ns, appended_ns) > self._erased.at_ns
            and self._in_time(appended_ns, first_ns, last_ns)
        )

    def _tagged(self, batch: Batch, context: Context | None) -> Tagged:
        number = 0 if context is None else context.consent
        consent = self._stands(batch, number) if number else NO_CONSENT
        if context != self._context or consent is not self._consent or batch.kind != self._kind:
            self._tag = self._policy.tag_of(batch.kind, batch.stream, context, consent)
            self._kind, self._context, self._consent = batch.kind, context, consent
        tag = self._tag
        return Tagged(batch, tag.zone, tag.label, tag.rule, tag.attributes, number, consent)

    def _stands(self, batch: Batch, number: int) -> Consent:
        """Consent in force under the record that a batch names, at the batch's position and time."""
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

    def _hand_on(self, record: Received, batch: Batch, forwarded: bytes | None) -> None:
        """Tag a batch of one zone, and pass it on or reject it.

        A part of a split batch, and a consent change, is a stretch of its own.
        """
        source = record.value or b"" if forwarded is None else b""
        tagged = self._tagged(batch, batch.context)
        alone = forwarded is None or batch.kind == change.KIND
        if alone or self._stretch is None or not self._stretch.continued_by(tagged):
            self._close()
            self._begin(tagged, source)
        self._holds = self._standing if tagged.consent_number else _ALWAYS
        self._holds_at = self._known.version
        if forwarded is None:
            self._add(record, batch, encode(batch, split_from=digest(source)), ())
        else:
            self._add(record, batch, forwarded, record.headers)
        if alone:
            self._close()

    def _begin(self, tagged: Tagged, source: bytes) -> None:
        """Begin a stretch and decide whether it may pass."""
        self._stretch = Stretch(tagged, source, self._due, self._before)
        run = tagged.batch.run
        if run.first != self._due:
            # The next part of a batch that is split must know of this one, and of the hole before it.
            self._before = tuple(sorted([*self._before, (run.first, run.last)]))
        self._due = max(self._due, run.last + 1)
        self._refused = rule_against(tagged, _SINKS, self._policy)
        if tagged.batch.kind == change.KIND:
            self._refused = self._say(tagged, self._refused)
        if not self._refused:
            self._step.stretches.append(self._stretch)
            if tagged.batch.kind in MET_AT:
                self._notices.meet(tagged.batch)

    def _add(self, record: Received, batch: Batch, value: bytes, headers: Headers) -> None:
        """Add a batch to the stretch, or reject it, as was decided when the stretch began."""
        stretch = self._stretch
        if stretch is None:
            raise AssertionError("a batch is added to the stretch that has begun")
        # A split batch was encoded before this call, so turning integers into floats is harmless now.
        self._codec.hold_floats(batch)
        stretch.batches.append(batch)
        self._end = batch.run.first + batch.run.count
        if self._refused:
            cause = Cause(STAGE, self._refused, f"policy: {self._refused}")
            self._step.rejects.append(rejected(record, batch, cause, stretch.first.zone))
        else:
            stretch.values.append(value)
            stretch.headers.append(headers)

    def _close(self) -> None:
        """Record the decisions about the stretch, one for each sink up to the one that refuses."""
        if self._stretch is not None:
            decide(self._stretch.whole, _SINKS, self._policy, self._step)
            self._stretch = None

    def _say(self, tagged: Tagged, rule: str) -> str:
        """Apply a consent change or an acknowledgement at its position.

        Returns the rule that refuses it, empty if none does. A change that is refused still takes effect if
        it narrows the consent.
        """
        batch = tagged.batch
        if version := change.shown(batch):
            return rule or self._notices.acknowledge(batch, version)
        word = change.word(batch)
        words = self._known.words(batch.wearer_id, batch.position)
        rule = rule or words.refuses(word) or self._crossing.refusing_rule(tagged, CONSENTS)
        if not rule or words.narrowed_by(word):
            self._known.say(batch.wearer_id, batch.position, word)
        if not rule:
            self._step.consents.append((batch, word))
            if word.notice:
                # Who consents under a notice was shown it; one that was never delivered proves nothing.
                self._notices.acknowledge(batch, word.notice)
        return rule


def _captured_ns(batch: Batch) -> tuple[int, int]:
    """Earliest and latest capture time of a batch, by the device's clock."""
    times_ns = batch.t_ns
    if times_ns is None:
        return batch.t0_ns, batch.t0_ns + batch.dt_ns * (batch.run.count - 1)
    return min(times_ns), max(times_ns)


def _is_erased(erased: ErasedParts, batch: Batch) -> bool:
    """Whether any of a batch is erased; it was captured at its append time at the latest."""
    if not erased.at_ns:
        return False
    first_ns, last_ns = (min(t_ns, batch.appended_ns) for t_ns in _captured_ns(batch))
    if batch.kind in WORDS:
        return erased.has(first_ns, last_ns, word=True)
    places = {context.place for *_, context in batch.spans() if context is not None}
    return erased.has(first_ns, last_ns) or erased.has_at(places, first_ns, last_ns)


def rejected(record: Received, batch: Batch, cause: Cause, zone: str = "") -> Reject:
    """Make the reject of a batch, or of a part of one, that the zones stage refuses."""
    return Reject.refused(batch, cause, zone=zone, key=record.key or b"", value=record.value or b"")


def _between(parts: Sequence[tuple[int, int]], low: int, high: int) -> list[tuple[int, int]]:
    """Parts of `low ... high` (inclusive) that are not in `parts`, which is sorted."""
    left: list[tuple[int, int]] = []
    for start, end in parts:
        if low < start:
            left.append((low, start - 1))
        low = end + 1
    return [*left, (low, high)] if low <= high else left
