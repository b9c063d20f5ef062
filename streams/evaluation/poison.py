"""What attacks on the loop cost, and whether they are named: one more device beside an honest household.

The bar: the last version understands at most POINTS_LOST_MAX points less of the test than that of the
household alone, and a check of the run names the attack.
"""

from __future__ import annotations

from dataclasses import dataclass

from device_sim.draw import Draw
from streams.evaluation.household import Attack, Household
from streams.evaluation.measure import UTTERANCES_MIN, Curve, macro_f1
from streams.policy.policy import Policy

POINTS_LOST_MAX = 2.0  #: of macro F1, in hundredths
ATTACKS = (
    Attack("inverted", lies=True),
    Attack("repeated", times=5, lies=True),
    Attack("most", queries=8, intents=("play_music",)),
    Attack("loudspeaker", queries=4, same=True, lies=True),
)


@dataclass(frozen=True, slots=True)
class PoisonFigures:
    """One attack on one draw.

    `f1` is that of the last version that serves, `alone` that of the household alone. `named` are the checks
    that did not simply pass, each with the device, wearer or intent that it names.
    """

    draw: int
    attack: str
    versions: int
    f1: float
    alone: float
    named: tuple[str, ...]

    @property
    def points_lost(self) -> float:
        """By which the attack lowers macro F1, in hundredths; negative if it helps."""
        return round(100 * (self.alone - self.f1), 2)

    @property
    def holds(self) -> bool:
        """Whether little enough is lost, and the attack is named."""
        return self.points_lost <= POINTS_LOST_MAX and bool(self.named)


async def poisoned(draw: Draw, attack: Attack, policy: Policy, every: int, alone: Curve) -> PoisonFigures:
    """Play a draw with an attack; `alone` is the curve of the household without it."""
    household = Household(draw, policy, every, attack)
    versions = [version for version in await household.live() if not version.declined]
    return PoisonFigures(
        draw.number,
        attack.name,
        len(versions),
        macro_f1(versions[-1].model, draw.test, UTTERANCES_MIN),
        alone.last.f1,
        tuple(sorted(f"{name} {subject}".strip() for name, subject in household.named)),
    )
