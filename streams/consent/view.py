"""`glasses.consents` as a worker has read it, and as one partition knows it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass

from streams.consent.words import (
    NO_CONSENT,
    NOTHING_SAID,
    Consent,
    EffectiveConsent,
    Pairing,
    Reference,
    Statement,
    Word,
    Words,
)
from streams.errors import UnavailableError
from streams.limits import CONSENT_SNAPSHOTS_MAX
from streams.topology import CONSENTS


class Consents:
    """What `glasses.consents` says: each wearer's words and the pairings, in the order of their offsets.

    A state that has taken them up to an offset asks for that offset, so that what arrives meanwhile changes
    nothing. Asking takes the same time however many there are.
    """

    def __init__(self) -> None:
        self.offset = 0  #: the next offset to read
        self._places: list[int] = []
        self._log: list[Statement] = []
        self._words: dict[str, tuple[list[int], list[Words]]] = {}
        self._pairings: dict[tuple[str, str], tuple[list[int], list[bool]]] = {}

    def learn(self, offset: int, wearer: str, statement: Word | Pairing) -> None:
        """Take what stands at `offset`, behind all that were taken before."""
        self._places.append(offset)
        self._log.append((wearer, statement))
        self.offset = max(self.offset, offset + 1)
        if isinstance(statement, Pairing):
            places, bound = self._pairings.setdefault((statement.device, wearer), ([], []))
            places.append(offset)
            bound.append(statement.bound)
            return
        places, words = self._words.setdefault(wearer, ([], []))
        words.append((words[-1] if words else NOTHING_SAID).after(statement))
        places.append(offset)
        if len(places) > 2 * CONSENT_SNAPSHOTS_MAX:
            del places[:-CONSENT_SNAPSHOTS_MAX], words[:-CONSENT_SNAPSHOTS_MAX]

    def words(self, wearer: str, below: int) -> Words:
        """What `wearer` had said below an offset."""
        places, words = self._words.get(wearer, ((), ()))
        at = bisect_left(places, below)
        if at or not places or len(places) < CONSENT_SNAPSHOTS_MAX:
            return words[at - 1] if at else NOTHING_SAID
        # So far back nothing is kept ready: a state that was away while its wearer said very much.
        replayed = NOTHING_SAID
        for _, by, statement in self.between(0, below):
            if by == wearer and isinstance(statement, Word):
                replayed = replayed.after(statement)
        return replayed

    def bound(self, device: str, wearer: str, below: int) -> bool:
        """Whether a device was bound to a wearer below an offset."""
        places, bound = self._pairings.get((device, wearer), ((), ()))
        at = bisect_left(places, below)
        return bool(at) and bound[at - 1]

    def view(self) -> ConsentView:
        """A view of what has been learned so far, without later words; its cost does not grow with them."""
        return ConsentView(self, self.offset)

    @property
    def pairings(self) -> dict[tuple[str, str], bool]:
        """By (device, wearer) whether they are bound now; pairs that never were are absent."""
        return {pair: bound[-1] for pair, (_, bound) in sorted(self._pairings.items())}

    def between(self, low: int, high: int) -> list[tuple[int, str, Word | Pairing]]:
        """(offset, wearer, what was said) of what lies from `low` to below `high`, in order."""
        begin, end = bisect_left(self._places, low), bisect_left(self._places, high)
        return [(self._places[at], *self._log[at]) for at in range(begin, end)]


#: A partition's own words by wearer, each with its position, in order.
Own = Mapping[str, tuple[tuple[int, Word], ...]]


@dataclass(frozen=True, slots=True)
class ConsentView:
    """What `glasses.consents` says below `offset`: a value that nobody changes.

    It lies over a log to which others only append; nothing behind its offset is looked at.
    """

    _log: Consents
    offset: int

    def of_partition(self, taken: int, own: Own) -> PartitionConsents:
        """What a partition knows that has taken up what stands below `taken`, and its own words.

        UnavailableError where that has not been read here yet; no record is to blame for that.
        """
        if self.offset < taken:
            raise UnavailableError(
                f"{CONSENTS} is read up to offset {self.offset} here, not yet up to {taken}; tried again"
            )
        return PartitionConsents(self._log, taken, own)

    def fresh(self, taken: int, own: Own) -> tuple[list[Statement], Own]:
        """Words of other partitions since `taken`, and the own ones that are not on the topic yet."""
        foreign: list[Statement] = []
        left = dict(own)
        for _, wearer, statement in self._log.between(taken, self.offset):
            mine = left.get(wearer, ())
            rest = tuple(word for word in mine if word[1] != statement)
            if len(rest) == len(mine):
                foreign.append((wearer, statement))
            elif rest:
                left[wearer] = rest
            else:
                del left[wearer]
        return foreign, left


class PartitionConsents:
    """What one partition knows of consents while a fetch lasts.

    What `taken` up to an offset says, and its own words by position. Asked for a place in the partition it
    answers as of that place, so that it does not matter how fetches were cut.
    """

    def __init__(self, consents: Consents, taken: int, own: Own) -> None:
        self._consents, self._taken, self.own = consents, taken, dict(own)
        self.version = 0  #: counts the words that were said
        self._by_wearer: dict[str, tuple[list[int], list[Words]]] = {}
        self._memo: dict[tuple[str, Reference], tuple[int, int, EffectiveConsent]] = {}

    def words(self, wearer: str, position: int) -> Words:
        """What `wearer` had said at a position of this partition."""
        places, words = self._by_wearer.get(wearer) or self._begin(wearer)
        return words[bisect_right(places, position) - 1]

    def say(self, wearer: str, position: int, word: Word) -> None:
        """Take a word that stands at `position` of this partition, behind all that were taken before."""
        places, words = self._by_wearer.get(wearer) or self._begin(wearer)
        places.append(position)
        words.append(words[-1].after(word))
        self.own[wearer] = (*self.own.get(wearer, ()), (position, word))
        self._memo.clear()
        self.version += 1

    def bound(self, device: str, wearer: str) -> bool:
        """Whether a device may speak for a wearer."""
        return self._consents.bound(device, wearer, self._taken)

    def of(self, wearer: str, under: Reference, since_ns: int, position: int, at_ns: int) -> Consent:
        """Consent in force at `position` and `at_ns` for data of `wearer` that was captured under a record.

        `since_ns` is when the oldest of it was captured, as far as anybody but the device can say.
        """
        if not under.number:
            return NO_CONSENT
        known = self._memo.get((wearer, under))
        if (
            known is not None
            and position >= known[0]
            and known[1] <= at_ns < known[2].until_ns
            and known[2].since_ns <= since_ns < known[2].before_ns
        ):
            return known[2].consent
        effective = self.words(wearer, position).effective(under, since_ns, at_ns)
        if position >= self._by_wearer[wearer][0][-1]:
            self._memo[wearer, under] = (position, at_ns, effective)
        return effective.consent

    def _begin(self, wearer: str) -> tuple[list[int], list[Words]]:
        places, words = [-1], [self._consents.words(wearer, self._taken)]
        for position, word in self.own.get(wearer, ()):
            places.append(position)
            words.append(words[-1].after(word))
        return self._by_wearer.setdefault(wearer, (places, words))
