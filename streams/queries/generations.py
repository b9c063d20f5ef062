"""What an event was made from, summarised by generation of the loop."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from streams.queries.about import asked_about, by_kind, event_row, start_of, unknown
from streams.queries.answers import Bounded, Generation, Generations
from streams.queries.models import Version, rows_of, told_versions
from streams.queries.store import Store
from streams.queries.walk import Reached, holds, include, subtract, union, walk


def generations(store: Store, identity: str) -> Generations:
    """Return the generations of the loop that an event was made from.

    A generation is a model version and those of its answers that the event was made from. `made_of` counts
    all events by kind.

    Raises
    ------
    InputError
        `identity` has another form, or the store does not hold the event.
    """
    event = asked_about(store, identity)
    start, own = start_of(event), [(event.number, event.number)]
    reached: Reached = {}
    hops: dict[Version, int] = {}
    last_hop = 0
    for step in walk(store, "parents", start, event.number, lambda _: False):
        last_hop = step.hop
        fresh = subtract(union(step.numbers), reached.get(step.stream, ()))
        include(reached, step.stream, fresh)
        if step.stream[:2] in store.models:
            for low, high in fresh:
                hops |= dict.fromkeys(((step.stream[:2], n) for n in range(low, high + 1)), step.hop)
    if not reached and event_row(store, event) is None:
        raise unknown(store, event)
    answers = {**reached, start: union([*own, *reached.get(start, ())])}
    return Generations(
        id=str(event),
        epoch=store.epoch,
        hops=last_hop,
        made_of=by_kind(store, reached),
        generations=_rows(store, hops, _given(store, answers)),
    )


def _given(store: Store, reached: Reached) -> Counter[Version]:
    """How many of the answers among `reached` each model version gave."""
    wanted = {stream: numbers for stream, numbers in reached.items() if stream[:2] in store.models}
    given: Counter[Version] = Counter()
    for edge in store.lookup.edges("children", wanted) if wanted else ():
        if store.kinds.get(edge.child[:2]) == "answer":
            carried = reached.get(edge.child, ())
            for number, version in edge.run.pairs():
                given[edge.parent[:2], version] += holds(carried, number)
    return given


def _rows(store: Store, hops: Mapping[Version, int], given: Counter[Version]) -> Bounded[Generation]:
    rows = Bounded.of(rows_of(store, hops))
    told = told_versions(Generation, store, rows, lambda of: {"hop": hops[of], "answers": given[of]})
    return Bounded(told, rows.more)
