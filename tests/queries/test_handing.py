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
KINDS = "SELECT DISTINCT kind FROM events ORDER BY kind"
#: What says the zones of rows of events, and which of them are over.
NEEDED = {"zone", "policy_version", "label", "source", "appended_ns", "t_last_ns"}


class Handed:
    """Counts what is handed over of tables with rows: each, and its columns that hold anything."""

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
                if filled:
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
        assert handed.tables == [("kept_events", NEEDED)]
        made = instance.names_in(opened._boundary.connection)  # type: ignore[union-attr]
        assert {"events"} == made & {"events", "event_records", "edges", "streams", "decisions", "models"}


def test_columns_of_earlier_statements_stay(path: Path, handed: Handed) -> None:
    with Store.open(path, Role.of("wearer:w1")) as opened:
        first = [opened.sql(text).rows for text in (ZONES, KINDS)]
        assert [opened.sql(text).rows for text in (ZONES, KINDS)] == first
    assert handed.tables == [
        ("kept_events", NEEDED),
        ("kept_events", NEEDED | {"kind"}),
    ]


def test_columns_of_earlier_statements_go_where_there_is_no_room(
    path: Path, handed: Handed, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = instance.keep

    def narrow(connection: duckdb.DuckDBPyConnection, name: str, rows: duckdb.DuckDBPyRelation) -> int | None:
        """Room for one column beside those that are always needed."""
        filled = [one for one in rows.columns if rows.filter(f'"{one}" IS NOT NULL').limit(1).fetchall()]
        return None if len(filled) > len(NEEDED) + 1 else keep(connection, name, rows)

    monkeypatch.setattr(instance, "keep", narrow)
    with Store.open(path, Role.of("wearer:w1")) as opened:
        kinds = opened.sql(KINDS).rows
        streams = opened.sql("SELECT DISTINCT stream FROM events ORDER BY stream").rows
        assert kinds
        assert streams
        assert opened.sql(KINDS).rows == kinds
    assert [columns - NEEDED for _, columns in handed.tables] == [{"kind"}, {"stream"}, {"kind"}]
