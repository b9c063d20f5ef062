"""Whatever tries to get past a role's views: files, the catalog, settings, other statements."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from streams.audit_log import AUDIT_LOG
from streams.errors import InputError
from streams.queries import layout
from streams.queries.role import Role
from streams.queries.store import Store
from tests.queries.pair import pair_of


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pair_of(tmp_path_factory.mktemp("past"))[0]


PAST = (
    "FROM files.events",
    "FROM store.files.events",
    "FROM store.main.events",
    "FROM store.events",
    "FROM memory.files.edges",
    "FROM role_filter.hidden",
    "FROM read_parquet('segments/*.parquet')",
    "FROM 'segments/x.parquet'",
    "FROM query('FROM store.events')",
    "SUMMARIZE store.events",
    "FROM query_table('store.files.events')",
    "SELECT (SELECT count(*) FROM store.files.events)",
    "FROM events JOIN store.events USING (source)",
    "SELECT 1 WHERE EXISTS (FROM files.events)",
    "FROM parquet_metadata('segments/x.parquet')",
    "WITH events AS (SELECT 1) FROM events",
    "WITH \"a.parquet\" AS (SELECT 1) FROM (FROM 'a.parquet')",
    "FROM duckdb_settings()",
    "FROM information_schema.tables",
    "WITH a AS (FROM store.events) FROM a",
    "FROM events UNION ALL BY NAME FROM store.events",
    "FROM glob('*')",
    "SELECT * FROM events ORDER BY (SELECT max(digest) FROM files.rejected)",
    "DESCRIBE store.events",
    "FROM 'catalog.duckdb'",
    "FROM kept.events",
    "FROM memory.kept.events",
    "FROM system.main.duckdb_views()",
    "FROM main.duckdb_tables()",
    "FROM pg_catalog.pg_views",
    "FROM sqlite_master",
    "FROM pragma_table_info('events')",
    "FROM pragma_database_size()",
    "FROM duckdb_schemas()",
    "FROM duckdb_logs()",
    "SELECT (WITH duckdb_tables AS (SELECT 1) SELECT 1), t.* FROM duckdb_tables t",
    "WITH duckdb_columns AS (SELECT 1) FROM duckdb_columns",
    "WITH pg_views AS (SELECT 1) FROM pg_views",
    "WITH x AS (WITH sqlite_master AS (SELECT 1) SELECT 1) FROM sqlite_master",
    "SHOW ALL TABLES",
    "SHOW TABLES FROM kept",
    "SHOW DATABASES",
    "SELECT current_setting('allowed_paths')",
    "SELECT CURRENT_SETTING('file_search_path')",
    "SELECT pg_get_viewdef(view_oid) FROM duckdb_views()",
    "SELECT json_serialize_plan('FROM events')",
    "SELECT getvariable('x')",
    "SELECT stats(zone) FROM events",
    "SELECT filename FROM events",
    "SELECT rowid FROM events",
    "FROM read_text('/etc/passwd')",
    "FROM read_blob('catalog.duckdb')",
    "FROM read_csv('/etc/passwd')",
    "FROM arriving",
    "COPY events TO '/tmp/x'",
    "COPY (FROM events) TO 'events.parquet'",
    "ATTACH 'catalog.duckdb' AS c",
    "SET enable_external_access = true",
    "RESET lock_configuration",
    "PRAGMA show_tables",
    "CALL pragma_version()",
    "INSTALL httpfs",
    "LOAD httpfs",
    "EXPLAIN ANALYZE FROM events",
    "CREATE TABLE x AS FROM events",
    "FROM events; FROM edges",
    "EXPORT DATABASE 'x'",
)


@pytest.mark.parametrize("role", ["analyst", "privacy-officer"])
def test_nothing_gets_past_the_views(path: Path, role: str) -> None:
    segment = next((path / "segments").glob("events-*.parquet")).name
    with Store.open(path, Role.of(role)) as opened:
        for text in PAST:
            with pytest.raises(InputError, match="sql: ") as refused:
                opened.sql(text.replace("x.parquet", segment))
            assert "parquet" not in str(refused.value) or "parquet" in text


def test_the_catalog_tells_of_views_and_columns_alone(path: Path) -> None:
    with Store.open(path) as whole:
        views = {name for (name,) in whole.sql("SELECT name FROM (SHOW TABLES)").rows}
        ids = [file for (file,) in whole.sql("SELECT file FROM segments").rows]
    with Store.open(path, Role.of("analyst")) as opened:
        told = {name: opened.sql(f"FROM {name}()").dicts() for name in sorted(layout.TOLD)}
        assert {name for (name,) in opened.sql("SHOW TABLES").rows} == views
        assert {
            row.get("view_name", row.get("table_name")) for rows in told.values() for row in rows
        } == views
        assert {row["comment"] is None for rows in told.values() for row in rows} == {False}
    said = str(told)
    assert not any(name in said for name in [*ids, "kept.", "CREATE", "segments/", "read_parquet"])
    assert {row["estimated_size"] for row in told["duckdb_tables"]} == {None}


def test_a_long_comment_hides_no_statement_from_the_record(path: Path) -> None:
    """What is recorded is recorded whole; what would be too long for that is not run."""
    statement = "SELECT count(*) FROM events WHERE zone = 'health'"
    (path / AUDIT_LOG).unlink(missing_ok=True)
    with Store.open(path, Role.of("privacy-officer")) as opened:
        for text in (f"/* {'x' * 100_000} */ {statement}", f"{statement} -- {'x' * 100_000}"):
            with pytest.raises(InputError, match="of more than 65,536 bytes"):
                opened.sql(text)
        assert not (path / AUDIT_LOG).exists()
        text = f"/* {'x' * 60_000} */ {statement}"
        opened.sql(text)
    (line,) = (path / AUDIT_LOG).read_bytes().splitlines()
    read = orjson.loads(line)
    assert (read["question"], read["bytes"]) == (text, len(text))
    assert "health" in read["zones"]
