"""The question `reach`: how far the data of a wearer, or a model version, reached."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from msgspec import UNSET, UnsetType

from streams.errors import InputError
from streams.events.headers import rfc3339
from streams.queries.about import by_kind, known, parsed
from streams.queries.answers import Answer, Bounded, ModelVersion
from streams.queries.beside import beside, numbers_of
from streams.queries.descendants import models_in
from streams.queries.models import Version, rows_of, told_versions
from streams.queries.relation import Interval, Stream
from streams.queries.rows import WearerRuns
from streams.queries.spread import Spread
from streams.queries.store import Store
from streams.queries.walk import Reached, common, judged, parents_of, size, subtract, union, united
from streams.queries.wearer import nothing_of, pseudonym

_BYSTANDERS = (
    "bystanders have no id: what a device captured of others is not in this answer; "
    "`sightline ask find` lists events by zone and time, and by the subjects of their labels"
)


class LearnedModel(ModelVersion, frozen=True):
    """A model version, how many of the examples in question it learned from, and how many answers it gave."""

    learned_from: int
    answers: int
    whose: tuple[str, ...]


class Reach(Answer, frozen=True, kw_only=True):
    """How far the data of a wearer, or a model version, reached. `about` is a wearer or a model version's id.

    `captured` and `derived` count events by kind: those that the wearer's devices captured, and those made
    from them before any model. `examples` counts the derived examples; `models` learned from them. `answers`
    counts all answers of these versions, `answers_to` counts them by wearer.

    The second order is what was made with these versions or of their answers, and so on: `second_examples`
    counts the examples of other wearers among it, `second_wearers` are their wearers, and `second_models`
    learned from them. For a model version, `answers` are its own, and the second order follows from these.

    `counted_since` is when training first admitted an example of the wearer (UNSET: never). From then on how
    many there are decides when a run begins, and those that are kept from learning decide which version
    serves. `may_differ` counts by kind what no lineage leads to and may have been otherwise without the
    wearer: answers and examples since then, and model versions since there are examples of the wearer,
    because a version lists also those that were refused.
    """

    about: str
    epoch: int
    says: str | UnsetType = UNSET
    stopped: tuple[str, ...]
    captured: Mapping[str, int]
    derived: Mapping[str, int]
    examples: int
    training_runs: int
    answers: int
    answers_to: Mapping[str, int]
    second_examples: int
    second_wearers: tuple[str, ...]
    models: Bounded[LearnedModel]
    second_models: Bounded[LearnedModel]
    counted_since: str | UnsetType = UNSET
    may_differ: Mapping[str, int] | UnsetType = UNSET


class Extent(NamedTuple):
    """The events that `Reach` counts.

    `captured` are what devices sent, `made` these and all that was made of them up to the `models`, and
    `second` what was made with those, their answers among it. `judged_ns` is since when there are examples
    on devices that the wearer wore, `counted_ns` since when training counts them; ns, 0: never.
    """

    captured: Reached
    made: Reached
    models: Sequence[Version]
    second: Reached
    stopped: tuple[str, ...]
    judged_ns: int = 0
    counted_ns: int = 0
    may_differ: Reached = {}  # noqa: RUF012

    @property
    def every(self) -> Reached:
        """All that could have been otherwise."""
        return united((self.made, self.second, self.may_differ))


def reach(store: Store, about: str) -> Reach:
    """Return how far the data of a wearer (such as w1) or a model version (such as training/m/3) reached.

    InputError if `about` is neither, or if the role may see nothing of it.
    """
    of = extent(store, about)
    every = of.made
    derived = {
        stream: subtract(numbers, of.captured.get(stream, ()))
        for stream, numbers in every.items()
        if stream[:2] not in store.models
    }
    examples = _of_kind(store, derived, "example")
    given = _answers(store, of.models)
    answers = united(given.values())
    others = {
        stream: left
        for stream, numbers in _of_kind(store, of.second, "example").items()
        if (left := subtract(numbers, every.get(stream, ())))
    }
    learned = learned_from(store, models_in(store, of.second), others)
    later = [version for version in learned if version not in set(of.models)]
    wearer = "/" not in about
    return Reach(
        about=about if wearer else str(parsed(about)),
        epoch=store.epoch,
        says=_BYSTANDERS if wearer else UNSET,
        stopped=of.stopped,
        captured=by_kind(store, of.captured),
        derived=by_kind(store, derived),
        examples=_count(examples),
        training_runs=len(of.models) if wearer else 0,
        answers=_count(answers),
        answers_to=_by_wearer(store, answers),
        second_examples=_count(others),
        second_wearers=tuple(_by_wearer(store, others)),
        models=_models(store, of.models, learned_from(store, of.models, examples), given),
        second_models=_models(store, later, learned, _answers(store, later)),
        counted_since=rfc3339(of.counted_ns) if of.counted_ns else UNSET,
        may_differ=by_kind(store, of.may_differ) if wearer else UNSET,
    )


def extent(store: Store, about: str) -> Extent:
    """Return the events that `reach` counts; errors are its own."""
    if "/" in about:
        return _of_model(store, about)
    name = pseudonym(about)
    runs = store.sift(store.query("wearer_runs", {"wearer": name}).of(WearerRuns), "events", counted=False)
    if not runs:
        raise nothing_of(store, name)
    own = numbers_of(runs)
    walked = _walked(store, own)
    captured_streams = {
        (source, stream) for source, stream, _, captured in store.query("kinds").rows if captured
    }
    captured = {stream: numbers for stream, numbers in own.items() if stream[:2] in captured_streams}
    made = united((own, walked.reached))
    models = models_in(store, made)
    second, stopped = _second(store, models)
    others, met = beside(store, name), united((made, second))
    more = {stream: subtract(numbers, met.get(stream, ())) for stream, numbers in others.events.items()}
    return Extent(
        captured,
        made,
        models,
        second,
        tuple(dict.fromkeys((*walked.stopped, *stopped))),
        others.judged_ns,
        others.counted_ns,
        {stream: numbers for stream, numbers in more.items() if numbers},
    )


def _of_model(store: Store, about: str) -> Extent:
    event = known(store, about)
    if (event.source, event.stream) not in store.models:
        raise InputError(
            f"{event}: found an event that is no model version, expected a wearer such as w1, or a model "
            "version such as training/intent-model/3; `sightline ask descendants` says what was made of it"
        )
    versions = [((event.source, event.stream), event.number)]
    made: Reached = {(event.source, event.stream, 0): [(event.number, event.number)]}
    return Extent({}, made, versions, *_second(store, versions))


def _walked(store: Store, starts: Reached) -> Spread:
    """A walk to all that was made of some events, up to the next models."""
    walked = Spread(store, "children", starts, lambda stream: stream[:2] in store.models)
    for _ in walked:
        pass
    return walked


def _second(store: Store, models: Sequence[Version]) -> tuple[Reached, tuple[str, ...]]:
    """What was made with some model versions, through all later ones, and why the walk stopped."""
    reached: Reached = {}
    stopped: dict[str, None] = {}
    known, fresh = set(models), list(models)
    while fresh:
        walked = _walked(store, united({(*stream, 0): [(number, number)]} for stream, number in fresh))
        reached = united((reached, walked.reached))
        stopped |= dict.fromkeys(walked.stopped)
        fresh = [version for version in models_in(store, walked.reached) if version not in known]
        known |= {*fresh}
    return reached, tuple(stopped)


def _models(
    store: Store,
    versions: Iterable[Version],
    learned: Mapping[Version, int],
    given: Mapping[Version, Reached],
) -> Bounded[LearnedModel]:
    rows = Bounded.of(rows_of(store, versions))
    told = told_versions(
        LearnedModel,
        store,
        rows,
        lambda of: {"learned_from": learned.get(of, 0), "answers": _count(given.get(of, {}))},
    )
    return Bounded(told, rows.more)


def _of_kind(store: Store, events: Reached, kind: str) -> Reached:
    return {
        stream: numbers
        for stream, numbers in events.items()
        if numbers and store.kinds.get(stream[:2]) == kind
    }


def _count(events: Reached) -> int:
    return sum(map(size, events.values()))


def _answers(store: Store, versions: Sequence[Version]) -> dict[Version, Reached]:
    """Answers that model versions gave, as far as the store's role may see them."""
    asked = united({(*stream, 0): [(number, number)]} for stream, number in versions)
    given: dict[Version, dict[Stream, list[Interval]]] = {version: {} for version in versions}
    if not asked:
        return {}
    for edge in store.lookup.edges("children", asked):
        if store.kinds.get(edge.child[:2]) != "answer":
            continue
        run = edge.run
        if run.parent_step == 0 and run.width == 1 and run.child.step == 1:
            # The usual case: one version gave many answers in a row.
            of_version = given.get((edge.parent[:2], run.parent_first))
            if of_version is not None:
                of_version.setdefault(edge.child, []).append((run.child.first, run.child.last))
            continue
        for number, version in run.pairs():
            of_version = given.get((edge.parent[:2], version))
            if of_version is not None:
                of_version.setdefault(edge.child, []).append((number, number))
    every = {version: united([events]) for version, events in given.items()}
    if store.role_filter is None:
        return every
    return {version: _shown(store, events) for version, events in every.items()}


