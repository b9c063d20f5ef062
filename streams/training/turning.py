"""Whether live feedback turned against the version that serves, so that an earlier one should serve again.

Every example says which version answered, and whether the answer was what the wearer meant. For each of the
TURN_REACH promoted versions before the one that serves, the answers of later versions are compared with those
up to it, each wearer with himself: wearers differ in what they ask, and must not be mixed. The test is that
of Mantel and Haenszel (Journal of the National Cancer Institute 22, 1959, 719-748), one-sided, with
correction for continuity, at TURN_LEVEL divided by the number of versions that are compared. At least
TURN_WEARERS_MIN wearers must have had answers of both kinds, of each wearer no more than TURN_ANSWERS_MAX
count on either side, and the test must reject without any single wearer as well. So nobody, whatever they say
and however often, can alone cause that the loop goes back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import erfc, sqrt

from streams.limits import TURN_ANSWERS_MAX, TURN_LEVEL, TURN_REACH, TURN_WEARERS_MIN
from streams.training.gate import REVIEWED, Candidate


@dataclass(frozen=True, slots=True)
class Answer:
    """What a wearer said of an answer: which version gave it, and whether it was right."""

    wearer: str
    version: int
    right: bool


@dataclass(frozen=True, slots=True)
class Turn:
    """Feedback turned after `version`: `wrong` of `answers` of later versions.

    `before` is the share of wrong answers up to it.
    """

    version: int
    wearers: int
    answers: int
    wrong: int
    before: float
    p_value: float

    @property
    def why(self) -> str:
        """A sentence for whoever asks why an earlier version serves."""
        return (
            f"feedback turned: {self.wrong} of {self.answers} answers since version {self.version} were "
            f"wrong, {self.before:.0%} before, for {self.wearers} wearers (p = {self.p_value:.1g})"
        )


def answers_of(candidates: Iterable[Candidate]) -> list[Answer]:
    """Answers of which examples at the gate tell; those that it refuses, and reviews, tell nothing.

    One reviewer judges answers of many wearers, and must not cause alone that the loop goes back.
    """
    return [
        Answer(
            candidate.tagged.batch.wearer_id,
            candidate.tagged.batch.columns["model_version"][0],
            candidate.tagged.batch.columns["answered_intent"][0]
            == candidate.tagged.batch.columns["intent"][0],
        )
        for candidate in candidates
        if candidate.admitted and candidate.tagged.batch.stream.partition("~")[0] != REVIEWED
    ]


def turned(answers: Sequence[Answer], promoted: Sequence[int]) -> Turn | None:
    """The turn after which feedback is worst, None if there is none.

    `answers` are in the order in which they came, `promoted` the versions that served and were not left
    behind; the highest serves.
    """
    earlier = sorted(promoted)[-TURN_REACH - 1 : -1]
    turns = [
        turn
        for version in reversed(earlier)
        if (turn := _compared(answers, version, TURN_LEVEL / len(earlier))) is not None
    ]
    return min(turns, key=lambda turn: turn.p_value, default=None)


def _compared(answers: Sequence[Answer], version: int, level: float) -> Turn | None:
    """Compare the answers since a version with those up to it."""
    sides = _sides(answers, version)
    both = {wearer: of for wearer, of in sides.items() if of[0] and of[1]}
    if len(both) < TURN_WEARERS_MIN:
        return None
    tables = {wearer: _table(*of) for wearer, of in both.items()}
    without = [_chance([table for other, table in tables.items() if other != wearer]) for wearer in tables]
    if max(without) > level:
        return None
    before = [right for until, _ in both.values() for right in until]
    since = [right for _, later in both.values() for right in later]
    return Turn(
        version,
        len(both),
        len(since),
        since.count(False),
        before.count(False) / len(before),
        _chance(list(tables.values())),
    )


def _sides(answers: Sequence[Answer], version: int) -> Mapping[str, tuple[Sequence[bool], Sequence[bool]]]:
    """By wearer, whether the newest answers up to a version were right, and those since it."""
    sides: dict[str, tuple[list[bool], list[bool]]] = {}
    for answer in reversed(answers):
        side = sides.setdefault(answer.wearer, ([], []))[answer.version > version]
        if len(side) < TURN_ANSWERS_MAX:
            side.append(answer.right)
    return sides


def _table(until: Sequence[bool], since: Sequence[bool]) -> tuple[int, float, float]:
    """(wrong since, expected, variance) of a wearer, if wrong answers were dealt at random."""
    wrong, total = until.count(False) + since.count(False), len(until) + len(since)
    expected = len(since) * wrong / total
    variance = expected * (total - wrong) * len(until) / (total * (total - 1))
    return since.count(False), expected, variance


def _chance(tables: Sequence[tuple[int, float, float]]) -> float:
    """Chance of so many wrong answers since, or more, if nothing turned."""
    wrong, expected, variance = (sum(of) for of in zip(*tables, strict=True))
    return erfc((wrong - expected - 0.5) / sqrt(2 * variance)) / 2 if variance else 1.0
