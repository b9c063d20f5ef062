"""The same rows in one store and in two, each of which holds the devices of some partitions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from streams.snapshots.writer import Writer
from tests.snapshots.build import POLICY, T0_NS, Row, store, tables

PARTITIONS = 4
#: Where the devices of these tests are; training is in partition 0.
SHARES: tuple[tuple[tuple[int, ...], frozenset[str]], ...] = (
    ((0, 1), frozenset({"training", "g1"})),
    ((2, 3), frozenset({"g2"})),
)
_SOURCE = {"edges": "child_source"}


def part(path: Path, partitions: Sequence[int] | None, *epochs: Mapping[str, Sequence[Row]]) -> Path:
    """A store that holds some partitions, with these epochs."""
    writer = Writer.open(path)
    try:
        writer.hold(partitions, PARTITIONS)
        for rows in epochs:
            writer.ingest_tables(tables(rows), T0_NS)
            writer.publish(T0_NS)
    finally:
        writer.close()
    return path


def of_sources(rows: Mapping[str, Sequence[Row]], sources: frozenset[str]) -> dict[str, list[Row]]:
    """The rows that the partitions of some devices carry; each partition tells the policy."""
    return {
        **{
            table: [one for one in some if one.get(_SOURCE.get(table, "source"), "training") in sources]
            for table, some in rows.items()
        },
        "policies": [POLICY],
    }


def written(home: Path, epochs: Sequence[Mapping[str, Sequence[Row]]]) -> tuple[Path, list[Path]]:
    """One store of all rows, and two stores of some each."""
    whole = store(home / "whole", *({**rows, "policies": [POLICY]} for rows in epochs))
    parts = [
        part(home / f"part-{place}", partitions, *(of_sources(rows, sources) for rows in epochs))
        for place, (partitions, sources) in enumerate(SHARES)
    ]
    return whole, parts