def _shown(store: Store, events: Reached) -> Reached:
    """Those of `events` that the store's role may see; notes their zones for the audit log."""
    shown: Reached = {}
    bounds = {stream: (numbers[0][0], numbers[-1][1]) for stream, numbers in events.items() if numbers}
    for stream, runs in store.lookup.zones(bounds).items():
        visible, hidden = judged(store, runs)
        shown[stream] = subtract(events[stream], hidden)
        for run in visible:
            if store.role_filter is not None and common(shown[stream], [(run.low, run.high)]):
                store.role_filter.note(run.row_class.policy_version, run.row_class.zone)
    return {stream: numbers for stream, numbers in shown.items() if numbers}


def _by_wearer(store: Store, events: Reached) -> dict[str, int]:
    """Count visible events by wearer."""
    counts: Counter[str] = Counter()
    bounds = {stream: (numbers[0][0], numbers[-1][1]) for stream, numbers in events.items() if numbers}
    for stream, runs in store.lookup.zones(bounds).items():
        of_wearer: dict[str, list[Interval]] = {}
        for run in runs:
            of_wearer.setdefault(run.row_class.wearer, []).append((run.low, run.high))
        for wearer, numbers in of_wearer.items():
            counts[wearer] += size(common(events[stream], union(numbers)))
    return {wearer: count for wearer, count in sorted(counts.items()) if wearer and count}


def learned_from(store: Store, versions: Sequence[Version], examples: Reached) -> dict[Version, int]:
    """How many of `examples` each model version learned from; versions without any are left out."""
    asked = united({(*stream, 0): [(number, number)]} for stream, number in versions)
    wanted = set(versions)
    met: dict[Version, dict[Stream, list[Interval]]] = {}
    for edge in store.lookup.edges("parents", asked) if asked and examples else ():
        if edge.parent not in examples:
            continue
        for number in edge.run.child:
            version = (edge.child[:2], number)
            if version in wanted:
                numbers = parents_of(edge.run, [(number, number)])
                met.setdefault(version, {}).setdefault(edge.parent, []).extend(numbers)
    learned = {
        version: sum(size(common(examples[stream], union(numbers))) for stream, numbers in parents.items())
        for version, parents in met.items()
    }
    return {version: count for version, count in learned.items() if count}
