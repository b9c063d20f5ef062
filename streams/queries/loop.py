"""The question `loop`: what an event led to in later turns of the loop."""

from __future__ import annotations

from collections import Counter
from collections.abc import Set

from msgspec import UNSET

from streams import limits
from streams.events.identity import EventId, example_stream
from streams.queries.about import (
    Named,
    direct_parents,
    event_row,
    ids_of,
    parsed,
    refused_because,
    rejections_of,
    start_of,
    unknown,
)
from streams.queries.answers import Bounded, LaterGeneration, Loop
from streams.queries.models import Version, answers_given, declined, rows_of, told_versions
from streams.queries.relation import Interval
from streams.queries.store import Store
from streams.queries.walk import size, union, walk
from streams.topology import FEEDBACK, TAKEN

_NOWHERE = "the loop did not carry it anywhere: no answer, feedback or example was made of it"


def loop(store: Store, identity: str) -> Loop:
    """Return what an event led to: feedback, examples, model versions, and the answers of those versions.

    `made_of_it` counts events by kind; `says` explains that the event led to nothing, or that it was refused
    and why. For a model, the generations are the versions of its stream from that one on. InputError if the
    store has nothing about the event.
    """
    event = parsed(identity)
    return _of_refused(store, event) if event_row(store, event) is None else _of_stored(store, event)


def _of_stored(store: Store, event: EventId) -> Loop:
    models, kinds = store.models, store.kinds
    start = (event.source, event.stream)
    carried: dict[str, list[str]] = {"answer": [], **{kind: [] for kind in TAKEN[FEEDBACK]}, "example": []}
    reached: dict[Named, list[Interval]] = {}
    learned: set[Version] = set()
    if start in models:
        learned.add((start, event.number))
    else:
        if kinds.get(start) in carried:
            carried[kinds[start]].append(str(event))
        for step in walk(
            store, "children", start_of(event), event.number, lambda stream: stream[:2] in models
        ):
            kind = kinds.get(step.stream[:2])
            numbers = union([*reached.get(step.stream[:2], ()), *step.numbers])
            reached[step.stream[:2]] = numbers
            if step.stream[:2] in models:
                learned |= {
                    (step.stream[:2], number) for low, high in step.numbers for number in range(low, high + 1)
                }
            elif kind in carried:
                carried[kind] += ids_of(step.stream, step.numbers)
        # Feedback is a captured event; the example that was made of both connects it with its answer.
        for example in carried["example"]:
            for step in direct_parents(store, EventId.parse(example)):
                kind = kinds.get(step.stream[:2])
                if kind in {"answer", *TAKEN[FEEDBACK]}:
                    carried[kind] += ids_of(step.stream, step.numbers)
    unmade = EventId(event.source, example_stream(event.stream), event.number)
    refused = rejections_of(store, unmade) if kinds.get(start) in TAKEN[FEEDBACK] else []
    generations = _generations(store, learned)
    made: Counter[str] = Counter()
    for stream, numbers in reached.items():
        made[kinds.get(stream, "unknown")] += size(numbers)
    answers, feedback, examples = (
        tuple(dict.fromkeys(ids))[: limits.ANSWER_ROWS_MAX]
        for ids in (
            carried["answer"],
            [each for kind in TAKEN[FEEDBACK] for each in carried[kind]],
            carried["example"],
        )
    )
    return Loop(
        id=str(event),
        epoch=store.epoch,
        says=UNSET if generations or answers or feedback or examples else _NOWHERE,
        made_of_it=dict(sorted(made.items())),
        answers=answers,
        feedback=feedback,
        examples=examples,
        refused=Bounded.of(refused),
        generations=generations,
    )


def _of_refused(store: Store, event: EventId) -> Loop:
    """Answer about an event that is not stored because it was refused; InputError if it was not either."""
    rejections = rejections_of(store, event)
    if not rejections:
        raise unknown(store, event)
    return Loop(
        id=str(event),
        epoch=store.epoch,
        says=refused_because(rejections[0]),
        made_of_it={},
        answers=(),
        feedback=(),
        examples=(),
        refused=Bounded.of(rejections),
        generations=Bounded(()),
    )


def _generations(store: Store, learned: Set[Version]) -> Bounded[LaterGeneration]:
    """Model versions of each stream, from the first one in `learned` on."""
    first = {stream: min(number for owner, number in learned if owner == stream) for stream, _ in learned}
    given = answers_given(store, first)
    later = [
        (stream, version)
        for stream, since in first.items()
        for version in store.models[stream]
        if version >= since
    ]
    rows, reasons = Bounded.of(rows_of(store, later)), declined(store)
    told = told_versions(
        LaterGeneration,
        store,
        rows,
        lambda of: {
            "answers": given[of],
            "learned_from_it": of in learned,
            "declined": reasons.get(of[1], ""),
        },
    )
    return Bounded(told, rows.more)
