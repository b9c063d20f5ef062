"""How well model versions understand utterances that were never used: F1 scores, by intent and on average.

The F1 score of an intent is the harmonic mean of precision and recall (van Rijsbergen, "Information
Retrieval", 2nd ed., 1979); the macro average gives every intent the same weight.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from device_sim.draw import DRAWS, Draw, draw, utterances
from streams.evaluation.household import Household
from streams.models.intent import IntentModel
from streams.models.version import ModelVersion
from streams.policy.policy import Policy

UTTERANCES_MIN = 50  #: in the test, of an intent that the bar is about
F1_MIN, GAIN_POINTS_MIN = 0.80, 15.0


@dataclass(frozen=True, slots=True)
class Turn:
    """One generation of one draw.

    `examples` are those that the version was fitted on, `accuracy` its share of the validation set. `f1` is
    the macro average on the test over intents of at least UTTERANCES_MIN utterances, `f1_all` over all. A
    version that was not promoted never served.
    """

    draw: int
    version: int
    examples: int
    accuracy: float
    f1: float
    f1_all: float
    promoted: bool


@dataclass(frozen=True, slots=True)
class Curve:
    """All generations of one draw, the first of the seed alone."""

    draw: int
    turns: Sequence[Turn]

    @property
    def last(self) -> Turn:
        """The newest generation that serves."""
        return [turn for turn in self.turns if turn.promoted][-1]

    @property
    def gain_points(self) -> float:
        """From the first generation to the last, in hundredths."""
        return round(100 * (self.last.f1 - self.turns[0].f1), 2)

    @property
    def holds(self) -> bool:
        """Whether the last generation is good enough, and gained enough."""
        return self.last.f1 >= F1_MIN and self.gain_points >= GAIN_POINTS_MIN


def f1_by_intent(pairs: Sequence[tuple[str, str]]) -> Mapping[str, float]:
    """F1 score of each true intent, from (true, predicted) intents; 0 for one that is never recognised."""
    true, predicted = Counter(of for of, _ in pairs), Counter(guess for _, guess in pairs)
    right = Counter(of for of, guess in pairs if of == guess)
    return {intent: 2 * right[intent] / (true[intent] + predicted[intent]) for intent in sorted(true)}


def macro_f1(model: IntentModel, test: Sequence[tuple[str, str]], utterances_min: int = 1) -> float:
    """Average F1 score over the intents of `test` with at least `utterances_min` utterances, 0 ... 1."""
    predicted = model.predict([text for text, _ in test])
    scores = f1_by_intent([(of, guess) for (_, of), (guess, _) in zip(test, predicted, strict=True)])
    counts = Counter(intent for _, intent in test)
    chosen = [scores[intent] for intent, count in counts.items() if count >= utterances_min]
    return round(sum(chosen) / len(chosen), 4)


async def curve(drawn: Draw, policy: Policy, every: int) -> Curve:
    """Let a household use the loop on one draw, and measure each version on the test."""
    return curve_of(drawn, await Household(drawn, policy, every).live())


def curve_of(drawn: Draw, versions: Sequence[ModelVersion]) -> Curve:
    """Measure versions that a household of a draw made, in their order, on its test."""
    return Curve(
        drawn.number,
        [
            Turn(
                drawn.number,
                version.version,
                version.manifest.examples,
                version.accuracy,
                macro_f1(version.model, drawn.test, UTTERANCES_MIN),
                macro_f1(version.model, drawn.test),
                not version.declined,
            )
            for version in versions
        ],
    )


def drawn(numbers: Sequence[int] = DRAWS) -> list[Draw]:
    """The draws with these numbers, of the shipped utterances."""
    shipped = utterances()
    return [draw(number, shipped) for number in numbers]
