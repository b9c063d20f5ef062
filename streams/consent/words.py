"""Consent: the words of each wearer about the use of their data, and which consent these leave in force.

A word has the fields of ISO/IEC TS 27560:2023 that a decision needs: the record's number, the person, status,
purposes and expiry. It also has the device on which it was said (none: by an operator) and the append time.
Each incarnation of a device counts its records from 1, one by one. A word whose number is not the next one
creates no record, but it takes away what it does not permit, like any other word.

Data may be used for what its consent record permits and all later words still permit. What a word took away
is only given again by a later record, of any device of the wearer, and only for data that was captured after
that record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from msgspec import Struct

from streams.consent.erased import Erasure
from streams.events.identity import incarnation_of
from streams.limits import (
    CONSENT_CHANGES_PER_HOUR_MAX,
    CONSENTS_PER_WEARER_MAX,
    CONSENTS_WAITING_MAX,
)

GIVEN, WITHDRAWN = "given", "withdrawn"
STATUSES = (GIVEN, WITHDRAWN)
#: States of data without a record, and of data whose consent has expired. `CLAIMED` is any consent that
#: limits nothing, in the examples of policies; in older stores it is a number for which there was no record.
NONE, CLAIMED, EXPIRED = "none", "claimed", "expired"
_HOUR_NS = 3_600_000_000_000
#: After every time (ns): what holds until then has no end.
NEVER_NS = 2**63


class Word(Struct, frozen=True, omit_defaults=True):
    """One word of a wearer.

    `device` is empty and `number` is 0 if an operator said it on the wearer's behalf; `purposes` are sorted
    words of the vocabulary; `expires_ns` is 0 for never; `at_ns` is the append time. `notice` is the version
    of the notice under which it was given, as the device says; empty if it names none.
    """

    device: str
    incarnation: int
    number: int
    status: str
    purposes: tuple[str, ...]
    expires_ns: int
    at_ns: int
    notice: str = ""

    def same(self, other: Word) -> bool:
        """Whether both have the same status, purposes and expiry."""
        return (self.status, self.purposes, self.expires_ns) == (
            other.status,
            other.purposes,
            other.expires_ns,
        )


class Pairing(Struct, frozen=True):
    """An operator's statement: from here on, a device is bound to a wearer, or no longer bound."""

    device: str
    bound: bool
    at_ns: int


#: A wearer, and a statement by or about the wearer; for an erasure the wearer is NOBODY.
Statement = tuple[str, Word | Pairing | Erasure]
NOBODY = ""


class Reference(NamedTuple):
    """The consent record under which an event was captured; number 0 for none."""

    device: str
    incarnation: int
    number: int


class Consent(Struct, frozen=True):
    """The consent in force for a run of events: its state, and the permitted purposes (None: no limit)."""

    state: str
    purposes: tuple[str, ...] | None = None

    @property
    def given(self) -> bool:
        """Whether there is a consent that is neither withdrawn nor expired."""
        return self.state in {GIVEN, CLAIMED}

    def permits(self, purpose: str) -> bool:
        """Whether the wearer permits `purpose`; zones define which data needs no consent."""
        return self.purposes is None or purpose in self.purposes

    def text(self) -> str:
        """State as the store keeps it: `given for A B` names the permitted purposes."""
        return f"{GIVEN} for {' '.join(self.purposes or ())}".rstrip() if self.state == GIVEN else self.state

    @classmethod
    def parse(cls, text: str) -> Consent:
        """Inverse of `text`; ValueError if the text has another form."""
        state, _, rest = text.partition(" for")
        if state == GIVEN:
            return cls(state, tuple(rest.split()))
        if text not in _PLAIN:
            raise ValueError(
                f"consent state: found another word, expected one of {', '.join((GIVEN, *_PLAIN))}"
            )
        return _PLAIN[text]


_PLAIN: Mapping[str, Consent] = {
    NONE: Consent(NONE),
    CLAIMED: Consent(CLAIMED),
    EXPIRED: Consent(EXPIRED, ()),
    WITHDRAWN: Consent(WITHDRAWN, ()),
}
NO_CONSENT, CLAIMED_CONSENT = _PLAIN[NONE], _PLAIN[CLAIMED]


