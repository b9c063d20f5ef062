"""The question whether lineage is whole: of how many outputs every parent is stored."""

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType

from streams.events.identity import format_id
from streams.queries.answers import Answer, Bounded
from streams.queries.role import band
from streams.queries.store import Store


class CompleteStream(Struct, frozen=True):
    """Of a derived stream how many events there are, and of how many all parents are stored.

    `first_unresolved` is the id of the first with a parent that is not stored; UNSET where there is none.
    """

    source: str
    stream: str
    kind: str
    outputs: int
    resolved: int
    first_unresolved: str | UnsetType = UNSET


class Completeness(Answer, frozen=True, kw_only=True):
    """Which share of outputs (`percent`) has every parent in the store, below the offsets of the epoch.

    `without_parents` are outputs of which the role is shown no parent; a role from which anything is hidden
    is told them in bands, and they are not among `outputs`: parents that are hidden are not missing.
    """

    epoch: int
    percent: float
    outputs: int
    resolved: int
    without_parents: int | str
    streams: Bounded[CompleteStream]


def completeness(store: Store) -> Completeness:
    """Return of how many derived events every parent is stored, by stream."""
    rows = store.shown("completeness").dicts()
    whole = not store.hidden
    streams = []
    bare = 0
    for row in rows:
        # What training begins with is not made of anything.
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
