"""An erasure that comes while what is over is taken out of the store."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams import limits
from streams.snapshots.writer import Writer
from tests.snapshots.build import T0_NS
from tests.snapshots.contents import ask, content, hits
from tests.snapshots.days import DAY_NS, ON, World, filled, gone, take_in
from tests.snapshots.worlds import erasure, mark

_LATER_NS = T0_NS + (ON[-1] + 1) * DAY_NS


@pytest.mark.usefixtures("small")
def test_both_are_gone_and_all_else_is_there_as_if_one_had_come_after_the_other(tmp_path: Path) -> None:
    """The files that retention made have the erased rows, and no epoch has recorded them yet."""
    world = World(2)
    records = world.lineage()
    over, left = gone(world, ON[-1])
    erased = min(left)
    stated = erasure(_LATER_NS, wearer=erased)
    after = filled(tmp_path / "after", records)
    assert hits(after, [erased])
    writer = Writer.open(after, fold="inline")
    writer.erase([stated], mark, _LATER_NS)
    writer.settle(_LATER_NS)
    writer.close()
    meanwhile = tmp_path / "meanwhile"
    writer = Writer.open(meanwhile, fold="inline")
    # Three records are of the last day.
    take_in(writer, records[:-3])
    for one in records[-3:]:
        writer.ingest({0: [one]}, {}, 0)
    writer.publish(T0_NS)
    made = writer._folder.result()
    assert made is not None
    assert made.passed_ns, "it is that of retention"
    assert made.replaced
    writer.erase([stated], mark, _LATER_NS)
    writer.settle(_LATER_NS)
    writer.close()
    stored, expected = content(meanwhile), content(after)
    for table in expected:
        assert stored[table] == expected[table], table
    assert hits(meanwhile, [*sorted(over), erased]) == []


@pytest.mark.usefixtures("small")
def test_what_is_over_waits_for_the_files_of_an_erasure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(2)
    path = filled(tmp_path / "store", world.lineage()[:12])
    for grace in ("SUPERSEDED_GRACE_S", "ERASED_GRACE_S"):
        monkeypatch.setattr(limits, grace, 60.0)
    [(wearer,)] = ask(path, "SELECT max(wearer) FROM files.events")
    over = gone(world, ON[-1])[0] - {wearer}
    told = "SELECT count(*) FROM files.expired"
    before = ask(path, told)
    writer = Writer.open(path, fold="inline")
    writer.erase([erasure(_LATER_NS, wearer=wearer)], mark, T0_NS)
    take_in(writer, world.lineage()[12:])
    for _ in range(3):
        writer.publish(T0_NS)
    assert (ask(path, told), ask(path, "SELECT absent_ns FROM erasures")) == (before, [(0,)])
    assert len(hits(path / "segments", sorted(over))) > 0
    for grace in ("SUPERSEDED_GRACE_S", "ERASED_GRACE_S"):
        monkeypatch.setattr(limits, grace, 0.0)
    writer.publish_due(0)
    writer.settle(T0_NS)
    writer.close()
    assert hits(path, [*sorted(over), wearer]) == []