class EffectiveConsent(NamedTuple):
    """The consent in force for data captured under a record, and the times for which it holds.

    It holds for data captured from `since_ns` to below `before_ns`, until the broker's time is `until_ns`.
    """

    consent: Consent
    since_ns: int = 0
    before_ns: int = NEVER_NS
    until_ns: int = NEVER_NS


class _Kept(Struct, frozen=True):
    """A word that is kept. `record`: events can refer to it. `also` limits the same data as this word."""

    word: Word
    record: bool
    also: tuple[Word, ...] = ()


class Words(Struct, frozen=True):
    """All words of a wearer, in order; immutable and bounded.

    Beyond CONSENTS_PER_WEARER_MAX, the oldest word that is no device's newest record is folded into the one
    before it. `reached` is (incarnation, number) of each device's newest record. `waiting` are words that
    arrived before their predecessors. `folded` limits data under records that are no longer kept.
    """

    kept: tuple[_Kept, ...] = ()
    reached: Mapping[str, tuple[int, int]] = {}
    waiting: tuple[Word, ...] = ()
    folded: tuple[Word, ...] = ()

    def after(self, word: Word) -> Words:
        """Return these words with one more."""
        reached, number = self.reached.get(word.device, (0, 0))
        if word.incarnation > reached:
            number = 0
        if not word.device or word.incarnation < reached or word.number <= number:
            known = self._record(Reference(word.device, word.incarnation, word.number))
            # A repeated record that gives changes nothing. Any other word only takes away, and does so now.
            told = known >= 0 and word.status == GIVEN and self.kept[known].word.same(word)
            return self if told else self._with(word, record=False)
        if word.number > number + 1:
            waiting = (*self.waiting, word)[-CONSENTS_WAITING_MAX:]
            return Words(self._with(word, record=False).kept, self.reached, waiting, self.folded)
        longer = self._with(word, record=True)
        following = (word.device, word.incarnation, word.number + 1)
        for later in self.waiting:
            if (later.device, later.incarnation, later.number) == following:
                return longer.after(later)
        return longer

    def effective(self, under: Reference, since_ns: int, at_ns: int) -> EffectiveConsent:
        """Consent in force at `at_ns`, the broker's time, for data captured at `since_ns` under a record."""
        reached, number = self.reached.get(under.device, (0, 0))
        at = self._record(under)
        if not under.number or (at < 0 and (under.incarnation != reached or under.number > number)):
            return EffectiveConsent(NO_CONSENT)
        low_ns, high_ns, opened = 0, NEVER_NS, -1
        for index, kept in enumerate(self.kept):
            if kept.record and kept.word.status == GIVEN:
                if kept.word.at_ns > since_ns:
                    high_ns = min(high_ns, kept.word.at_ns)
                else:
                    opened, low_ns = index, kept.word.at_ns
        begin = max(at, opened) if at >= 0 else 0
        binding = [*(self.folded if at < 0 else ()), *([self.kept[at].word] if at >= 0 else ())]
        for kept in self.kept[begin:]:
            binding += (kept.word, *kept.also)
        consent, until_ns = _met(binding, at_ns)
        return EffectiveConsent(consent, low_ns, high_ns, until_ns)

    def refuses(self, word: Word) -> str:
        """Why a word cannot be accepted; empty if it can.

        A word that takes something away is always accepted. There cannot be many of them, because each needs
        a record before it, and the number of records in an hour is limited.
        """
        if self.narrowed_by(word):
            return ""
        begun_ns = word.at_ns - _HOUR_NS
        if sum(kept.word.at_ns > begun_ns for kept in self.kept) >= CONSENT_CHANGES_PER_HOUR_MAX:
            return f"consent: more than {CONSENT_CHANGES_PER_HOUR_MAX} changes of one wearer in an hour"
        reached, number = self.reached.get(word.device, (0, 0))
        number = number if word.incarnation == reached else 0
        if word.incarnation < reached or word.number <= number:
            known = self._record(Reference(word.device, word.incarnation, word.number))
            if known < 0 or not self.kept[known].word.same(word):
                return "consent: this number is on record, and says something else"
        elif word.number > number + 1 and len(self.waiting) >= CONSENTS_WAITING_MAX:
            return f"consent: more than {CONSENTS_WAITING_MAX} numbers wait for one before them"
        return ""

    def narrowed_by(self, word: Word) -> bool:
        """Whether a word takes away something that the wearer permits now."""
        opened = max(
            (at for at, kept in enumerate(self.kept) if kept.record and kept.word.status == GIVEN), default=-1
        )
        if opened < 0:
            return word.status == WITHDRAWN and not any(
                kept.word.status == WITHDRAWN for kept in self.kept[-CONSENT_CHANGES_PER_HOUR_MAX:]
            )
        left, _ = _met([kept.word for kept in self.kept[opened:]], 0)
        if left.state == WITHDRAWN:
            return False
        return word.status == WITHDRAWN or not set(left.purposes or ()) <= set(word.purposes)

    def _record(self, under: Reference) -> int:
        """Index of a record in `kept`; -1 if it is not kept."""
        for at in range(len(self.kept) - 1, -1, -1):
            kept = self.kept[at]
            if (
                kept.record
                and kept.word.number == under.number
                and kept.word.device == under.device
                and kept.word.incarnation == under.incarnation
            ):
                return at
        return -1

    def _with(self, word: Word, *, record: bool) -> Words:
        kept = (*self.kept, _Kept(word, record))
        reached, waiting, folded = self.reached, self.waiting, self.folded
        if record:
            reached = {**reached, word.device: (word.incarnation, word.number)}
            waiting = tuple(
                early
                for early in waiting
                if early.device != word.device
                or (early.incarnation, early.number) > (word.incarnation, word.number)
            )
        if len(kept) > CONSENTS_PER_WEARER_MAX:
            kept, folded = _folded(kept, reached, folded)
        return Words(kept, reached, waiting, folded)


