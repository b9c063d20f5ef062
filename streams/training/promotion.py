"""Whether a fitted version may serve: it must not be worse than the one that serves, also for each wearer.

Both versions answer the same validation set, so their outcomes are pairs, and only those count on which
they differ: `better` where the candidate alone is right, `worse` where the serving version alone is. If the
two are equally good, each difference is a fair coin, so `worse` has a binomial distribution. The candidate
is declined if so many losses, or more, have a chance of at most PROMOTION_LEVEL under it. This is the exact
one-sided form of McNemar's test (Q. McNemar, Psychometrika 12, 1947, 153-157), which T. G. Dietterich
recommends for two classifiers and one test set (Neural Computation 10, 1998, 1895-1923). Because it is
exact, it declines a candidate that is as good in at most PROMOTION_LEVEL of all cases.

A wearer counts as worse off if the candidate loses more than GROUP_LOSS_MAX of the wearer's own examples, and
the same test rejects at GROUP_LEVEL divided by the number of wearers (Bonferroni).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import comb

from streams.errors import InputError, MalformedError
from streams.events.digest import digest
from streams.limits import GROUP_EXAMPLES_MIN, GROUP_LEVEL, GROUP_LOSS_MAX, PROMOTION_LEVEL
from streams.training.gate import Candidate
from streams.training.lesson import Pair
from streams.training.seed import Examples, Licensed
from streams.training.splits import key_of


@dataclass(frozen=True, slots=True)
class Validation:
    """What a candidate and the serving version are compared on.

    `pairs` are (utterance, intent), the `licensed` first ones of them shipped and the same for every version.
    The others are examples of wearers: `wearers` has whose each is, `devices` which device it is from; both
    are empty for a licensed one.
    """

    pairs: tuple[Pair, ...]
    wearers: tuple[str, ...]
    devices: tuple[str, ...]
    licensed: int

    def without(self, devices: Collection[str]) -> Validation:
        """Return a copy without the examples of some devices."""
        kept = [at for at, device in enumerate(self.devices) if not device or device not in devices]
        return Validation(
            tuple(self.pairs[at] for at in kept),
            tuple(self.wearers[at] for at in kept),
            tuple(self.devices[at] for at in kept),
            self.licensed,
        )

    @property
    def digest(self) -> str:
        """Digest of the utterances' digests and intents: equal sets have equal digests."""
        return digest("\n".join(f"{key_of(text)} {intent}" for text, intent in self.pairs).encode())


def validation_of(licensed: Examples, kept: Sequence[Candidate], learned: Sequence[Pair]) -> Validation:
    """Validation set of a run that learns from `learned`, with the examples that were `kept` for it.

    A kept example whose utterance is learned too, because somebody said it at another time, is left out.

    MalformedError if there are no licensed examples, or if one of them is learned too.
    """
    if not licensed.pairs:
        raise MalformedError(
            "validation set: found no licensed example, expected some that no version learns from; without "
            "them nobody can tell whether a version is worse"
        )
    known = {key_of(text) for text, _ in learned}
    if leaked := sum(key_of(text) in known for text, _ in licensed.pairs):
        raise MalformedError(
            f"validation set: found {leaked} of its {len(licensed.pairs)} licensed utterances, by digest, "
            "among those that are learned, expected none; draw both again (device_sim/draw.py)"
        )
    own = [
        (batch.columns["utterance"][0], batch.columns["intent"][0], batch.wearer_id, batch.source)
        for batch in (candidate.tagged.batch for candidate in kept)
        if key_of(batch.columns["utterance"][0]) not in known
    ]
    nobody = [""] * len(licensed.pairs)
    return Validation(
        (*licensed.pairs, *((text, intent) for text, intent, *_ in own)),
        (*nobody, *(wearer for *_, wearer, _ in own)),
        (*nobody, *(device for *_, device in own)),
        len(licensed.pairs),
    )


def apart(licensed: Licensed) -> Validation:
    """Validation set of version 1; InputError if it is empty, or if the seed has one of its utterances."""
    try:
        return validation_of(licensed.validation, (), licensed.seed.pairs)
    except MalformedError as error:
        raise InputError(str(error)) from None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a candidate is promoted, why not (empty if it is), and what the test is about."""

    reason: str = ""
    better: int = 0
    worse: int = 0
    p_value: float = 1.0

    @property
    def promoted(self) -> bool:
        """Whether the candidate serves."""
        return not self.reason


def chance(better: int, worse: int) -> float:
    """Chance of at least `worse` losses among the differences, if gains and losses are equally likely."""
    differ = better + worse
    return float(sum(comb(differ, k) for k in range(worse, differ + 1)) / 2**differ)


def judge(right: Sequence[bool], before: Sequence[bool], wearers: Sequence[str], against: int) -> Verdict:
    """Compare a candidate with version `against`, which serves.

    Parameters
    ----------
    right, before
        For each example, whether the candidate and whether the serving version understood it.
    wearers
        Whose each example is; empty for a licensed one.
    """
    outcomes = list(zip(right, before, wearers, strict=True))
    better, worse = _differences(outcomes)
    p_value = round(chance(better, worse), 6)
    if p_value <= PROMOTION_LEVEL:
        return Verdict(
            f"worse than version {against} on the validation set of {len(right)} examples: {worse} that only "
            f"version {against} understands, {better} that only this one does (p = {p_value:g}, expected "
            f"more than {PROMOTION_LEVEL:g})",
            better,
            worse,
            p_value,
        )
    counts = {
        wearer: count for wearer, count in Counter(wearers).items() if wearer and count >= GROUP_EXAMPLES_MIN
    }
    lost = 0
    for wearer, count in counts.items():
        gains, losses = _differences([outcome for outcome in outcomes if outcome[2] == wearer])
        lost += losses - gains > GROUP_LOSS_MAX * count and chance(gains, losses) <= GROUP_LEVEL / len(counts)
    reason = (
        f"worse than version {against} for {lost} of {len(counts)} wearers by more than {GROUP_LOSS_MAX:.0%} "
        "of their own examples"
        if lost
        else ""
    )
    return Verdict(reason, better, worse, p_value)


def _differences(outcomes: Sequence[tuple[bool, bool, str]]) -> tuple[int, int]:
    pairs = Counter((right, before) for right, before, _ in outcomes)
    return pairs[True, False], pairs[False, True]


@dataclass(frozen=True, slots=True)
class Measured:
    """How a version was measured: the set, the verdict, and the version it was compared with (0: none)."""

    validation: Validation
    verdict: Verdict = Verdict()
    against: int = 0
