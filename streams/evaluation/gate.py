"""How often the gate of promotion errs, with real fits: on bad candidates, and on some that are as good.

Everything that is chosen here is chosen by a digest, so a draw gives the same figures on every run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from device_sim.draw import Draw
from streams.events.digest import digest
from streams.models.intent import fit
from streams.training import promotion

CANDIDATES = 20  #: bad candidates, and pairs of equally good ones
TOSSES = 20  #: of each pair
EXAMPLES = 120  #: queries that each version is fitted on, besides the seed
EQUAL_SHARE_MAX = 0.08  #: of equally good candidates that may be declined
Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class GateFigures:
    """How many candidates were declined in one draw.

    `shuffled` are candidates with shuffled labels. `equal` are as good by construction: of two versions,
    which one's outcome counts as the candidate's is tossed for each example. `refitted` are fitted on other
    examples of the same number; such a version can be a little worse in truth, so no bar holds for them.
    """

    draw: int
    shuffled: int
    shuffled_declined: int
    equal: int
    equal_declined: int
    refitted: int
    refitted_declined: int

    @property
    def holds(self) -> bool:
        """Whether all bad ones and few enough equal ones were declined."""
        return self.shuffled_declined == self.shuffled and self.equal_declined <= EQUAL_SHARE_MAX * self.equal


def gate_figures(drawn: Draw) -> GateFigures:
    """Judge CANDIDATES bad candidates, and CANDIDATES * TOSSES equally good ones, on the validation set."""
    validation = drawn.validation
    pairs = [(_outcomes(drawn, f"first/{at}"), _outcomes(drawn, f"second/{at}")) for at in range(CANDIDATES)]
    bad = [_outcomes(drawn, f"first/{at}", shuffled=True) for at in range(CANDIDATES)]
    tossed = [
        [_tossed(pair, f"{drawn.number}/{at}/{toss}") for toss in range(TOSSES)]
        for at, pair in enumerate(pairs)
    ]

    def declined(right: Sequence[bool], before: Sequence[bool]) -> bool:
        return not promotion.judge(right, before, [""] * len(validation), 1).promoted

    return GateFigures(
        drawn.number,
        CANDIDATES,
        sum(declined(right, before) for right, (before, _) in zip(bad, pairs, strict=True)),
        CANDIDATES * TOSSES,
        sum(declined(right, before) for some in tossed for right, before in some),
        2 * CANDIDATES,
        sum(declined(a, b) + declined(b, a) for a, b in pairs),
    )


def _outcomes(drawn: Draw, name: str, *, shuffled: bool = False) -> list[bool]:
    """What a version understands of the validation set that is fitted on some queries."""
    some = sorted(drawn.queries, key=lambda pair: digest(f"{drawn.number}/{name}/{pair[0]}".encode()))
    learned = [*drawn.seed, *some[:EXAMPLES]]
    if shuffled:
        order = sorted(range(len(learned)), key=lambda at: digest(f"{drawn.number}/{name}/{at}".encode()))
        learned = [(text, learned[at][1]) for (text, _), at in zip(learned, order, strict=True)]
    return fit(learned).right(drawn.validation)


def _tossed(pair: tuple[Sequence[bool], Sequence[bool]], name: str) -> tuple[list[bool], list[bool]]:
    """Two outcomes with the sides changed for about half of the examples."""
    swaps = [int(digest(f"{name}/{at}".encode()), 16) & 1 for at in range(len(pair[0]))]
    sides = [(b, a) if swap else (a, b) for a, b, swap in zip(*pair, swaps, strict=True)]
    return [right for right, _ in sides], [before for _, before in sides]
