"""The question `completeness`: which share of derived events has all its parents in the store."""

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType

from streams.events.identity import format_id
from streams.queries.answers import Answer, Bounded
from streams.queries.role import band
from streams.queries.store import Store


class CompleteStream(Struct, frozen=True):
    """How many events a derived stream has, and how many of them have all parents in the store.

    `first_unresolved` is the id of the first event with a parent that is not stored; UNSET if there is none.
    """

    source: str
    stream: str
    kind: str
    outputs: int
    resolved: int
    first_unresolved: str | UnsetType = UNSET


class Completeness(Answer, frozen=True, kw_only=True):
    """Which share of outputs (`percent`) has every parent in the store, below the offsets of the epoch.

    `without_parents` counts outputs whose parents the role sees none of. If anything is hidden from the role,
    these parents may be hidden and not missing; so the outputs are not among `outputs`, and their number is
    given as a band.
    """

    epoch: int
    percent: float
    outputs: int
    resolved: int
    without_parents: int | str
    streams: Bounded[CompleteStream]


def completeness(store: Store) -> Completeness:
    """Return how many derived events have every parent in the store, by stream."""
    rows = store.shown("completeness").dicts()
    whole = not store.hidden
    streams = []
    bare = 0
    for row in rows:
        # The licensed seed examples have no parents.
        if row["kind"] == "example" and row["without_parents"] == row["outputs"]:
            continue
        bare += row["without_parents"]
        outputs = row["outputs"] if whole else row["outputs"] - row["without_parents"]
        first = row["first_unresolved"]
        streams.append(
            CompleteStream(
                row["source"],
                row["stream"],
                row["kind"],
                outputs,
                row["resolved"],
                UNSET if first < 0 else format_id(row["source"], row["stream"], first),
            )
        )
    outputs, resolved = sum(each.outputs for each in streams), sum(each.resolved for each in streams)
    return Completeness(
        epoch=store.epoch,
        percent=round(100 * resolved / outputs, 4) if outputs else 100.0,
        outputs=outputs,
        resolved=resolved,
        without_parents=bare if whole or not bare else band(bare),
        streams=Bounded.of(streams),
    )
