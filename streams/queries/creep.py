"""The question `creep`: whether labels become stricter with each turn of the loop."""

from __future__ import annotations

from collections import Counter

from msgspec import Struct

from streams.policy.label import unpack
from streams.queries.answers import Answer, Bounded
from streams.queries.rows import CreepCell
from streams.queries.store import Store

#: Kinds of event round the loop, in its order.
HOPS = ("model", "voice_query", "situation", "answer", "example")


class CreepRow(Struct, frozen=True):
    """The labels of one kind of event in one generation, and how many purposes they permit."""

    generation: int
    hop: str
    events: int
    distinct_labels: int
    mean_purposes: float
    fewest_purposes: int


class Creep(Answer, frozen=True, kw_only=True):
    """How labels change round the loop, by generation and hop."""

    epoch: int
    generations: int
    creep: Bounded[CreepRow]


def creep(store: Store) -> Creep:
    """Return how labels change round the loop: by generation and hop, the distinct labels and their purposes.

    Label creep arises because a join can only make labels stricter: without a declassifier every generation
    permits less than the one before, until nothing is permitted.
    """
    events_by: dict[tuple[int, str], Counter[str]] = {}
    for cell in store.shown("creep").of(CreepCell):
        if cell.kind in HOPS:
            if store.role_filter is not None:
                store.role_filter.note(cell.policy_version, cell.zone)
            events_by.setdefault((cell.generation, cell.kind), Counter())[cell.label] += cell.events
    in_order = sorted(events_by, key=lambda place: (place[0], HOPS.index(place[1])))
    return Creep(
        epoch=store.epoch,
        generations=len({generation for generation, _ in events_by}),
        creep=Bounded.of([_row(*place, events_by[place]) for place in in_order]),
    )


def _row(generation: int, hop: str, events_by: Counter[str]) -> CreepRow:
    """Row of one kind of event in a generation; `events_by` has the number of events by label."""
    # An empty label passes no check, so it permits no purpose.
    permitted = {
        label: unpack(bytes.fromhex(label))["purposes"].bit_count() if label else 0 for label in events_by
    }
    purposes = sum(permitted[label] * events for label, events in events_by.items())
    return CreepRow(
        generation=generation,
        hop=hop,
        events=events_by.total(),
        distinct_labels=len(events_by),
        mean_purposes=round(purposes / events_by.total(), 2),
        fewest_purposes=min(permitted.values()),
    )
