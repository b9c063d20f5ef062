"""A reader is told by the catalog itself what every view and every column means."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from streams.snapshots.epochs import column_comments, comments
from streams.snapshots.writer import Writer
from tests.patience import PATIENCE_S
from tests.snapshots.build import T0_NS, edge, event, tables
from tests.snapshots.test_directory import VIEWS

#: A reader with nothing of ours: attaches the catalog and asks DuckDB.
READER = """
import json, sys, duckdb
connection = duckdb.connect()
connection.execute(f"ATTACH '{sys.argv[1]}/catalog.duckdb' AS lineage (READ_ONLY)")
connection.execute(f"SET file_search_path = '{sys.argv[1]}'")
ours = "WHERE database_name = 'lineage' AND schema_name = 'main' AND NOT internal ORDER BY ALL"
views = connection.execute(f"SELECT view_name, comment FROM duckdb_views() {ours}").fetchall()
views += connection.execute(f"SELECT table_name, comment FROM duckdb_tables() {ours}").fetchall()
columns = connection.execute(f"SELECT table_name || '.' || column_name, comment \
FROM duckdb_columns() {ours}").fetchall()
rows = connection.execute("SELECT count(*) FROM lineage.events").fetchone()
print(json.dumps({"views": dict(views), "columns": dict(columns), "rows": rows[0]}))
"""


@pytest.mark.parametrize("epochs", [0, 18], ids=["empty", "compacted"])
def test_nothing_that_a_reader_sees_lacks_a_comment(tmp_path: Path, epochs: int) -> None:
    writer = Writer.open(tmp_path / "store")
    writer.publish(T0_NS)
    for i in range(epochs):
        rows = {
            "events": [event("g1", "imu-right", 20 * i, 20)],
            "edges": [edge(("g1", "activity", i), ("g1", "imu-right", 20 * i))],
        }
        writer.ingest_tables(tables(rows), T0_NS)
        writer.publish(T0_NS)
    # The writer stays open: the reader is another process, as in life.
    said = subprocess.run(
        [sys.executable, "-c", READER, str(tmp_path / "store")],
        check=True,
        capture_output=True,
        timeout=PATIENCE_S,
    )
    writer.close()
    found = orjson.loads(said.stdout)
    assert found["rows"] == epochs
    assert set(VIEWS) <= found["views"].keys()
    assert len(found["columns"]) > len(found["views"]) * 3
    assert [name for name, comment in {**found["views"], **found["columns"]}.items() if not comment] == []


def test_no_comment_is_about_something_that_is_gone(tmp_path: Path) -> None:
    Writer.open(tmp_path / "store").close()
    writer = Writer.open(tmp_path / "store")
    writer.publish(T0_NS)
    said = subprocess.run(
        [sys.executable, "-c", READER, str(tmp_path / "store")],
        check=True,
        capture_output=True,
        timeout=PATIENCE_S,
    )
    writer.close()
    found = orjson.loads(said.stdout)
    assert comments.VIEWS.keys() == found["views"].keys()
    assert column_comments.SPECIAL.keys() <= found["columns"].keys()
    assert column_comments.COLUMNS.keys() <= {name.partition(".")[2] for name in found["columns"]}
