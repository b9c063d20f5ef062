"""Each record is stored exactly once, whatever happens to the writer, and readers see only whole epochs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest

from streams import clock, limits
from streams.events.record import StoredRecord
from streams.queries.store import Store
from streams.snapshots.folds import fold
from streams.snapshots.writer import STEPS, Writer
from tests.patience import PATIENCE_S
from tests.snapshots import build
from tests.snapshots.build import POLICY, T0_NS, event, record, store, stream

SECOND_NS = 1_000_000_000


class KilledError(BaseException):
    """The process died here."""


def ask(path: Path, statement: str) -> list[tuple[Any, ...]]:
    with Store.open(path) as opened:
        return opened.sql(statement).rows


def batch(offset: int) -> StoredRecord:
    return record(
        offset,
        {
            "events": [build.batch("g1", "imu-right", offset * 20, 20, offset=offset, session="left-behind")],
            "streams": [stream("g1", "imu-right")],
            "policies": [POLICY] * (offset == 0),
        },
    )


def drive(writer: Writer, records: int, now_ns: int = T0_NS) -> None:
    """Read on from the stored offset to `records`, two records a poll, publishing after each."""
    position = writer.offsets().get(0, 0)
    while position < records:
        some = [batch(offset) for offset in range(position, min(position + 2, records))]
        position += len(some)
        writer.ingest({0: some}, {0: position}, now_ns)
        now_ns += SECOND_NS
        writer.publish(now_ns)
    writer.publish(now_ns)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folds and deletion after a few epochs, so that a crash meets every step."""
    monkeypatch.setattr(limits, "FOLD_EPOCHS_MIN", 2)
    monkeypatch.setattr(limits, "SUPERSEDED_GRACE_S", 0.0)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("step", [*STEPS, *fold.STEPS])
def test_a_crash_after_any_step_loses_and_repeats_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    left = 2
    if step in (8, 9):
        monkeypatch.setattr(limits, "HOT_BYTES_MAX", 1)
        monkeypatch.setattr(limits, "HOT_GROWTH_MAX", 1)

    def die(done: int) -> None:
        nonlocal left
        left -= done == step
        if done == step and left == 0:
            raise KilledError

    writer = Writer.open(tmp_path / "store", after_step=die, fold="inline")
    with pytest.raises(KilledError):
        drive(writer, 10)
    # As the death of a process leaves it: nothing is cleaned up.
    writer._hot.close()
    writer._lock.close()
    writer = Writer.open(tmp_path / "store", fold="inline")
    known = {f"segments/{path.name}" for path in (tmp_path / "store" / "segments").iterdir()}
    assert known == writer._hot.known_files()
    drive(writer, 10, T0_NS + 100 * SECOND_NS)
    writer.close()
    with Store.open(tmp_path / "store") as opened:
        numbers = opened.sql("SELECT number FROM event_records ORDER BY number").rows
        assert numbers == [(n,) for n in range(200)]
        epochs = opened.sql("SELECT epoch, rows FROM epochs ORDER BY epoch").rows
        assert [epoch for epoch, _ in epochs] == list(range(1, len(epochs) + 1))
        assert sum(rows for _, rows in epochs) == 21
        assert opened.sql("SELECT offsets[0] FROM epochs ORDER BY epoch DESC LIMIT 1").rows == [(10,)]
        assert opened.sql("SELECT count(*) FROM segments WHERE NOT fresh").rows[0][0] > 0


_CHILD = """
import os, sys
from pathlib import Path
from streams import limits
from tests.snapshots.test_writer import drive
from streams.snapshots.writer import Writer
step = int(sys.argv[2])
writer = Writer.open(Path(sys.argv[1]), after_step=lambda done: os._exit(9) if done == step else None)
drive(writer, 6)
"""


@pytest.mark.parametrize("step", [1, 2, 3, 4, 5])
def test_a_killed_process_loses_and_repeats_nothing(tmp_path: Path, step: int) -> None:
    died = subprocess.run(
        [sys.executable, "-c", _CHILD, str(tmp_path / "store"), str(step)], check=False, timeout=PATIENCE_S
    )
    assert died.returncode == 9
    writer = Writer.open(tmp_path / "store")
    drive(writer, 6)
    writer.close()
    assert ask(tmp_path / "store", "SELECT number FROM event_records ORDER BY number") == [
        (n,) for n in range(120)
    ]


_READER = """
import sys, time
from pathlib import Path
from streams.queries.store import Store
seen = []
end = time.monotonic() + 60
print("ready", flush=True)
while time.monotonic() < end and (len(seen) < 20 or len(set(seen)) < 3):
    with Store.open(Path(sys.argv[1])) as store:
        first = store.sql("SELECT count(*), max(epoch) FROM events").rows[0]
        promised = store.sql("SELECT sum(rows), max(epoch) FROM epochs").rows[0]
        streams = store.sql("SELECT count(*) FROM files.streams").rows[0][0]
        again = store.sql("SELECT count(*), max(epoch) FROM events").rows[0]
    if first != again or first[0] + streams + 1 != promised[0] or first[1] != promised[1]:
        sys.exit(f"epoch in pieces: {first} {streams} {promised} {again}")
    seen.append(first[1])
if seen != sorted(seen) or len(set(seen)) < 3:
    sys.exit(f"epochs seen: {seen}")
"""


