"""`glasses.consents` as far as a worker has read it, and as far as one partition has taken it up."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from streams.consent.erased import NOTHING_ERASED, ErasedParts, Erasure, Mark
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
    """Content of `glasses.consents`: each wearer's words, pairings and erasures, in order of their offsets.

    A state that has taken them up to an offset asks for that offset, so later arrivals change nothing. The
    time of a look-up does not grow with the number of words. Without `mark`, which the key store has, nobody
    can tell whose an erasure is, so a question about a wearer's erasures fails if there are any.
    """

    def __init__(self, mark: Mark | None = None) -> None:
        self.offset = 0  #: the next offset to read
        self.mark = mark
        self._erasures: dict[str, tuple[list[int], list[ErasedParts]]] = {}
        self._stated: set[tuple[str, int]] = set()
        self._places: list[int] = []
        self._log: list[Statement] = []
        self._appended_ms: list[int] = []
        self._words: dict[str, tuple[list[int], list[Words]]] = {}
        self._pairings: dict[tuple[str, str], tuple[list[int], list[bool]]] = {}
        self._wearers: dict[str, set[str]] = {}

    def learn(
        self, offset: int, wearer: str, statement: Word | Pairing | Erasure, *, appended_ms: int = 0
    ) -> None:
        """Add the statement at `offset`, which is after all that were added before.

        `appended_ms` is its append time in ms since the epoch, if it is known.
        """
        self._places.append(offset)
        self._log.append((wearer, statement))
        self._appended_ms.append(appended_ms)
        self.offset = max(self.offset, offset + 1)
        if isinstance(statement, Erasure):
            if (statement.mark, statement.number) in self._stated:
                # A copy, as a mirror of the topic makes it; the time of an erasure is that of the first.
                return
            self._stated.add((statement.mark, statement.number))
            places, parts = self._erasures.setdefault(statement.mark, ([], []))
            places.append(offset)
            parts.append((parts[-1] if parts else NOTHING_ERASED).after(statement))
            return
        if isinstance(statement, Pairing):
            self._wearers.setdefault(statement.device, set()).add(wearer)
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
        """Words of `wearer` below an offset."""
        places, words = self._words.get(wearer, ((), ()))
        at = bisect_left(places, below)
        if at or not places or len(places) < CONSENT_SNAPSHOTS_MAX:
            return words[at - 1] if at else NOTHING_SAID
        # No snapshot is kept that far back: the state is old, and its wearer has said much since.
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

    def erased(self, wearer: str, below: int) -> ErasedParts:
        """What is erased of `wearer` by the erasures below an offset.

        UnavailableError if there are erasures and nothing tells whose.
        """
        if not self._erasures:
            return NOTHING_ERASED
        if self.mark is None:
            raise UnavailableError(
                f"{CONSENTS} has erasures, and without the key store nothing tells whose; name it with --keys"
            )
        places, parts = self._erasures.get(self.mark(wearer), ((), ()))
        at = bisect_left(places, below)
        return parts[at - 1] if at else NOTHING_ERASED

    def erased_ns(self, wearer: str, below: int) -> int:
        """Append time (ns) of the last erasure of `wearer` below an offset; 0 if there is none."""
        return self.erased(wearer, below).at_ns

    def view(self) -> ConsentView:
        """A view of all statements so far, without later ones; its cost does not grow with their number."""
        return ConsentView(self, self.offset)

    @property
    def pairings(self) -> dict[tuple[str, str], bool]:
        """Whether (device, wearer) are bound now; pairs about which nothing was stated are absent."""
        return {pair: bound[-1] for pair, (_, bound) in sorted(self._pairings.items())}

    def devices_of(self, wearer: str) -> list[str]:
        """Devices that are bound to a wearer now."""
        return [device for (device, of), bound in self.pairings.items() if of == wearer and bound]

    def wearers_of(self, device: str) -> Collection[str]:
        """Everybody who was ever bound to a device."""
        return self._wearers.get(device, ())

    def words_of(self, wearer: str) -> list[Word]:
        """Every word of a wearer, in order."""
        statements = self.between(0, self.offset)
        return [word for _, by, word in statements if by == wearer and isinstance(word, Word)]

    def erasures(self) -> list[Erasure]:
        """All erasures, in order."""
        statements = (statement for _, _, statement in self.between(0, self.offset))
        return [statement for statement in statements if isinstance(statement, Erasure)]

    def appended_ms(self, offset: int) -> int:
        """Append time of the statement at an offset, ms since the epoch; 0 if it is not known."""
        return self._appended_ms[bisect_left(self._places, offset)]

    def between(self, low: int, high: int) -> list[tuple[int, str, Word | Pairing | Erasure]]:
        """(offset, wearer, statement) at offsets from `low` to below `high`, in order."""
        begin, end = bisect_left(self._places, low), bisect_left(self._places, high)
        return [(self._places[at], *self._log[at]) for at in range(begin, end)]


#: A partition's own words by wearer, each with its position, in order.
Own = Mapping[str, tuple[tuple[int, Word], ...]]


@dataclass(frozen=True, slots=True)
class ConsentView:
    """Content of `glasses.consents` below `offset`; an immutable value.

    It refers to a log that only grows, and ignores everything from its offset on.
    """

    _log: Consents
    offset: int

    def of_partition(self, taken: int, own: Own) -> PartitionConsents:
        """Consents as known to a partition that has taken up all below `taken`, and has its own words.

        UnavailableError if this worker has not read that far yet; no record is at fault then.
        """
        if self.offset < taken:
            raise UnavailableError(
                f"{CONSENTS} is read up to offset {self.offset} here, not yet up to {taken}; tried again"
            )
        return PartitionConsents(self._log, taken, own)

    def fresh(self, taken: int, own: Own) -> tuple[list[Statement], Own]:
        """Statements of other partitions since `taken`, and own words that are not on the topic yet."""
        foreign, left = self._divided(taken, own)
        return [(wearer, statement) for _, wearer, statement in foreign], left

    def wearers_of(self, device: str) -> Collection[str]:
        """Everybody who was ever bound to a device, as far as it is known by now."""
        return self._log.wearers_of(device)

    def appended_ms(self, taken: int, own: Own) -> list[int]:
        """Append times of the words among these statements, ms since the epoch, as far as they are known."""
        times = [
            self._log.appended_ms(offset)
            for offset, _, statement in self._divided(taken, own)[0]
            if isinstance(statement, Word)
        ]
        return list(filter(None, times))

    def _divided(self, taken: int, own: Own) -> tuple[list[tuple[int, str, Word | Pairing | Erasure]], Own]:
        foreign: list[tuple[int, str, Word | Pairing | Erasure]] = []
        left = dict(own)
        for offset, wearer, statement in self._log.between(taken, self.offset):
            mine = left.get(wearer, ())
            rest = tuple(word for word in mine if word[1] != statement)
            if len(rest) == len(mine):
                foreign.append((offset, wearer, statement))
            elif rest:
                left[wearer] = rest
            else:
                del left[wearer]
        return foreign, left


class PartitionConsents:
    """Consents as known to one partition during a fetch.

    They are the topic's statements below `taken`, and the partition's own words by position. The answer for a
    position in the partition depends only on what is before it, so it does not matter how fetches are cut.
    """

    def __init__(self, consents: Consents, taken: int, own: Own) -> None:
        self._consents, self._taken, self.own = consents, taken, dict(own)
        self.version = 0  #: number of words that were added
        self._by_wearer: dict[str, tuple[list[int], list[Words]]] = {}
        self._memo: dict[tuple[str, Reference], tuple[int, int, EffectiveConsent]] = {}
        self._erased: dict[str, ErasedParts] = {}

    def words(self, wearer: str, position: int) -> Words:
        """Words of `wearer` up to a position of this partition."""
        places, words = self._by_wearer.get(wearer) or self._begin(wearer)
        return words[bisect_right(places, position) - 1]

    def say(self, wearer: str, position: int, word: Word) -> None:
        """Add a word at `position` of this partition, which is after all that were added before."""
        places, words = self._by_wearer.get(wearer) or self._begin(wearer)
        places.append(position)
        words.append(words[-1].after(word))
        self.own[wearer] = (*self.own.get(wearer, ()), (position, word))
        self._memo.clear()
        self.version += 1

    def bound(self, device: str, wearer: str) -> bool:
        """Whether a device may speak for a wearer."""
        return self._consents.bound(device, wearer, self._taken)

    @property
    def pairings(self) -> Collection[tuple[str, str]]:
        """(device, wearer) about which anything was ever stated."""
        return self._consents.pairings

    def erased(self, wearer: str) -> ErasedParts:
        """What is erased of a wearer."""
        if wearer not in self._erased:
            self._erased[wearer] = self._consents.erased(wearer, self._taken)
        return self._erased[wearer]

    def erased_as_known(self, wearer: str) -> ErasedParts:
        """The same, but nothing without the key store: for who is given no key of what is erased."""
        return NOTHING_ERASED if self._consents.mark is None else self.erased(wearer)

    def erased_ns(self, wearer: str) -> int:
        """Append time (ns) of the last erasure of a wearer, after which nothing is erased; 0 if none is."""
        return self.erased(wearer).at_ns

    def of(self, wearer: str, under: Reference, since_ns: int, position: int, at_ns: int) -> Consent:
        """Consent in force at `position` and `at_ns` for data of `wearer` that was captured under a record.

        `since_ns` is when its oldest data was captured, at most the append time.
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
