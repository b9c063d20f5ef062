"""A fold without room, memory or an end, and a clock that is set back: epochs go on, and nothing is lost."""

from __future__ import annotations

import resource
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from streams import clock, limits, metrics
from streams.snapshots.folds.fold import Fold, Folded
from streams.snapshots.writer import Writer
from tests.snapshots.build import POLICY, T0_NS, tables
from tests.snapshots.contents import ask
from tests.snapshots.test_folds import HOUR_NS, ZONES, Day


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that is large happens to a few rows, and a fold that failed is tried again at once."""
    for name, value in {"FOLD_EPOCHS_MIN": 2, "RESIDUE_ROWS": 3, "FOLD_PAUSE_MAX_S": 0.0}.items():
        monkeypatch.setattr(limits, name, value)


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """No file of this process may grow beyond so many bytes: the system refuses as a full disk does."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limit[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)


def scarce_disk(size: int) -> Callable[[pytest.MonkeyPatch], None]:
    def scarce(patch: pytest.MonkeyPatch) -> None:
        run = Fold.run

        def cramped(fold: Fold) -> Folded:
            with files_up_to(size):
                return run(fold)

        patch.setattr(Fold, "run", cramped)

    return scarce


def scarce_memory(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(limits, "FOLD_MEMORY_MB", 1)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    "scarce",
    [
        pytest.param(scarce_disk(64), id="no room for a segment"),
        pytest.param(scarce_disk(8192), id="no room for an index"),
        pytest.param(scarce_memory, id="too little memory"),
    ],
)
def test_a_fold_that_lacks_something_is_put_off_until_it_is_there(
    tmp_path: Path, scarce: Callable[[pytest.MonkeyPatch], None]
) -> None:
    said, failed = list[str](), metrics.read("fold_failed_total")
    day, writer = Day(), Writer.open(tmp_path, fold="inline", say=said.append)
    with pytest.MonkeyPatch.context() as patch:
        scarce(patch)
        for number in range(6):
            rows = day.portion([(3, ZONES[number % 3], 1)] * 20)
            writer.ingest_tables(tables({**rows, "policies": [POLICY] * (number == 0)}), 0)
            assert writer.publish(T0_NS + number) == number + 1
            assert len(ask(tmp_path, "FROM edge_records")) == len(day.pairs)
    assert metrics.read("fold_failed_total") - failed >= 2
    assert len(said) == 1
    assert ask(tmp_path, "SELECT bool_and(fresh) FROM segments") == [(True,)]
    known = writer._hot.known_files()
    assert {f"segments/{path.name}" for path in (tmp_path / "segments").iterdir()} == known
    writer.settle(T0_NS + 8)
    writer.close()
    assert ask(tmp_path, "SELECT bool_or(fresh) FROM segments") == [(False,)]
    assert len(ask(tmp_path, "FROM edge_records")) == len(day.pairs)
    found = ask(tmp_path, "SELECT stream, number, zone FROM event_records")
    assert sorted(found) == sorted(day.events)


@pytest.mark.usefixtures("small")
def test_an_epoch_waits_for_a_fold_that_hangs_so_long_and_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, join, may_end, waited = Fold.run, threading.Thread.join, threading.Event(), list[float | None]()

    def hanging(fold: Fold) -> Folded:
        may_end.wait(60)
        return run(fold)

    def counted(thread: threading.Thread, timeout: float | None = None) -> None:
        if thread.name == "fold":
            waited.append(timeout)
        join(thread, timeout)

    monkeypatch.setattr(Fold, "run", hanging)
    monkeypatch.setattr(threading.Thread, "join", counted)
    monkeypatch.setattr(limits, "FOLD_WAIT_MAX_S", 0.01)
    monkeypatch.setattr(limits, "CURRENT_FILES_MAX", 40)
    day, writer = Day(), Writer.open(tmp_path)
    for number in range(12):
        writer.ingest_tables(tables(day.portion([(3, "public", 1)])), 0)
        assert writer.publish(T0_NS + number) == number + 1
    assert waited
    assert set(waited) == {0.01}
    assert len(ask(tmp_path, "FROM edge_records")) == len(day.pairs)
    may_end.set()
    writer.settle(T0_NS + 20)
    writer.close()
    assert ask(tmp_path, "SELECT bool_or(fresh) FROM segments") == [(False,)]
    assert len(ask(tmp_path, "FROM edge_records")) == len(day.pairs)


class Clocks:
    """The clock of the wall, which people set, and the one that nobody can."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.wall_ns, self.monotonic_s = clock.now_ns(), 1000.0
        patch.setattr(clock, "now_ns", lambda: self.wall_ns)
        patch.setattr(clock, "monotonic_s", lambda: self.monotonic_s)

    def pass_s(self, seconds: float) -> None:
        self.monotonic_s += seconds
        self.wall_ns += int(seconds * 1e9)


@pytest.mark.usefixtures("small")
def test_a_wall_clock_that_is_set_back_puts_off_no_epoch_and_no_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocks = Clocks(monkeypatch)
    day, writer = Day(), Writer.open(tmp_path, fold="inline")

    def take_in() -> None:
        writer.ingest_tables(tables(day.portion([(2, "public", 0)])), int(clocks.monotonic_s * 1e9))

    def due() -> int | None:
        return writer.publish_due(int(clocks.monotonic_s * 1e9))

    for number in range(4):
        take_in()
        assert due() is None
        if number == 2:
            clocks.wall_ns -= 5 * HOUR_NS
        clocks.pass_s(1)
        assert due() == number + 1
    superseded = writer._hot.files.superseded()
    assert superseded
    clocks.wall_ns -= 5 * HOUR_NS
    clocks.pass_s(limits.SUPERSEDED_GRACE_S + 1)
    take_in()
    clocks.pass_s(1)
    assert due() == 5
    assert not any((tmp_path / file).exists() for file in superseded)
    writer.close()
    # Files that seem to be of the future, to a writer that comes after: they go after the grace as well.
    clocks.wall_ns -= 50 * HOUR_NS
    writer = Writer.open(tmp_path, fold="inline")
    superseded = writer._hot.files.superseded()
    assert superseded
    clocks.pass_s(limits.SUPERSEDED_GRACE_S + 1)
    take_in()
    clocks.pass_s(1)
    assert due() == 6
    writer.close()
    assert not any((tmp_path / file).exists() for file in superseded)
    labels: list[tuple[Any, ...]] = ask(tmp_path, "SELECT published_ns FROM epochs ORDER BY epoch")
    assert labels == sorted(labels)
    assert len(ask(tmp_path, "FROM edge_records")) == len(day.pairs)
