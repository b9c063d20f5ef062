"""What a run learns from, and how much each example counts.

An example counts once, except that

- what one wearer said again with the same meaning counts once in total, however often it was said,
- what several people rated counts as much as they agree, and
- all examples of one wearer count at most WEARER_WEIGHT_RATIO_MAX times as much as those of the median
  wearer, so a model of a household is not that of the one who talks most.

The licensed seed is nobody's, and each of its examples counts once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from streams.limits import WEARER_WEIGHT_RATIO_MAX
from streams.training.splits import key_of

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Lesson:
    """(utterance, intent) pairs in the order of learning; wearer and device of each, empty for the seed's.

    `agreements` is how much those agree who said what an example means, 0 to 1; 1 if it was one person.
    """

    pairs: Sequence[Pair]
    wearers: Sequence[str]
    devices: Sequence[str]
    agreements: Sequence[float]

    @classmethod
    def of_nobody(cls, pairs: Sequence[Pair]) -> Lesson:
        """Make one of licensed pairs alone."""
        nobody = [""] * len(pairs)
        return cls(pairs, nobody, nobody, [1.0] * len(pairs))

    def only(self, places: Iterable[int]) -> Lesson:
        """Return a copy with the pairs at some places alone."""
        at = list(places)
        return Lesson(
            [self.pairs[i] for i in at],
            [self.wearers[i] for i in at],
            [self.devices[i] for i in at],
            [self.agreements[i] for i in at],
        )

    def without(self, devices: Collection[str]) -> Lesson:
        """Return a copy without what some devices said."""
        return self.only(at for at, device in enumerate(self.devices) if not device or device not in devices)

    @property
    def weights(self) -> Sequence[float]:
        """How much each pair counts."""
        once = self._once()
        factors = self._factors(once)
        return [weight * factors.get(wearer, 1.0) for wearer, weight in zip(self.wearers, once, strict=True)]

    @property
    def factors(self) -> Mapping[str, float]:
        """By how much the examples of a wearer who has too many count less; others are not in it."""
        return self._factors(self._once())

    def _factors(self, once: Sequence[float]) -> Mapping[str, float]:
        totals: dict[str, float] = {}
        for wearer, weight in zip(self.wearers, once, strict=True):
            if wearer:
                totals[wearer] = totals.get(wearer, 0.0) + weight
        most = WEARER_WEIGHT_RATIO_MAX * median(totals.values()) if totals else 0.0
        return {wearer: most / total for wearer, total in sorted(totals.items()) if total > most}

    def _once(self) -> Sequence[float]:
        """Weights by which what a wearer repeats counts once, and each time as much as people agree."""
        uttered = [
            (wearer, key_of(text), intent) if wearer else None
            for (text, intent), wearer in zip(self.pairs, self.wearers, strict=True)
        ]
        times = Counter(uttered)
        return [
            1.0 if of is None else agreement / times[of]
            for of, agreement in zip(uttered, self.agreements, strict=True)
        ]
