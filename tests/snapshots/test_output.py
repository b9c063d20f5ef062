"""Files that a fold makes never have the name of one that it replaces."""

from __future__ import annotations

from pathlib import Path

from streams.queries.store import Store
from streams.snapshots.writer import Writer
from tests.snapshots import build


def test_a_fold_of_one_file_of_the_newest_epoch_does_not_replace_itself(tmp_path: Path) -> None:
    writer = Writer.open(tmp_path, fold="inline")
    writer.ingest_tables(build.tables({"events": [build.batch("g1", "imu", 0, 20)]}), build.T0_NS)
    writer.publish(build.T0_NS)
    rows = {"policies": [build.POLICY], "events": [build.batch("g1", "imu", 20, 20)]}
    writer.ingest_tables(build.tables(rows), build.T0_NS)
    while writer.settle(build.T0_NS) is not None:
        pass
    writer.close()
    with Store.open(tmp_path) as store:
        assert store.sql("SELECT count(*) FROM policies").rows == [(1,)]
        assert store.sql("SELECT DISTINCT table_name FROM segments WHERE NOT fresh ORDER BY ALL").rows