NOTHING_SAID = Words()


def _folded(
    kept: tuple[_Kept, ...], reached: Mapping[str, tuple[int, int]], folded: tuple[Word, ...]
) -> tuple[tuple[_Kept, ...], tuple[Word, ...]]:
    """Fold the oldest word that is no device's newest record into the word before it."""
    for at, oldest in enumerate(kept):
        word = oldest.word
        if not oldest.record or reached.get(word.device) != (word.incarnation, word.number):
            binding = (word, *oldest.also)
            shorter = [*kept[:at], *kept[at + 1 :]]
            if at:
                before = shorter[at - 1]
                shorter[at - 1] = _Kept(before.word, before.record, _combined((*before.also, *binding)))
            return tuple(shorter), _combined((*folded, *binding))
    return kept, folded


def _combined(words: Sequence[Word]) -> tuple[Word, ...]:
    """One word that permits only what all of these permit."""
    status = WITHDRAWN if any(word.status == WITHDRAWN for word in words) else GIVEN
    purposes = set(words[0].purposes).intersection(*(word.purposes for word in words))
    expires_ns = min((word.expires_ns for word in words if word.expires_ns), default=0)
    last = words[-1]
    return (Word("", 0, 0, status, tuple(sorted(purposes)), expires_ns, last.at_ns),)


def _met(words: Sequence[Word], at_ns: int) -> tuple[Consent, int]:
    """Consent that all of some words permit at `at_ns`, and until when it holds (broker's time, ns)."""
    if any(word.status == WITHDRAWN for word in words):
        return _PLAIN[WITHDRAWN], NEVER_NS
    expires_ns = min((word.expires_ns for word in words if word.expires_ns), default=NEVER_NS)
    if at_ns >= expires_ns:
        return _PLAIN[EXPIRED], NEVER_NS
    first, *others = (word.purposes for word in words)
    left = tuple(purpose for purpose in first if all(purpose in purposes for purposes in others))
    return Consent(GIVEN, left), expires_ns


def reference(device: str, stream: str, number: int) -> Reference:
    """The consent record to which an event of a stream refers by its number."""
    return Reference(device, incarnation_of(stream), number)
