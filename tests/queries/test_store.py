"""The reader reads one epoch, and nothing else on the machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.errors import DamagedError, InputError, UnavailableError
from streams.events.runs import EdgeRun, Run
from streams.queries.store import Store
from tests.snapshots.build import edge, event, store


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return store(
        tmp_path_factory.mktemp("store") / "s",
        {
            "events": [event("g1", "imu-right", 0, 400)],
            "edges": [
                edge(
                    ("g1", "activity", 0),
                    ("g1", "imu-right", 0),
                    child_step=50,
                    child_count=7,
                    parent_step=50,
                    parent_width=100,
                ),
                edge(
                    ("g1", "activity", 1000),
                    ("g1", "place", 3),
                    child_count=4,
                    parent_step=0,
                    operator="join",
                ),
            ],
        },
    )


@pytest.mark.parametrize(
    "text",
    [
        "COPY (SELECT 1) TO '/tmp/x.csv'",
        "ATTACH '/tmp/x.duckdb'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "PRAGMA version",
        "SET threads = 1",
        "SELECT 1; SELECT 2",
        "",
        "-- nothing",
        "DELETE FROM epoch_rows",
        "CREATE TABLE x (a INT)",
        "CALL pragma_version()",
        "USE memory",
        "VACUUM",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO 'x'",
        "WITH x AS (COPY (SELECT 1) TO '/tmp/x.csv') SELECT 1",
        "WITH x AS (INSERT INTO epoch_rows VALUES (9) RETURNING *) SELECT * FROM x",
        "EXPORT DATABASE '/tmp/x'",
        "EXECUTE nothing",
    ],
)
def test_only_select_is_run(path: Path, text: str) -> None:
    with Store.open(path) as opened, pytest.raises(InputError, match=r"only one SELECT|Parser Error"):
        opened.sql(text)


@pytest.mark.parametrize(
    "text",
    [
        "FROM read_text('/etc/passwd')",
        "FROM glob('/etc/*')",
        "FROM read_csv('/etc/passwd')",
        "FROM '/etc/passwd.csv'",
        "FROM query('FROM read_text(''/etc/passwd'')')",
        "FROM read_parquet('/tmp/*.parquet')",
    ],
)
def test_no_file_outside_the_store_is_read(path: Path, text: str) -> None:
    with Store.open(path) as opened, pytest.raises(InputError, match="outside the store"):
        opened.sql(text)


def test_the_hot_file_cannot_be_read(path: Path) -> None:
    for way in ("hot.duckdb", "segments/../hot.duckdb"):
        with Store.open(path) as opened, pytest.raises(InputError, match="outside the store"):
            opened.sql(f"FROM read_blob('{path}/{way}')")


@pytest.mark.parametrize(
    "text",
    [
        "FROM events",
        "WITH a AS (SELECT 1) FROM a",
        "SHOW TABLES",
        "DESCRIBE events",
        "VALUES (1)",
        "SUMMARIZE edges",
        "WITH RECURSIVE r AS (SELECT 1 AS a UNION ALL SELECT a + 1 FROM r WHERE a < 3) FROM r",
    ],
)
def test_what_only_reads_is_run(path: Path, text: str) -> None:
    with Store.open(path) as opened:
        assert opened.sql(text).rows


def test_an_error_does_not_repeat_what_is_stored(path: Path) -> None:
    with Store.open(path) as opened, pytest.raises(InputError) as caught:
        opened.sql("SELECT stream::INTEGER FROM events")
    assert "imu-right" not in str(caught.value)


def test_an_error_about_the_statement_is_told(path: Path) -> None:
    with Store.open(path) as opened, pytest.raises(InputError, match="nonsense"):
        opened.sql("SELECT nonsense FROM events")


def test_more_rows_than_asked_for_are_counted(path: Path) -> None:
    with Store.open(path) as opened:
        answer = opened.sql("FROM range(2500)", 10)
    assert (len(answer.rows), answer.more) == (10, 2490)


def test_no_store_and_no_epoch_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="no store"):
        Store.open(tmp_path)
    (tmp_path / "hot.duckdb").touch()
    with pytest.raises(UnavailableError, match="no epoch"):
        Store.open(tmp_path)


def test_a_broken_catalog_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "catalog.duckdb").write_bytes(b"not a database at all" * 1000)
    with pytest.raises(DamagedError, match="catalog"):
        Store.open(tmp_path)


def test_edge_records_are_the_pairs_that_the_runs_mean(path: Path) -> None:
    expected = {
        (f"g1/activity/{child}", f"g1/imu-right/{parent}")
        for child, parent in EdgeRun(Run(0, 50, 7), 0, 50, 100).pairs()
    }
    expected |= {
        (f"g1/activity/{child}", f"g1/place/{parent}")
        for child, parent in EdgeRun(Run(1000, 1, 4), 3, 0, 1).pairs()
    }
    with Store.open(path) as opened:
        found = opened.sql("SELECT child_id, parent_id FROM edge_records").rows
    assert len(found) == len(expected)
    assert set(found) == expected