def test_another_process_sees_whole_epochs_while_the_writer_writes(tmp_path: Path) -> None:
    path = tmp_path / "store"
    writer = Writer.open(path)
    drive(writer, 2)
    with subprocess.Popen(
        [sys.executable, "-c", _READER, str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as reader:
        assert reader.stdout is not None
        reader.stdout.readline()
        offset = 2
        while reader.poll() is None:
            writer.ingest({0: [batch(offset)]}, {0: offset + 1}, T0_NS)
            writer.ingest({0: [batch(offset + 1)]}, {0: offset + 2}, T0_NS)
            writer.publish(T0_NS + offset)
            offset += 2
        assert reader.returncode == 0, reader.stderr.read() if reader.stderr else ""
    writer.close()


def test_records_below_the_stored_offset_are_skipped_and_markers_are_passed(tmp_path: Path) -> None:
    writer = Writer.open(tmp_path)
    assert writer.ingest({0: [batch(0), batch(1)]}, {0: 3, 1: 0}, T0_NS) == 5
    assert writer.offsets() == {0: 3}
    assert writer.ingest({0: [batch(1), batch(3)]}, {0: 4}, T0_NS) == 2
    assert writer.ingest({0: [batch(3)]}, {0: 4}, T0_NS) == 0
    writer.close()


class Dying:
    """A connection that dies when it is to write an offset, which is after the files."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, statement: str, *parameters: Any) -> Any:
        if statement.startswith("INSERT INTO offsets"):
            raise KilledError
        return self._connection.execute(statement, *parameters)


def test_files_and_offsets_are_one_transaction(tmp_path: Path) -> None:
    writer = Writer.open(tmp_path)
    writer._hot.connection = Dying(writer._hot.connection)  # type: ignore[assignment]
    writer.ingest({0: [batch(0)]}, {0: 1}, T0_NS)
    with pytest.raises(KilledError):
        writer.publish(T0_NS)
    writer._hot.close()
    writer._lock.close()
    writer = Writer.open(tmp_path)
    assert writer.offsets() == {}
    assert list(tmp_path.glob("segments/*")) == []
    drive(writer, 1)
    writer.close()
    assert ask(tmp_path, 'SELECT sum("count") FROM events') == [(20,)]


def test_rows_are_published_at_most_once_an_interval(tmp_path: Path) -> None:
    writer = Writer.open(tmp_path)
    assert writer.publish_due(T0_NS) is None
    writer.ingest({0: [batch(0)]}, {0: 1}, T0_NS)
    assert writer.publish_due(T0_NS + limits.PUBLISH_INTERVAL_MS * 1_000_000 - 1) is None
    assert writer.publish_due(T0_NS + limits.PUBLISH_INTERVAL_MS * 1_000_000) == 1
    assert writer.publish_due(T0_NS + 10 * SECOND_NS) is None
    assert writer.publish(T0_NS) is None
    writer.ingest({}, {0: 2}, T0_NS)  # a transaction marker: readers must see the end reached
    assert writer.publish(T0_NS) == 2
    writer.close()
    assert ask(tmp_path, "SELECT offsets[0], rows FROM epochs ORDER BY epoch") == [(1, 3), (2, 0)]


@pytest.mark.parametrize(
    "value",
    [
        b"\xff",
        None,
        b"[]",
        b'{"v":3,"tables":{}}',
        b'{"v":2,"tables":{},"more":' + b"[" * 100_000,
        b'{"v":2,"tables":{"streams":[]},"more":' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"v":1,"tables":{"nonsense":{}}}',
        b'{"v":1,"tables":{"streams":{"source":["g1"]}}}',
        b'{"v":1,"tables":{"streams":[{"all":{},"each":{"source":["g1"]}}]}}',
        b'{"v":1,"tables":{"streams":[7]}}',
        b'{"v":1,"tables":{"streams":[{"all":{"kind":"imu","captured":true},"each":{"source":["g1"],"stream":["a","b"]}}]}}',
        b'{"v":1,"tables":{"streams":[{"all":{"kind":"imu","captured":true},"each":{"source":["g1"],"stream":[7]}}]}}',
        b'{"v":1,"tables":{"streams":[{"all":{"kind":"imu","captured":true},"each":{"source":["g1"],"stream":[null]}}]}}',
        b'{"v":1,"tables":{"streams":[{"all":{"kind":"imu","captured":true,"source":"g1","stream":"a"},"each":{}}]}}',
        b'{"v":1,"tables":{"streams":[{"all":{"kind":"imu","captured":true,"source":"g1"},"each":{"source":["g1"],"stream":["a"]}}]}}',
        b'{"v":1,"tables":{"streams":[{"all":{"kind":"imu","captured":[true],"source":"g1"},"each":{"stream":["a"]}}]}}',
        record(1, {"events": [event("g1", "imu-right", 5, 0)]}).value,
        record(1, {"events": [event("g1", "imu-right", -5)]}).value,
        record(1, {"events": [event("g1", "imu-right", 0, 2**60)]}).value,
    ],
)
def test_a_bad_record_becomes_a_rejected_row_and_the_rest_goes_on(
    tmp_path: Path, value: bytes | None
) -> None:
    writer = Writer.open(tmp_path)
    writer.ingest({0: [batch(0), StoredRecord(1, 7, b"glasses/0", value), batch(2)]}, {0: 3}, T0_NS)
    writer.publish(T0_NS)
    writer.close()
    [(stage, reason, topic, partition, offset, count)] = ask(
        tmp_path, 'SELECT stage, reason, topic, "partition", "offset", "count" FROM rejected'
    )
    assert (stage, topic, partition, offset, count) == ("snapshots", "glasses.lineage", 0, 1, 0)
    assert len(reason) > 15
    assert "g1" not in reason
    assert ask(tmp_path, 'SELECT sum("count") FROM events') == [(40,)]


def test_the_end_of_a_writer_leaves_few_files_and_every_row(tmp_path: Path, quick: None) -> None:
    writer = Writer.open(tmp_path)
    writer.ingest({0: [batch(0)]}, {0: 1}, T0_NS)
    assert b"left-behind" not in hot_bytes(tmp_path), "rows that wait for an epoch are in memory"
    writer.close()
    assert b"left-behind" in hot_bytes(tmp_path), "of a writer that was closed they are not"
    writer = Writer.open(tmp_path)
    drive(writer, 12)
    writer.settle(T0_NS + 100 * SECOND_NS)
    writer.close()
    assert ask(tmp_path, "SELECT count(*), count(DISTINCT number) FROM event_records") == [(240, 240)]
    assert (
        ask(tmp_path, "SELECT max(n) FROM (SELECT count(*) AS n FROM segments GROUP BY table_name)")[0][0]
        <= 4
    )
    assert ask(tmp_path, "SELECT count(*) FROM segments WHERE fresh") == [(0,)]
    current = {
        file for (file,) in ask(tmp_path, "SELECT file FROM segments UNION ALL SELECT file FROM indexes")
    }
    assert {f"segments/{path.name}" for path in (tmp_path / "segments").iterdir()} == current
    assert len(list(tmp_path.glob("catalog-*.duckdb"))) <= limits.CATALOGS_MAX
    assert b"left-behind" not in hot_bytes(tmp_path)


def hot_bytes(path: Path) -> bytes:
    return b"".join(one.read_bytes() for one in path.glob("hot.duckdb*"))


def test_a_segment_that_is_superseded_stays_for_the_grace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "FOLD_EPOCHS_MIN", 3)
    now_s = 1000.0
    monkeypatch.setattr(clock, "monotonic_s", lambda: now_s)
    writer = Writer.open(tmp_path, fold="inline")
    drive(writer, 6)
    with Store.open(tmp_path) as reader:
        drive(writer, 14)
        now_s += limits.SUPERSEDED_GRACE_S - 1
        drive(writer, 16)
        assert reader.sql("SELECT count(*) FROM event_records").rows[0][0] >= 120
    fresh = len(list(tmp_path.glob("segments/*")))
    now_s += 2
    drive(writer, 18)
    assert len(list(tmp_path.glob("segments/*"))) < fresh
    writer.close()


def test_published_files_cannot_be_written(tmp_path: Path) -> None:
    store(tmp_path, {"events": [event("g1", "imu-right", 0, 20)]})
    for path in (*tmp_path.glob("segments/*"), *tmp_path.glob("catalog-*.duckdb")):
        assert path.stat().st_mode & 0o777 == 0o400


def test_the_log_of_a_catalog_that_a_killed_writer_left_stops_nobody(tmp_path: Path) -> None:
    writer = Writer.open(tmp_path / "store")
    writer.ingest({0: [batch(0)]}, {0: 1}, T0_NS)
    with duckdb.connect(str(tmp_path / "other.duckdb")) as other:
        other.execute("PRAGMA disable_checkpoint_on_shutdown")
        other.execute("CREATE TABLE left_behind AS SELECT range FROM range(1000)")
        log = (tmp_path / "other.duckdb.wal").read_bytes()
    (tmp_path / "store" / "catalog.duckdb.tmp.wal").write_bytes(log)
    assert writer.publish(T0_NS) == 1
    writer.close()
    assert ask(tmp_path / "store", 'SELECT sum("count") FROM events') == [(20,)]
