"""What a role's own DuckDB is handed: the tables, columns and views of the statement, and no more."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from streams.queries import instance
from streams.queries.role import Role
from streams.queries.store import Store
from tests.queries.pair import pair_of

ZONES = "SELECT zone, count(*) FROM events GROUP BY zone ORDER BY zone"
SOURCES = "SELECT DISTINCT source FROM events ORDER BY source"


class Handed:
    """Counts what is handed over: a table, and its columns that hold anything."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.tables: list[tuple[str, set[str]]] = []
        keep = instance.keep

        def counted(
            connection: duckdb.DuckDBPyConnection, name: str, rows: duckdb.DuckDBPyRelation
        ) -> int | None:
            kept = keep(connection, name, rows)
            if kept is not None:
                columns = (column for column, *_ in connection.execute(f"DESCRIBE FROM {name}").fetchall())
                counts = ", ".join(f'count("{column}") AS "{column}"' for column in columns)
                found = connection.execute(f"SELECT {counts} FROM {name}")
                (row,) = found.fetchall()
                filled = {
                    column[0] for column, count in zip(found.description or (), row, strict=True) if count
                }
                self.tables.append((name, filled))
            return kept

        patch.setattr(instance, "keep", counted)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pair_of(tmp_path_factory.mktemp("handing"))[0]


@pytest.fixture
def handed(monkeypatch: pytest.MonkeyPatch) -> Handed:
    return Handed(monkeypatch)


def test_a_statement_is_handed_its_columns_and_what_says_the_zones(path: Path, handed: Handed) -> None:
    with Store.open(path, Role.of("wearer:w1")) as opened:
        assert opened.sql(ZONES).rows
        assert handed.tables == [("kept_events", {"zone", "policy_version"})]
        made = instance.names_in(opened._boundary.connection)  # type: ignore[union-attr]
        assert {"events"} == made & {"events", "event_records", "edges", "streams", "decisions", "models"}


def test_columns_of_earlier_statements_stay(path: Path, handed: Handed) -> None:
    with Store.open(path, Role.of("wearer:w1")) as opened:
        first = [opened.sql(text).rows for text in (ZONES, SOURCES)]
        assert [opened.sql(text).rows for text in (ZONES, SOURCES)] == first
    assert handed.tables == [
        ("kept_events", {"zone", "policy_version"}),
        ("kept_events", {"zone", "policy_version", "source"}),
    ]


def test_columns_of_earlier_statements_go_where_there_is_no_room(
    path: Path, handed: Handed, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = instance.keep

    def narrow(connection: duckdb.DuckDBPyConnection, name: str, rows: duckdb.DuckDBPyRelation) -> int | None:
        """Room for one column beside those that say the zones."""
        filled = [one for one in rows.columns if rows.filter(f'"{one}" IS NOT NULL').limit(1).fetchall()]
        return None if len(filled) > 3 else keep(connection, name, rows)

    monkeypatch.setattr(instance, "keep", narrow)
    with Store.open(path, Role.of("wearer:w1")) as opened:
        sources = opened.sql(SOURCES).rows
        streams = opened.sql("SELECT DISTINCT stream FROM events ORDER BY stream").rows
        assert sources
        assert streams
        assert opened.sql(SOURCES).rows == sources
    assert [columns - {"zone", "policy_version"} for _, columns in handed.tables] == [
        {"source"},
        {"stream"},
        {"source"},
    ]
