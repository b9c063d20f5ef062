"""Erasures as statements, and what they come to for a wearer: what is refused whenever it comes.

An erasure takes all that was captured up to it, or from a day on, or what was captured at a place. At a place
means twice: in the times in which lineage knows that the wearer was there (`spans`), of whatever kind it is,
and whatever names the place itself, so that a stay of which nothing had arrived yet is refused too. What the
wearer decided about the own data (WORDS) does not go with a place: all else is permitted by it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from msgspec import Struct

#: Kinds of what wearers decide about their data, wherever they are.
WORDS = ("consent_change", "erasure_request")
#: Mark of a wearer (hexadecimal): a hash under a key of the key store, equal for equal wearers.
Mark = Callable[[str], str]


class ErasedTime(NamedTuple):
    """What was captured from `since_ns` to `until_ns`, both within it, is erased."""

    since_ns: int
    until_ns: int

    def has(self, first_ns: int, last_ns: int) -> bool:
        """Whether any of what was captured from `first_ns` to `last_ns` is."""
        return first_ns <= self.until_ns and last_ns >= self.since_ns


def with_erased(times: Sequence[ErasedTime], *more: ErasedTime) -> tuple[ErasedTime, ...]:
    """Times that are erased, in order, none of which touches another."""
    joined = list[ErasedTime]()
    for each in sorted([*times, *more]):
        if joined and each.since_ns <= joined[-1].until_ns:
            joined[-1] = ErasedTime(joined[-1].since_ns, max(joined[-1].until_ns, each.until_ns))
        else:
            joined.append(each)
    return tuple(joined)


class Scope(Struct, frozen=True, omit_defaults=True):
    """What an erasure takes: what was captured from `since_ns` to `until_ns` (0: to the erasure).

    With a `place`, what was captured there in that time, and all that was captured in `spans`, when the
    wearer is known to have been there. `keys` are the numbers of the keys under which examples of that are
    sealed, so that a key store that is restored destroys them again.
    """

    since_ns: int = 0
    until_ns: int = 0
    place: str = ""
    spans: tuple[ErasedTime, ...] = ()
    keys: tuple[int, ...] = ()

    def same(self, other: Scope) -> bool:
        """Whether both ask for the same, whatever was known of that when they did."""
        asked = (self.since_ns, self.until_ns, self.place)
        return asked == (other.since_ns, other.until_ns, other.place)


ALL = Scope()


class Erasure(Struct, frozen=True, omit_defaults=True):
    """An operator's statement: what a wearer captured up to `at_ns`, the append time, is erased.

    The wearer is named by a mark alone (`Mark`), because this statement outlives all else about the wearer.
    `number` is that of the erasure in its key store. `since_ns` and `scope` limit it as `Scope` says;
    `scope` is only there if it names a place, and its times end with `at_ns`.
    """

    mark: str
    number: int
    at_ns: int
    since_ns: int = 0
    scope: Scope | None = None

    @property
    def times(self) -> tuple[ErasedTime, ...]:
        """What is erased, by the time of capture."""
        return (ErasedTime(self.since_ns, self.at_ns),) if self.scope is None else self.scope.spans

    @property
    def at_place(self) -> ErasedPlace | None:
        """What is erased because it names a place; None if that decides nothing."""
        if self.scope is None:
            return None
        return ErasedPlace(self.scope.place, ErasedTime(self.scope.since_ns, self.scope.until_ns))

    @property
    def leaves_nothing(self) -> bool:
        """Whether nothing stays of what the wearer captured before."""
        return not self.since_ns and self.scope is None


def erasure_of(mark: str, number: int, at_ns: int, scope: Scope) -> Erasure:
    """The statement of a scope that was appended at `at_ns`: nothing later is erased."""
    if not scope.place:
        return Erasure(mark, number, at_ns, min(scope.since_ns, at_ns))
    until_ns = min(scope.until_ns or at_ns, at_ns)
    spans = [ErasedTime(first, min(last, at_ns)) for first, last in scope.spans if first <= at_ns]
    within = Scope(min(scope.since_ns, until_ns), until_ns, scope.place, with_erased(spans), scope.keys)
    return Erasure(mark, number, at_ns, 0, within)


class ErasedPlace(NamedTuple):
    """What was captured at a place in a time is erased."""

    place: str
    time: ErasedTime


class ErasedParts(NamedTuple):
    """What is erased of a wearer by all statements up to one of them.

    `words` are the times in which WORDS are erased too, `at_ns` is the append time of the last statement, 0
    if there is none, and `whole_ns` that of the last one without a place.
    """

    times: tuple[ErasedTime, ...] = ()
    words: tuple[ErasedTime, ...] = ()
    places: tuple[ErasedPlace, ...] = ()
    at_ns: int = 0
    whole_ns: int = 0

    def after(self, erasure: Erasure) -> ErasedParts:
        """The same with one more statement."""
        at_ns = max(self.at_ns, erasure.at_ns)
        times = with_erased(self.times, *erasure.times)
        if (erased := erasure.at_place) is not None:
            return self._replace(times=times, places=(*self.places, erased), at_ns=at_ns)
        words = with_erased(self.words, *erasure.times)
        return self._replace(
            times=times, words=words, at_ns=at_ns, whole_ns=max(self.whole_ns, erasure.at_ns)
        )

    def has(self, first_ns: int, last_ns: int, *, word: bool = False) -> bool:
        """Whether any of what was captured from `first_ns` to `last_ns` is erased by its time."""
        return any(each.has(first_ns, last_ns) for each in (self.words if word else self.times))

    def has_at(self, places: Collection[str], first_ns: int, last_ns: int) -> bool:
        """Whether any is because it names one of these places."""
        return any(place in places and time.has(first_ns, last_ns) for place, time in self.places)

    @property
    def wholly_ns(self) -> int:
        """The time (ns) up to which everything is erased; 0 if what is oldest stays."""
        return self.words[0].until_ns if self.words and not self.words[0].since_ns else 0


NOTHING_ERASED = ErasedParts()
