"""What is said, drawn blind: which utterance is seed, validation, test, or played by the simulator.

The numbers of the draws and the sizes were written down before anything was fitted on them, and stay as they
are whatever the figures say. The first draw is the one that is shipped; `sightline evaluate` prints all.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from device_sim.recordings import rows

Pair = tuple[str, str]
#: The draws that are evaluated.
DRAWS = (1, 2, 3)
#: Intents of spoken feedback; all others are intents of queries.
FEEDBACK = ("general_praise", "general_negate", "general_repeat", "general_commandstop")
#: (seed, validation, test) utterances of an intent of queries. A household's own words never come as examples
#: of feedback, so the seed of those intents is larger.
PER_TASK, PER_FEEDBACK = (2, 25, 50), (16, 16, 16)
#: Queries of an intent that are played; of spoken feedback, all that is left.
QUERIES_PER_TASK = 100
RECORDING = "nlu-utterances"  #: all utterances


@dataclass(frozen=True, slots=True)
class Draw:
    """One draw: disjoint parts as (utterance, intent), each intent in the order in which it was drawn."""

    number: int
    seed: Sequence[Pair]
    validation: Sequence[Pair]
    test: Sequence[Pair]
    queries: Sequence[Pair]
    spoken: Sequence[Pair]


def utterances() -> tuple[Pair, ...]:
    """All (utterance, intent) that are shipped, in file order."""
    return tuple((row["utterance"], row["intent"]) for row in rows(RECORDING))


def by_intent(pairs: Iterable[Pair]) -> Mapping[str, list[str]]:
    """Utterances by intent, in their order."""
    texts: dict[str, list[str]] = {}
    for text, intent in pairs:
        texts.setdefault(intent, []).append(text)
    return texts


def draw(number: int, pairs: Iterable[Pair]) -> Draw:
    """Divide utterances by draw `number`; the same number and set of pairs give the same parts."""
    parts: tuple[list[Pair], ...] = ([], [], [], [], [])
    for intent, texts in sorted(by_intent(pairs).items()):
        order = sorted(texts)
        random.Random(f"{number}/{intent}").shuffle(order)  # noqa: S311  a fixed draw, no secret
        seed, validation, test = PER_FEEDBACK if intent in FEEDBACK else PER_TASK
        played = (parts[4], None) if intent in FEEDBACK else (parts[3], QUERIES_PER_TASK)
        begin = 0
        for part, size in ((parts[0], seed), (parts[1], validation), (parts[2], test), played):
            end = len(order) if size is None else begin + size
            part.extend((text, intent) for text in order[begin:end])
            begin = end
    return Draw(number, *parts)
