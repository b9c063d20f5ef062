"""The question `descendants`: everything that was made from an event."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from msgspec import UNSET, Struct, UnsetType

from streams import limits
from streams.queries.about import Named, asked_about, by_kind, event_row, start_of, step_rows, unknown
from streams.queries.answers import Answer, Bounded, ModelVersion, ReachedRow
from streams.queries.models import Version, answers_given, rows_of, told_versions
from streams.queries.spread import UNBOUNDED, Bounds, Spread
from streams.queries.store import Store
from streams.queries.walk import Reached, Step, size, subtract, union, united


class ReachedModel(ModelVersion, frozen=True):
    """A model version that a walk reached after `hop` steps, and how many answers it gave."""

    hop: int
    answers: int
    whose: tuple[str, ...]


class MadeInGeneration(Struct, frozen=True):
    """What was made from the event in one generation: 0 is before any model, 1 after one model, and so on.

    `events` counts events by kind; `models` are the versions that learned from them, from which the next
    generation follows.
    """

    generation: int
    events: Mapping[str, int]
    models: tuple[str, ...]


class Descendants(Answer, frozen=True, kw_only=True):
    """All that was made from an event, nearest first; `models` are the versions at which the walk stopped.

    `stopped` explains in sentences which bounds ended the walk. `generations` is set if the walk continued
    through models.
    """

    id: str
    epoch: int
    hops: int
    stopped: tuple[str, ...]
    made_of_it: Mapping[str, int]
    descendants: Bounded[ReachedRow]
    models: Bounded[ReachedModel]
    generations: Bounded[MadeInGeneration] | UnsetType = UNSET


def descendants(
    store: Store, identity: str, bounds: Bounds = UNBOUNDED, *, through_models: bool = False
) -> Descendants:
    """Return everything that was made from an event, hop by hop, each event with its zone.

    The walk stops at a model, because all answers of the model would follow; the model is summarised instead.

    Parameters
    ----------
    bounds
        Maximal number of hops and latest time; of a walk through models, for each generation.
    through_models
        Continue through models, with one line for each generation of the loop, with counts by kind.

    Raises
    ------
    InputError
        `identity` has another form, or the store does not hold the event.
    """
    event = asked_about(store, identity)
    start, numbers = start_of(event), [(event.number, event.number)]
    steps: list[Step] = []
    walked = Spread(store, "children", {start: numbers}, lambda stream: stream[:2] in store.models, bounds)
    steps.extend(walked)
    # An event with children exists; for one without children, look for its own row.
    if not steps and event_row(store, event) is None:
        raise unknown(store, event)
    met = _versions(store, steps)
    generations = _Generations(store, {start: numbers}, walked, bounds) if through_models else None
    return Descendants(
        id=str(event),
        epoch=store.epoch,
        hops=walked.last_hop,
        stopped=tuple(walked.stopped if generations is None else generations.stopped),
        made_of_it=by_kind(store, walked.reached if generations is None else generations.reached),
        descendants=Bounded.of([row for step in steps for row in step_rows(step)]),
        models=_models(store, met),
        generations=UNSET if generations is None else Bounded.of(generations.rows),
    )


def models_in(store: Store, events: Reached) -> list[Version]:
    """Model versions among some events."""
    return [
        (stream[:2], number)
        for stream, numbers in sorted(events.items())
        if stream[:2] in store.models and not stream[2]
        for low, high in numbers
        for number in range(low, high + 1)
    ]


def _versions(store: Store, steps: list[Step]) -> dict[Version, int]:
    """Model versions that steps reached, with the first hop that did."""
    met: dict[Version, int] = {}
    for step in steps:
        for version in models_in(store, {step.stream: list(step.numbers)}):
            met.setdefault(version, step.hop)
    return met


def _models(store: Store, met: Mapping[Version, int]) -> Bounded[ReachedModel]:
    first: dict[Named, int] = {}
    for stream, number in met:
        first[stream] = min(number, first.get(stream, number))
    given = answers_given(store, first) if first else Counter[Version]()
    rows = Bounded.of(rows_of(store, met))
    told = told_versions(ReachedModel, store, rows, lambda of: {"hop": met[of], "answers": given[of]})
    return Bounded(told, rows.more)


class _Generations:
    """A walk that continues through models, with what each generation is the first to reach."""

    def __init__(self, store: Store, starts: Reached, first: Spread, bounds: Bounds) -> None:
        self.stopped = list(first.stopped)
        self.reached: Reached = {}
        self.rows: list[MadeInGeneration] = []
        walked = first
        gone: Reached = {stream: list(numbers) for stream, numbers in starts.items()}
        while True:
            fresh = {
                stream: subtract(numbers, union([*self.reached.get(stream, ()), *gone.get(stream, ())]))
                for stream, numbers in walked.reached.items()
            }
            self.reached = united((self.reached, walked.reached))
            models = {
                stream: numbers for stream, numbers in fresh.items() if stream[:2] in store.models and numbers
            }
            self.rows.append(
                MadeInGeneration(
                    len(self.rows),
                    by_kind(store, fresh),
                    tuple(f"{'/'.join(name)}/{number}" for name, number in models_in(store, models)),
                )
            )
            if not models:
                return
            if sum(map(size, self.reached.values())) > limits.WALK_EVENTS_MAX:
                self.stopped.append(walked.too_many)
                return
            gone = united((gone, models))
            walked = Spread(store, "children", models, lambda stream: stream[:2] in store.models, bounds)
            for _ in walked:
                pass
            self.stopped += [why for why in walked.stopped if why not in self.stopped]
