"""Rows that wait for an epoch are read again, put by or recorded, and never twice in the store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streams.snapshots.writer import Writer
from tests.snapshots import build
from tests.snapshots.build import POLICY, T0_NS, record
from tests.snapshots.test_writer import ask, batch, drive


def test_what_waits_is_put_by_once_and_published_once(tmp_path: Path) -> None:
    """Writers that come and go before anything is published, one of them by death."""
    for offset in range(3):
        writer = Writer.open(tmp_path)
        assert writer.offsets() == ({0: offset} if offset else {})
        writer.ingest({0: [batch(offset)]}, {0: offset + 1}, T0_NS)
        writer.close()
    writer = Writer.open(tmp_path)
    writer.ingest({0: [batch(3)]}, {0: 4}, T0_NS)
    writer._hot.close()
    writer._lock.close()
    writer = Writer.open(tmp_path)
    assert writer.offsets() == {0: 3}, "nobody has the last one: it is read again"
    drive(writer, 5)
    writer.close()
    Writer.open(tmp_path).close()
    assert ask(tmp_path, "SELECT number FROM event_records ORDER BY number") == [(n,) for n in range(100)]


class Doubtful:
    """A connection that does what it is asked to commit, and says that it failed."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, statement: str, *parameters: Any) -> Any:
        found = self._connection.execute(statement, *parameters)
        if statement == "COMMIT":
            raise duckdb.IOException("No space left on device")
        return found


def test_a_commit_that_nobody_knows_of_is_not_repeated(tmp_path: Path) -> None:
    writer = Writer.open(tmp_path)
    writer.ingest({0: [batch(0)]}, {0: 1}, T0_NS)
    connection = writer._hot.connection
    writer._hot.connection = Doubtful(connection)  # type: ignore[assignment]
    with pytest.raises(duckdb.IOException):
        writer.publish(T0_NS)
    writer.reopen()
    writer.publish(T0_NS)
    drive(writer, 2)
    writer.close()
    assert ask(tmp_path, "SELECT number FROM event_records ORDER BY number") == [(n,) for n in range(40)]
    assert ask(tmp_path, "SELECT epoch, offsets[0] FROM epochs ORDER BY epoch") == [(1, 1), (2, 2)]


def test_an_epoch_that_a_writer_of_before_left_half_done_is_published_once(tmp_path: Path) -> None:
    """It fixed an epoch in the hot file first, with the rows there, and took in one more record meanwhile."""
    writer = Writer.open(tmp_path)
    drive(writer, 2)
    writer.ingest({0: [batch(2), batch(3)]}, {0: 4}, T0_NS)
    writer.close()
    with duckdb.connect(str(tmp_path / "hot.duckdb")) as connection:
        connection.execute("INSERT INTO epochs SELECT 2, 'fixed', NULL, MAP {0: 3}, 2, '', ''")
        connection.execute('UPDATE events SET epoch = 3 WHERE "first" = 60')
    writer = Writer.open(tmp_path)
    drive(writer, 5)
    writer.close()
    assert ask(tmp_path, "SELECT number FROM event_records ORDER BY number") == [(n,) for n in range(100)]
    assert ask(tmp_path, "SELECT epoch, offsets[0] FROM epochs ORDER BY epoch") == [(1, 2), (2, 5)]


def test_files_hold_no_text_of_what_was_refused(tmp_path: Path) -> None:
    """Records that are converted together share dictionaries, and a file is written with all of one."""
    honest = {"policies": [POLICY], "events": [build.batch("good", "imu-right", 0)]}
    forged = {"events": [build.batch("left-behind", "imu-right", 0, zone="nowhere")]}
    again = {"events": [build.batch("good", "imu-right", 0, session="left-behind")]}
    writer = Writer.open(tmp_path)
    polled = [record(0, honest), record(1, forged), record(2, again)]
    writer.ingest({0: polled}, {0: 3}, T0_NS)
    writer.publish(T0_NS)
    writer.close()
    words = set[str]()
    for path in tmp_path.glob("segments/*.parquet"):
        texts = [column.name for column in pq.read_schema(path) if column.type == pa.string()]
        for column in pq.read_table(path, read_dictionary=texts).select(texts).columns:
            for chunk in column.chunks:
                words |= set(chunk.dictionary.to_pylist())
    assert {"good", "imu-right", "forged", "duplicate"} <= words
    assert not words & {"left-behind", "nowhere"}
