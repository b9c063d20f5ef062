"""An erasure leaves the store as it were if the wearer had never been there, and leaves nothing of her."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import duckdb
import pytest

from streams import limits
from streams.snapshots.erasing import eraser, rewriting
from streams.snapshots.writer import STEPS, Writer
from tests.patience import PATIENCE_S
from tests.snapshots.build import T0_NS
from tests.snapshots.contents import ask, content, hits, indexed
from tests.snapshots.homes import of_home
from tests.snapshots.worlds import HER, HERS, World, erasure, filled, mark, take_in

Contents = dict[str, Counter[str]]
_LATER_NS = T0_NS + 500_000_000_000
_ERASED = "SELECT number, rows > 0, files > 0, rewritten_ns > 0, absent_ns > 0 FROM erasures ORDER BY number"


def _apply(path: Path, at_ns: int, *, number: int = 1, fold: bool = True, since_ns: int = 0) -> None:
    writer = Writer.open(path, fold="inline")
    writer.erase([erasure(at_ns, number, since_ns=since_ns)], mark, _LATER_NS)
    if fold:
        writer.settle(_LATER_NS)
    writer.close()


def _is_as(path: Path, expected: Contents) -> None:
    stored = content(path)
    for table in expected:
        assert stored[table] == expected[table], table
    sides = ", ".join(
        f"{side}_{name}" for side in ("child", "parent") for name in ("source", "stream", "number")
    )
    pairs = ask(path, f"SELECT {sides} FROM edge_records")
    assert indexed(path) == Counter(map(str, pairs))


def without(path: Path, world: World) -> Contents:
    """Content of a store of the world without her, in one epoch: how it is cut does not matter for it."""
    writer = Writer.open(path)
    for partition, each in world.lineage(with_her=False):
        writer.ingest({partition: [each]}, {}, 0)
    writer.publish(T0_NS)
    writer.close()
    return content(path)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("seed", range(4))
def test_the_store_is_as_if_she_had_never_been_there(tmp_path: Path, seed: int) -> None:
    world = World(seed, until=(18, 11)[seed % 2])
    path = filled(tmp_path / "store", world.lineage(with_her=True), every=2 + seed % 3)
    before = content(path)
    assert str(before).count(HER) > 10, f"seed {seed} has too little of her"
    _apply(path, world.at_ns)
    _is_as(path, without(tmp_path / "reference", world))
    assert ask(path, _ERASED) == [(1, True, True, True, True)]
    if seed % 2 == 0:
        assert hits(path, [HER, HERS]) == []


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("seed", [2, 3])
def test_what_she_captured_before_the_scope_stays_and_nothing_else_of_hers(tmp_path: Path, seed: int) -> None:
    world = World(seed, fetches=12, until=9, since=4)
    whole, without = (world.lineage(with_her=with_her) for with_her in (True, False))
    path = filled(tmp_path / "store", whole, every=3)
    expected = content(filled(tmp_path / "reference", without, every=3))
    before = Counter(content(path)["events"])
    assert before != expected["events"], f"seed {seed} has nothing of hers in that time"
    assert HER in str(expected), f"seed {seed} has nothing of hers before"
    _apply(path, world.at_ns, since_ns=world.since_ns)
    _is_as(path, expected)
    # What arrives after the statement is left out as it was taken out.
    writer = Writer.open(tmp_path / "new", fold="inline")
    writer.erase([erasure(world.at_ns, since_ns=world.since_ns)], mark, _LATER_NS)
    take_in(writer, whole, every=3)
    writer.settle(_LATER_NS)
    writer.close()
    stored = content(tmp_path / "new")
    for table in expected:
        assert stored[table] == expected[table], table


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("known", ["all", "some", "none"])
@pytest.mark.parametrize("seed", [2, 5])
def test_what_she_captured_elsewhere_stays_and_nothing_of_a_place(
    tmp_path: Path, seed: int, known: str
) -> None:
    """Also of stays that nobody knew of when it was stated: their rows were on their way to the store."""
    world = World(seed, fetches=16, until=13, home=(*range(3, 9), 14, 15))
    whole, without = (world.lineage(with_her=with_her) for with_her in (True, False))
    path = filled(tmp_path / "store", whole, every=3)
    expected = content(filled(tmp_path / "reference", without, every=3))
    gone = Counter(content(path)["events"]) - expected["events"]
    assert HER in str(gone), f"seed {seed} has nothing of hers at home"
    assert HER in str(expected["events"]), f"seed {seed} has nothing of hers elsewhere"
    spans = {"all": world.stays, "some": world.stays[:3], "none": []}[known]
    if known != "all":
        # A check of a training run names no place, so it only goes by the time of a stay that is known.
        del expected["training_checks"]
    stated = of_home(world.at_ns, spans)
    writer = Writer.open(path, fold="inline")
    writer.erase([stated], mark, _LATER_NS)
    writer.settle(_LATER_NS)
    writer.close()
    _is_as(path, expected)
    assert ask(path, _ERASED) == [(1, True, True, True, True)]
    # Into a new store, with the statement first: each row is left out as it was taken out.
    writer = Writer.open(tmp_path / "new", fold="inline")
    writer.erase([stated], mark, _LATER_NS)
    take_in(writer, whole, every=3)
    writer.settle(_LATER_NS)
    writer.close()
    stored = content(tmp_path / "new")
    for table in expected:
        assert stored[table] == expected[table], table


@pytest.mark.usefixtures("small")
def test_two_times_of_one_wearer_leave_what_is_between(tmp_path: Path) -> None:
    world = World(6)
    records = world.lineage(with_her=True)
    second_ns = 1_000_000_000
    both = [
        erasure(T0_NS + 4 * second_ns, 1, since_ns=T0_NS + second_ns),
        erasure(T0_NS + 16 * second_ns, 2, since_ns=T0_NS + 10 * second_ns),
    ]
    rewritten = filled(tmp_path / "store", records, every=3)
    times = f"SELECT DISTINCT (t_first_ns - {T0_NS}) // {second_ns} FROM events WHERE wearer = '{HER}'"
    assert {at for (at,) in ask(rewritten, times)} == {0, 2, 6, 12, 15}
    stores = []
    for path, arriving in ((rewritten, []), (tmp_path / "new", records)):
        writer = Writer.open(path, fold="inline")
        writer.erase(both, mark, _LATER_NS)
        take_in(writer, arriving, every=3)
        writer.settle(_LATER_NS)
        writer.close()
        stores.append(content(path))
        assert {at for (at,) in ask(path, times)} == {0, 6}
    assert stores[0]["events"] == stores[1]["events"]
    assert stores[0]["pairs"] == stores[1]["pairs"]


class SmallStore:
    """A store of a small world with her, and what one without her holds."""

    def __init__(self, directory: Path) -> None:
        self.world = World(2, fetches=9, until=9)
        self._path = filled(directory / "store", self.world.lineage(with_her=True), every=4)
        self.without = without(directory / "without", self.world)

    def copied(self, directory: Path) -> Path:
        shutil.copytree(self._path, directory / "store", symlinks=True)
        return directory / "store"


@pytest.fixture(scope="module")
def small_store(tmp_path_factory: pytest.TempPathFactory) -> SmallStore:
    return SmallStore(tmp_path_factory.mktemp("small"))


class KilledError(BaseException):
    """Stands for the death of the process."""


_EVERY = [*STEPS, *rewriting.STEPS, *eraser.STEPS]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("step", [step for step in _EVERY if step != 1])
def test_an_erasure_is_finished_after_a_crash_between_any_two_steps(
    tmp_path: Path, small_store: SmallStore, step: int
) -> None:
    world, path = small_store.world, small_store.copied(tmp_path)
    left = 1

    def die(done: int) -> None:
        nonlocal left
        left -= done == step
        if done == step and left == 0:
            raise KilledError

    writer = Writer.open(path, fold="inline")
    # Rows that wait, and what a writer that was closed put by, are hers too.
    writer._after_step = writer._eraser._after_step = die
    with pytest.raises(KilledError):
        writer.erase([erasure(world.at_ns)], mark, _LATER_NS)
    # As the death of a process leaves it: nothing is cleaned up.
    writer._hot.close()
    writer._lock.close()
    _apply(path, world.at_ns)
    _is_as(path, small_store.without)
    assert ask(path, _ERASED) == [(1, True, True, True, True)]
    assert hits(path, [HER, HERS]) == []


_CHILD = """
import os, sys
from pathlib import Path
from streams import limits
from streams.snapshots.writer import Writer
from tests.snapshots.worlds import erasure, mark
limits.SUPERSEDED_GRACE_S = 0.0
step = int(sys.argv[2])
writer = Writer.open(Path(sys.argv[1]), after_step=lambda done: os._exit(9) if done == step else None)
writer.erase([erasure(int(sys.argv[3]))], mark, int(sys.argv[3]))
"""


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("step", [13, 3, 15])
def test_an_erasure_is_finished_after_the_process_was_killed(
    tmp_path: Path, small_store: SmallStore, step: int
) -> None:
    world, path = small_store.world, small_store.copied(tmp_path)
    words = [sys.executable, "-c", _CHILD, str(path), str(step), str(world.at_ns)]
    assert subprocess.run(words, check=False, timeout=PATIENCE_S).returncode == 9
    _apply(path, world.at_ns)
    _is_as(path, small_store.without)
    assert hits(path, [HER, HERS]) == []


@pytest.mark.usefixtures("small")
def test_nothing_comes_back_from_the_topic_into_a_new_store_or_a_backup(tmp_path: Path) -> None:
    world = World(3)
    records = world.lineage(with_her=True)
    half = len(records) // 2
    backup = filled(tmp_path / "backup", records[:half], every=3)
    reference = without(tmp_path / "reference", world)
    # Beside the backup the log no longer begins where it did.
    for path, rest in ((tmp_path / "new", records), (backup, records[half:])):
        writer = Writer.open(path, fold="inline")
        writer.erase([erasure(world.at_ns)], mark, _LATER_NS)
        offsets = writer.offsets()
        fresh = [(partition, each) for partition, each in rest if each.offset >= offsets.get(partition, 0)]
        # What arrives is looked at before it is in any file.
        for partition, each in fresh:
            writer.ingest({partition: [each]}, {}, 0)
            assert not {HER} & {
                name
                for table in writer._hot.rows_of(1).values()
                if "wearer" in table.column_names
                for name in table.column("wearer").to_pylist()
            }
            writer.publish(_LATER_NS)
        writer.settle(_LATER_NS)
        writer.close()
        stored = content(path)
        for table in reference:
            assert stored[table] == reference[table], table
        assert hits(path, [HER, HERS]) == []


@pytest.mark.usefixtures("small")
def test_rows_that_wait_or_were_put_by_go_too(tmp_path: Path, small_store: SmallStore) -> None:
    world = small_store.world
    path, records = tmp_path / "store", world.lineage(with_her=True)
    writer = Writer.open(path, fold="inline")
    take_in(writer, records[:4])
    for partition, each in records[4:]:
        writer.ingest({partition: [each]}, {}, 0)
    writer.close()
    assert any(HER in place for place in hits(path, [HER]))
    _apply(path, world.at_ns)
    _is_as(path, small_store.without)
    assert hits(path, [HER, HERS]) == []


@pytest.mark.usefixtures("small")
def test_twice_the_same_and_an_unknown_wearer_change_nothing_and_are_recorded(
    tmp_path: Path, small_store: SmallStore
) -> None:
    world, path = small_store.world, small_store.copied(tmp_path)
    _apply(path, world.at_ns)
    once, files = content(path), sorted((path / "segments").iterdir())
    epoch = ask(path, "SELECT max(epoch) FROM epochs")
    _apply(path, world.at_ns)
    assert ask(path, "SELECT max(epoch) FROM epochs") == epoch, "the same number is the same erasure"
    writer = Writer.open(path, fold="inline")
    writer.erase(
        [erasure(world.at_ns), erasure(world.at_ns, 2), erasure(world.at_ns, 3, "nobody")], mark, _LATER_NS
    )
    writer.close()
    assert content(path) == once
    assert set(files) <= set((path / "segments").iterdir())
    assert ask(path, "SELECT number, rows, files, absent_ns > 0 FROM erasures ORDER BY number")[1:] == [
        (2, 0, 0, True),
        (3, 0, 0, True),
    ]


def test_a_reader_of_an_older_epoch_keeps_reading_until_the_grace_is_over(
    tmp_path: Path, small_store: SmallStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, path = small_store.world, small_store.copied(tmp_path)
    with duckdb.connect() as reader:
        reader.execute(f"ATTACH '{path / 'catalog.duckdb'}' AS store (READ_ONLY)")
        reader.execute("USE store")
        reader.execute(f"SET file_search_path = '{path}'")
        before = reader.execute("SELECT count(*) FROM events").fetchall()
        writer = Writer.open(path, fold="inline")
        writer.erase([erasure(world.at_ns)], mark, _LATER_NS)
        assert reader.execute("SELECT count(*) FROM events").fetchall() == before
        assert ask(path, "SELECT rewritten_ns > 0, absent_ns FROM erasures") == [(True, 0)]
        assert hits(path / "segments", [HER]) != []
        monkeypatch.setattr(limits, "SUPERSEDED_GRACE_S", 0.0)
        assert writer.publish_due(0) is None
        assert writer.publish_due(limits.PUBLISH_INTERVAL_MS * 1_000_000) is not None
        writer.close()
    assert ask(path, "SELECT absent_ns > 0 FROM erasures") == [(True,)]
    assert hits(path, [HER, HERS]) == []


def test_the_time_of_an_erasure_is_that_of_its_epoch_and_not_of_its_begin(
    tmp_path: Path, small_store: SmallStore
) -> None:
    world, path = small_store.world, small_store.copied(tmp_path)

    def slow(done: int) -> None:
        if done == 12:
            time.sleep(0.5)

    writer = Writer.open(path, fold="inline", after_step=slow)
    writer.erase([erasure(world.at_ns)], mark, _LATER_NS)
    writer.close()
    [(rewritten_ns,)] = ask(path, "SELECT rewritten_ns FROM erasures")
    assert rewritten_ns >= _LATER_NS + 500_000_000


@pytest.mark.usefixtures("small")
def test_a_full_disk_leaves_the_store_as_it_was_and_the_next_attempt_applies_it(
    tmp_path: Path, small_store: SmallStore
) -> None:
    world, path = small_store.world, small_store.copied(tmp_path)
    before = content(path)
    writer = Writer.open(path, fold="inline")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limit[1]))
    try:
        with pytest.raises((OSError, duckdb.Error)):
            writer.erase([erasure(world.at_ns)], mark, _LATER_NS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert content(path) == before
    writer.reopen()
    writer.erase([erasure(world.at_ns)], mark, _LATER_NS)
    writer.settle(_LATER_NS)
    writer.close()
    _is_as(path, small_store.without)
    assert hits(path, [HER, HERS]) == []


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("waiting", [0, 1])
def test_a_fold_that_was_under_way_brings_nothing_back(
    tmp_path: Path, small_store: SmallStore, waiting: int
) -> None:
    """Its files have her rows, and no epoch has recorded them yet; the next one would, of rows that wait."""
    world, path = small_store.world, tmp_path / "store"
    writer, lineage = Writer.open(path), world.lineage(with_her=True)
    for partition, each in lineage[: len(lineage) - waiting]:
        writer.ingest({partition: [each]}, {}, 0)
        writer.publish(_LATER_NS)
    if writer._folder.result(None) is not None:
        writer.publish(_LATER_NS)
    writer._fold(all_fresh=True)
    thread = writer._folder._thread
    assert thread is not None
    thread.join()
    for partition, each in lineage[len(lineage) - waiting :]:
        writer.ingest({partition: [each]}, {}, 0)
    writer.erase([erasure(world.at_ns)], mark, _LATER_NS)
    writer.settle(_LATER_NS)
    writer.close()
    _is_as(path, small_store.without)
    assert hits(path, [HER, HERS]) == []
