"""Whom an answer depends on: versions are fitted again without one wearer, and asked the same again.

What lineage reaches from a wearer must contain every answer that changes. How much of it changes is printed
beside it: lineage says what could have been influenced, this says what was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from device_sim.draw import Draw
from streams import clock, files
from streams.errors import MalformedError
from streams.evaluation.household import Household, Told
from streams.events.identity import format_id
from streams.models.intent import fit
from streams.models.version import ModelVersion
from streams.policy.policy import Policy
from streams.queries.reach import reach
from streams.queries.store import Store
from streams.replay.stored import stored
from streams.training.lesson import Lesson

EFFECTS = 5  #: examples, the first ones, whose first effect is followed


@dataclass(frozen=True, slots=True)
class Influence:
    """One wearer of one draw: of `answers` in all, lineage `reached` some, and of these some `changed`.

    `versions` learned from the wearer. `missed` changed without being reached, and must be 0.
    """

    draw: int
    wearer: str
    versions: int
    answers: int
    reached: int
    changed: int
    missed: int

    @property
    def precision(self) -> float:
        """Share of what was reached that changed."""
        return round(self.changed / self.reached, 4) if self.reached else 1.0

    @property
    def holds(self) -> bool:
        """Whether every answer that changes was reached."""
        return self.missed == 0


@dataclass(frozen=True, slots=True)
class Effect:
    """One example: the first version that learned from it, and the first answer that it changed.

    `answer` is empty if it changed none; otherwise `version` gave it, with the intent `now`, and without the
    example the intent would have been `without`.
    """

    draw: int
    example: str
    first_known: int
    answer: str
    version: int
    without: str
    now: str


async def followed(draw: Draw, policy: Policy, every: int) -> tuple[list[Influence], list[Effect]]:
    """Play a draw, keep its lineage in a store, and compare what that reaches with what changes."""
    with files.working_directory("influence") as directory:
        path = directory / "store"
        with stored(path) as sink:
            household = Household(draw, policy, every, write=sink.write)
            versions = {version.version: version for version in await household.live()}
            sink.flush()
            sink.writer.settle(clock.now_ns())
        known = {number: _Known.of(household, version) for number, version in versions.items()}
        wearers = sorted({wearer for each in known.values() for wearer in each.lesson.wearers if wearer})
        with Store.open(path) as store:
            reached = {wearer: _reached(store, wearer) for wearer in wearers}
    return (
        [_influence(draw.number, wearer, reached[wearer], household.told, known) for wearer in wearers],
        _effects(draw.number, household.told, known),
    )


@dataclass(frozen=True, slots=True)
class _Known:
    """What a version learned from, with the id of each example."""

    ids: Sequence[str]
    lesson: Lesson

    @classmethod
    def of(cls, household: Household, version: ModelVersion) -> _Known:
        """MalformedError if a fit on what the manifest names does not give the same version."""
        ids, lesson = household.learned(version)
        if fit(lesson.pairs, lesson.weights).digest != version.model.digest:
            raise MalformedError(
                f"model version {version.version}: found another model when it was fitted again, expected "
                "its manifest to say what it learned from"
            )
        return cls(ids, lesson)

    def changed(self, told: Sequence[Told], gone: Sequence[bool]) -> list[tuple[Told, str]]:
        """Answers that would have been other ones without some of the examples, and which ones."""
        if not told or not any(gone):
            return []
        rest = self.lesson.only(at for at, out in enumerate(gone) if not out)
        predicted = fit(rest.pairs, rest.weights).predict([answer.utterance for answer in told])
        return [
            (answer, intent)
            for answer, (intent, _) in zip(told, predicted, strict=True)
            if intent != answer.intent
        ]


def _reached(store: Store, wearer: str) -> frozenset[int]:
    """Versions that lineage reaches from a wearer."""
    answer = reach(store, wearer)
    return frozenset(model.version for models in (answer.models, answer.second_models) for model in models)


def _influence(
    draw: int, wearer: str, reached: frozenset[int], told: Sequence[Told], known: Mapping[int, _Known]
) -> Influence:
    changed = [
        answer
        for version, each in known.items()
        for answer, _ in each.changed(
            [answer for answer in told if answer.version == version],
            [of == wearer for of in each.lesson.wearers],
        )
    ]
    return Influence(
        draw,
        wearer,
        sum(wearer in each.lesson.wearers for each in known.values()),
        len(told),
        sum(answer.version in reached for answer in told),
        len(changed),
        sum(answer.version not in reached for answer in changed),
    )


def _effects(draw: int, told: Sequence[Told], known: Mapping[int, _Known]) -> list[Effect]:
    """The first effect of the first examples."""
    first: dict[str, int] = {}
    for version, each in sorted(known.items()):
        for example in each.ids:
            if example:
                first.setdefault(example, version)
    return [_effect(draw, example, since, told, known) for example, since in list(first.items())[:EFFECTS]]


def _effect(draw: int, example: str, since: int, told: Sequence[Told], known: Mapping[int, _Known]) -> Effect:
    for version, each in sorted(known.items()):
        changed = each.changed(
            [answer for answer in told if answer.version == version], [of == example for of in each.ids]
        )
        if changed:
            answer, without = changed[0]
            named = format_id(answer.device, "answer", answer.number)
            return Effect(draw, example, since, named, version, without, answer.intent)
    return Effect(draw, example, since, "", 0, "", "")
