"""What a writer counts is what its store has, also when the disk fails and after a restart."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams import clock, metrics
from streams.queries.store import Store
from streams.recorder import OPERATIONS
from streams.snapshots import measuring
from streams.snapshots.retrying import RetryingWriter
from streams.snapshots.writer import Writer
from tests.snapshots.build import POLICY, T0_NS, batch, derived, edge, record

S_NS = 10**9


@pytest.fixture(autouse=True)
def empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics.PROCESS, "_values", {})


def rows(offset: int, appended_ns: int = T0_NS) -> dict[int, list[object]]:
    first = offset * 20
    told = {
        "policies": [POLICY],
        "events": [
            batch("g0", "imu-right", first, 20, appended_ns=appended_ns),
            derived("g0", "activity", offset, appended_ns=appended_ns - S_NS),
        ],
        "edges": [edge(("g0", "activity", offset), ("g0", "imu-right", first), operator="activity")],
    }
    return {0: [record(offset, told, b"glasses/0")]}


def ingest(writer: Writer | RetryingWriter, offset: int, appended_ns: int = T0_NS) -> None:
    writer.ingest(rows(offset, appended_ns), {}, 0)  # type: ignore[arg-type]


def test_rows_wait_and_are_published(tmp_path: Path) -> None:
    writer = Writer.open(tmp_path / "s")
    ingest(writer, 0, T0_NS + 5 * S_NS)
    ingest(writer, 1, T0_NS)
    assert metrics.read("store_waiting_rows") == 8
    assert metrics.read("store_watermark_timestamp_seconds") == 0, "no epoch tells of it"
    began_ns = clock.now_ns()
    assert writer.publish(clock.now_ns()) == 1
    assert metrics.read("store_waiting_rows") == 0
    assert metrics.read("store_epoch") == 1
    assert metrics.read("store_watermark_timestamp_seconds") == pytest.approx(T0_NS / 1e9 + 5)
    assert began_ns / 1e9 <= metrics.read("store_published_timestamp_seconds") <= clock.now_ns() / 1e9
    assert metrics.read("store_publish_seconds") > 0
    with Store.open(tmp_path / "s") as opened:
        for table in ("events", "edges"):
            ((stored,),) = opened.sql(f"SELECT count(*) FROM {table}").rows
            assert metrics.read("store_rows_total", table=table) == stored
    assert metrics.read("store_files") == len(list((tmp_path / "s" / "segments").glob("*.parquet")))
    writer.close()


def test_a_writer_that_starts_again_shows_where_its_store_is(tmp_path: Path) -> None:
    writer = Writer.open(tmp_path / "s")
    ingest(writer, 0)
    writer.publish(clock.now_ns())
    published_s = metrics.read("store_published_timestamp_seconds")
    ingest(writer, 1)
    writer.close()
    metrics.PROCESS._values.clear()
    writer = Writer.open(tmp_path / "s")
    assert metrics.read("store_epoch") == 1
    assert metrics.read("store_published_timestamp_seconds") == published_s
    assert metrics.read("store_waiting_rows") == 4, "they were put by"
    assert metrics.read("store_rows_total", table="events") == 0, "a counter is of this process"
    writer.close()


def test_a_disk_that_fails_is_counted_and_no_row_twice(tmp_path: Path) -> None:
    failures = iter([1, 3])
    failing = next(failures)

    def after_step(step: int) -> None:
        nonlocal failing
        if step == failing:
            failing = next(failures, 0)
            raise OSError(28, "No space left on device")

    writer = Writer.open(tmp_path / "s", after_step=after_step)
    retrying = RetryingWriter(writer, lambda _: None, lambda _: False)
    ingest(retrying, 0)
    retrying.publish(clock.now_ns())
    assert metrics.read("store_epoch") == 1, "the epoch was finished when the store was opened again"
    assert metrics.read("store_write_failed_total") == 2
    assert metrics.read("store_rows_total", table="events") == 2
    writer.close()


def test_the_store_and_its_disk_are_measured(tmp_path: Path) -> None:
    writer = Writer.open(tmp_path / "s")
    ingest(writer, 0)
    writer.publish(clock.now_ns())
    measuring.show(tmp_path / "s", None, 5 * S_NS)
    assert metrics.read("store_waiting_seconds") == 0
    files = [path for path in (tmp_path / "s").rglob("*") if path.is_file() and not path.is_symlink()]
    assert metrics.read("store_bytes") >= sum(path.stat().st_size for path in files)
    assert 0 < metrics.read("store_disk_free_bytes") < metrics.read("store_disk_size_bytes")
    measuring.show(tmp_path / "s", 2 * S_NS, 5 * S_NS)
    assert metrics.read("store_waiting_seconds") == 3
    writer.close()


def test_a_directory_that_is_away_leaves_the_rest(tmp_path: Path) -> None:
    measuring.show(tmp_path / "away", 1 * S_NS, 2 * S_NS)
    assert metrics.read("store_waiting_seconds") == 1
    assert metrics.read("store_bytes") == 0


def test_io_coverage_is_that_of_the_view(tmp_path: Path) -> None:
    writer = Writer.open(tmp_path / "s")
    writer.publish(T0_NS)
    with Store.open(tmp_path / "s") as opened:
        ((linked, every),) = opened.sql("SELECT count(*) FILTER (linked), count(*) FROM io_coverage").rows
    assert every == len(OPERATIONS)
    assert metrics.read("io_coverage_ratio") == linked / every
    writer.close()
