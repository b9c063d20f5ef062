"""Which devices say the opposite of all others: their examples are not learned from.

The devices are dealt into at most OUTLIER_FOLDS groups. For each group a model is fitted on the seed and on
what the devices of the other groups say, so no device has a part in the model that it is compared with. Only
examples count of which that model is sure (a confidence of at least OUTLIER_CONFIDENCE_MIN): who speaks in a
way that the others do not makes it unsure, which is no contradiction, and must not cost anybody a say.

A device is an outlier if it contradicts more than OUTLIER_EXCESS more of its examples than the other devices
contradict of theirs, and Fisher's exact test, one-sided, rejects that it does so by chance at OUTLIER_LEVEL
divided by the number of devices (R. A. Fisher, "Statistical Methods for Research Workers", section 21.02;
Bonferroni). With fewer than OUTLIER_DEVICES_MIN devices, nobody can say which of them is wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import comb

from streams.limits import (
    OUTLIER_CONFIDENCE_MIN,
    OUTLIER_DEVICES_MIN,
    OUTLIER_EXAMPLES_MIN,
    OUTLIER_EXCESS,
    OUTLIER_FOLDS,
    OUTLIER_LEVEL,
)
from streams.models.intent import fit
from streams.training.lesson import Lesson


@dataclass(frozen=True, slots=True)
class Outlier:
    """A device that contradicts `contradicted` of `examples`, and the share that the others contradict."""

    device: str
    examples: int
    contradicted: int
    others_share: float

    @property
    def share(self) -> float:
        """Share of its examples that it contradicts, 0 ... 1."""
        return self.contradicted / self.examples


def outliers(lesson: Lesson) -> Sequence[Outlier]:
    """Devices of a lesson that contradict all others, by name."""
    sure, contradicted = Counter[str](), Counter[str]()
    for fold in folds_of(lesson):
        _compare(lesson, fold, sure, contradicted)
    judged = [device for device in sorted(sure) if sure[device] >= OUTLIER_EXAMPLES_MIN]
    return [
        outlier
        for device in judged
        if (outlier := _judged(device, sure, contradicted)) is not None
        and _chance(outlier, sure.total(), contradicted.total()) <= OUTLIER_LEVEL / len(judged)
    ]


def folds_of(lesson: Lesson) -> Sequence[Collection[str]]:
    """Deal the devices into groups of about as many examples, those with most first.

    There is no group if too few devices have enough examples, so that nobody is compared.
    """
    given = Counter(device for device in lesson.devices if device)
    if sum(count >= OUTLIER_EXAMPLES_MIN for count in given.values()) < OUTLIER_DEVICES_MIN:
        return ()
    folds: list[set[str]] = [set() for _ in range(min(OUTLIER_FOLDS, len(given)))]
    sizes = [0] * len(folds)
    for device, count in sorted(given.items(), key=lambda item: (-item[1], item[0])):
        least = sizes.index(min(sizes))
        folds[least].add(device)
        sizes[least] += count
    return folds


def _compare(lesson: Lesson, fold: Collection[str], sure: Counter[str], contradicted: Counter[str]) -> None:
    """Count, for each device of a group, of how many examples the others are sure, and how often wrongly."""
    others = lesson.without(fold)
    own = [at for at, device in enumerate(lesson.devices) if device in fold]
    predicted = fit(others.pairs, others.weights).predict([lesson.pairs[at][0] for at in own])
    for at, (guess, confidence) in zip(own, predicted, strict=True):
        if confidence >= OUTLIER_CONFIDENCE_MIN:
            sure[lesson.devices[at]] += 1
            contradicted[lesson.devices[at]] += guess != lesson.pairs[at][1]


def _judged(device: str, sure: Counter[str], contradicted: Counter[str]) -> Outlier | None:
    """The device as an outlier, if it contradicts so much more than the others."""
    others = sure.total() - sure[device]
    share = (contradicted.total() - contradicted[device]) / others if others else 0.0
    outlier = Outlier(device, sure[device], contradicted[device], round(share, 4))
    return outlier if others and outlier.share - share > OUTLIER_EXCESS else None


def _chance(outlier: Outlier, examples: int, contradicted: int) -> float:
    """Chance of at least as many contradictions, if those of all devices were dealt at random."""
    least, most = outlier.contradicted, min(outlier.examples, contradicted)
    ways = sum(
        comb(contradicted, k) * comb(examples - contradicted, outlier.examples - k)
        for k in range(least, most + 1)
    )
    return ways / comb(examples, outlier.examples)
