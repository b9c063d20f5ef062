"""Consent: what each wearer has said about the use of her data, and what later words leave of it.

A word has the fields of ISO/IEC TS 27560:2023 that a decision needs: the record's number, the person, status,
purposes, expiry; and which device said it (none: an operator) and when the broker took it. Numbers are
counted by each incarnation of a device, from 1, in steps. A number that is not the next one puts nothing on
record; what a word takes away holds whatever its number.

What may be done with data is what the record that they name permits and every later word leaves of it. What
a word took away is given again only by a later record, of any device of the wearer, and only for data that
were captured after that record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from msgspec import Struct

from streams.events.identity import incarnation_of
from streams.limits import (
    CONSENT_CHANGES_PER_HOUR_MAX,
    CONSENTS_PER_WEARER_MAX,
    CONSENTS_WAITING_MAX,
)

GIVEN, WITHDRAWN = "given", "withdrawn"
STATUSES = (GIVEN, WITHDRAWN)
#: State of data under no record, and of data whose consent has ended. `CLAIMED` stands for any consent that
#: limits nothing, in the examples of policies; in older stores for a number that nobody had recorded.
NONE, CLAIMED, EXPIRED = "none", "claimed", "expired"
_HOUR_NS = 3_600_000_000_000
_NEVER_NS = 2**63


class Word(Struct, frozen=True):
    """One word of a wearer.

    `device` is empty where an operator said it on the wearer's behalf, `number` is 0 then; `purposes` are
    sorted vocabulary words; `expires_ns` is 0 for never; `at_ns` is the broker's time.
    """

    device: str
    incarnation: int
    number: int
    status: str
    purposes: tuple[str, ...]
    expires_ns: int
    at_ns: int

    def same(self, other: Word) -> bool:
        """Whether both say the same."""
        return (self.status, self.purposes, self.expires_ns) == (
            other.status,
            other.purposes,
            other.expires_ns,
        )


class Pairing(Struct, frozen=True):
    """An operator's word: from here on a device is bound to a wearer, or no longer."""

    device: str
    bound: bool
    at_ns: int


#: A wearer, and what was said by or about her.
Statement = tuple[str, Word | Pairing]


class Reference(NamedTuple):
    """Which consent record an event was captured under; number 0 for none."""

    device: str
    incarnation: int
    number: int


class Consent(Struct, frozen=True):
    """The consent of a run of events: its state, and the purposes that are left (None: not limited)."""

    state: str
    purposes: tuple[str, ...] | None = None

    @property
    def given(self) -> bool:
        """Whether there is a consent that still stands."""
        return self.state in {GIVEN, CLAIMED}

    def permits(self, purpose: str) -> bool:
        """Whether the wearer lets data be used for `purpose`; the zones say what needs no consent."""
        return self.purposes is None or purpose in self.purposes

    def text(self) -> str:
        """State as the store keeps it: `given for A B` names the purposes that are left."""
        return f"{GIVEN} for {' '.join(self.purposes or ())}".rstrip() if self.state == GIVEN else self.state

    @classmethod
    def parse(cls, text: str) -> Consent:
        """Inverse of `text`; ValueError when it is none."""
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
    before_ns: int = _NEVER_NS
    until_ns: int = _NEVER_NS


class _Kept(Struct, frozen=True):
    """A word that is remembered; `record`: it may be named. `also` binds whatever this one binds."""

    word: Word
    record: bool
    also: tuple[Word, ...] = ()


class Words(Struct, frozen=True):
    """All that a wearer has said, in order; immutable, and bounded.

    Beyond CONSENTS_PER_WEARER_MAX the oldest word that is no device's newest record is folded into the one
    before it. `reached` is (incarnation, number) of each device's newest record; `waiting` came before their
    turn; `folded` binds what names a record that is not kept any more.
    """

    kept: tuple[_Kept, ...] = ()
    reached: Mapping[str, tuple[int, int]] = {}
    waiting: tuple[Word, ...] = ()
    folded: tuple[Word, ...] = ()

    def after(self, word: Word) -> Words:
        """These words and one more."""
        reached, number = self.reached.get(word.device, (0, 0))
        if word.incarnation > reached:
            number = 0
        if not word.device or word.incarnation < reached or word.number <= number:
            known = self._record(Reference(word.device, word.incarnation, word.number))
            # What was given is not given again; what is taken back is taken back now, whatever stood then.
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
        """The consent in force at `at_ns`, the broker's time, for data captured at `since_ns` under it."""
        reached, number = self.reached.get(under.device, (0, 0))
        at = self._record(under)
        if not under.number or (at < 0 and (under.incarnation != reached or under.number > number)):
            return EffectiveConsent(NO_CONSENT)
        low_ns, high_ns, opened = 0, _NEVER_NS, -1
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
        """Why a word cannot be taken, empty when it can.

        What takes something away is always taken: each such word needs a record before it, and of those only
        so many an hour are taken.
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
        """Whether a word takes something away from what the wearer now permits."""
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
        """Index of a record among what is kept, -1 when it is not there."""
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
    """Fold the oldest word that is no device's newest record into the one before it."""
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
    """One word that permits what all of them do."""
    status = WITHDRAWN if any(word.status == WITHDRAWN for word in words) else GIVEN
    purposes = set(words[0].purposes).intersection(*(word.purposes for word in words))
    expires_ns = min((word.expires_ns for word in words if word.expires_ns), default=0)
    last = words[-1]
    return (Word("", 0, 0, status, tuple(sorted(purposes)), expires_ns, last.at_ns),)


def _met(words: Sequence[Word], at_ns: int) -> tuple[Consent, int]:
    """What is permitted by all of some words at `at_ns`, and until when that holds."""
    if any(word.status == WITHDRAWN for word in words):
        return _PLAIN[WITHDRAWN], _NEVER_NS
    expires_ns = min((word.expires_ns for word in words if word.expires_ns), default=_NEVER_NS)
    if at_ns >= expires_ns:
        return _PLAIN[EXPIRED], _NEVER_NS
    first, *others = (word.purposes for word in words)
    left = tuple(purpose for purpose in first if all(purpose in purposes for purposes in others))
    return Consent(GIVEN, left), expires_ns


def reference(device: str, stream: str, number: int) -> Reference:
    """The record that an event of a stream names by its number."""
    return Reference(device, incarnation_of(stream), number)
