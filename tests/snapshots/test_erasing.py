"""An erasure leaves the store as it were if the wearer had never been there, and leaves nothing of her."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from streams.snapshots.writer import Writer
from tests.snapshots.build import T0_NS
from tests.snapshots.worlds import (
    HER,
    HERS,
    SECOND_NS,
    World,
    ask,
    content,
    erasure,
    filled,
    hits,
    indexed,
    mark,
)

_LATER_NS = T0_NS + 500 * SECOND_NS
_ERASED = "SELECT number, rows > 0, files > 0, rewritten_ns > 0, absent_ns > 0 FROM erasures ORDER BY number"


def _apply(path: Path, at_ns: int, *, number: int = 1, fold: bool = True) -> None:
    writer = Writer.open(path, fold="inline")
    writer.erase([erasure(at_ns, number)], mark, _LATER_NS)
    if fold:
        writer.settle(_LATER_NS)
    writer.close()


def _is_as_without(path: Path, world: World, reference: Path) -> None:
    expected, stored = content(filled(reference, world.lineage(with_her=False))), content(path)
    for table in expected:
        assert stored[table] == expected[table], table
    assert not stored["rejected"] - expected["rejected"]
    sides = ", ".join(
        f"{side}_{name}" for side in ("child", "parent") for name in ("source", "stream", "number")
    )
    pairs = ask(path, f"SELECT {sides} FROM edge_records")
    assert indexed(path) == Counter(map(str, pairs))


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("seed", range(4))
def test_the_store_is_as_if_she_had_never_been_there(tmp_path: Path, seed: int) -> None:
    world = World(seed, until=(18, 11)[seed % 2])
    path = filled(tmp_path / "store", world.lineage(with_her=True), every=2 + seed % 3)
    before = content(path)
    assert str(before).count(HER) > 10, f"seed {seed} has too little of her"
    _apply(path, world.at_ns)
    _is_as_without(path, world, tmp_path / "reference")
    assert ask(path, _ERASED) == [(1, True, True, True, True)]
    if seed % 2 == 0:
        assert hits(path, [HER, HERS]) == []
