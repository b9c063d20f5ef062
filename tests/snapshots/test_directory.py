"""Whose a store directory is, and that a store can be read wherever it lies."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from streams.errors import InputError, UnavailableError
from streams.snapshots.writer import Writer
from tests.patience import PATIENCE_S
from tests.snapshots.build import event, store
from tests.snapshots.test_writer import ask

VIEWS = (
    "streams",
    "events",
    "edges",
    "decisions",
    "rejected",
    "models",
    "training_runs",
    "promotions",
    "epochs",
    "inputs",
    "policies",
    "segments",
    "event_records",
    "edge_records",
)


def test_a_second_writer_is_refused_also_through_a_link(tmp_path: Path) -> None:
    writer = Writer.open(tmp_path / "store")
    (tmp_path / "link").symlink_to("store")
    for path in (tmp_path / "store", tmp_path / "link"):
        with pytest.raises(UnavailableError, match="in use"):
            Writer.open(path)
    code = (
        "import sys; from pathlib import Path; from streams.snapshots.writer import Writer; "
        "Writer.open(Path(sys.argv[1]))"
    )
    other = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "link")],
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert "UnavailableError" in other.stderr
    writer.close()
    Writer.open(tmp_path / "link").close()


def test_a_directory_that_is_no_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("dear")
    with pytest.raises(InputError, match=r"letters\.txt"):
        Writer.open(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["letters.txt"]
    with pytest.raises(InputError, match="directory"):
        Writer.open(tmp_path / "letters.txt")


def test_a_store_without_its_hot_file_is_refused(tmp_path: Path) -> None:
    store(tmp_path, {"events": [event("g1", "imu-right", 0, 20)]})
    (tmp_path / "hot.duckdb").unlink()
    with pytest.raises(InputError, match=r"hot\.duckdb"):
        Writer.open(tmp_path)


def test_an_empty_store_has_typed_views(tmp_path: Path) -> None:
    store(tmp_path)
    for view in VIEWS:
        assert ask(tmp_path, f"SELECT count(*) FROM {view}") == [(1 if view == "epochs" else 0,)]
    described = dict(row[:2] for row in ask(tmp_path, "DESCRIBE events"))
    assert (described["t_first"], described["first"], described["kind"]) == (
        "TIMESTAMP WITH TIME ZONE",
        "BIGINT",
        "VARCHAR",
    )


def test_times_are_beside_their_nanoseconds(tmp_path: Path) -> None:
    store(tmp_path, {"events": [event("g1", "imu-right", 0, 20)]})
    assert ask(tmp_path, "SELECT epoch_us(t_first) * 1000 + 789 - t_first_ns FROM events") == [(0,)]


def test_a_store_can_be_moved_and_read_from_inside_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(tmp_path / "one", {"events": [event("g1", "imu-right", 0, 20)]})
    store(tmp_path / "two", {"events": [event("g2", "imu-right", 0, 7)]})
    shutil.move(tmp_path / "one", tmp_path / "moved")
    monkeypatch.chdir(tmp_path / "two")
    assert ask(tmp_path / "moved", 'SELECT source, "count" FROM events') == [("g1", 20)]
    assert ask(Path("../moved"), 'SELECT source, "count" FROM events') == [("g1", 20)]
    import duckdb  # noqa: PLC0415 - the documented opening, as a reader without our code does it

    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{tmp_path}/moved/catalog.duckdb' AS lineage (READ_ONLY)")
        connection.execute("USE lineage")
        connection.execute(f"SET file_search_path = '{tmp_path}/moved'")
        assert connection.execute('SELECT source, "count" FROM events').fetchall() == [("g1", 20)]


def test_two_stores_never_share_a_segment_name(tmp_path: Path) -> None:
    for name in ("one", "two"):
        store(tmp_path / name, {"events": [event("g1", "imu-right", 0, 20)]})
    names = [{path.name for path in (tmp_path / name / "segments").iterdir()} for name in ("one", "two")]
    assert names[0].isdisjoint(names[1])
