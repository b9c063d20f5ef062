"""Make one catalog in memory of the catalogs of several stores, so that they are read like a single store.

Segments do not change, so the joined catalog only has to list the files of all stores, by absolute paths.
Views, columns and comments are those of the stores' own catalogs, of the one that has most.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import duckdb

from streams.queries.extent import APART
from streams.queries.layout import commenting
from streams.queries.parts import Part
from streams.quoting import quoted

#: Columns of the catalog's tables that are counted within a store.
_EPOCHS = ("epoch", "first_epoch", "last_epoch")
#: Tables that stores of one topic have in common: words of policies, and what the code of writers declares.
_ALIKE = frozenset({"vocabularies", "io_coverage"})
_UNION = " UNION ALL "


def join(connection: duckdb.DuckDBPyConnection, parts: Sequence[Part]) -> None:
    """Make the database `store` of the catalogs that are attached as `part_0`, `part_1` and so on.

    These are detached then.
    """
    run = connection.execute
    newest = _newest(connection, len(parts))
    ours = f"database_name = '{newest}' AND NOT internal"
    comments = list(commenting(connection, newest))
    # Fetched before anything is written, because an unfinished result blocks other statements.
    views = run(
        f"SELECT schema_name, view_name, sql FROM duckdb_views() WHERE {ours} ORDER BY view_oid"  # noqa: S608 - ours
    ).fetchall()
    tables = run(
        f"SELECT table_name, list(column_name) FROM duckdb_columns() WHERE {ours} AND table_name IN "  # noqa: S608 - as above
        f"(SELECT table_name FROM duckdb_tables() WHERE {ours}) GROUP BY table_name"
    ).fetchall()
    classes = _classes(connection, parts)
    known = set(
        run(
            "SELECT database_name, table_name FROM duckdb_tables() WHERE starts_with(database_name, 'part_')"
        ).fetchall()
    )
    run("ATTACH ':memory:' AS store")
    run("USE store")
    run("BEGIN")
    run("CREATE SCHEMA files")
    for table, columns in tables:
        rows = _UNION.join(
            f"SELECT {_counted(part, place, classes[place], columns)} FROM part_{place}.main.{table}"  # noqa: S608 - quoted
            for place, part in enumerate(parts)
            # A catalog of before a table was added has none; it is made anew with the next epoch.
            if (f"part_{place}", table) in known
        )
        distinct = "SELECT DISTINCT * FROM" if table in _ALIKE else "FROM"
        run(f"CREATE TABLE {table} AS {distinct} ({rows})")
    for schema, view, definition in views:
        if schema == "files":
            bodies = list(_files(connection, view, parts))
            run(f"CREATE VIEW files.{view} AS {_UNION.join(bodies)}" if bodies else definition)
    for schema, _, definition in views:
        if schema != "files":
            run(definition)
    for statement in comments:
        run(statement)
    run("COMMIT")
    for place in range(len(parts)):
        run(f"DETACH part_{place}")


def _newest(connection: duckdb.DuckDBPyConnection, count: int) -> str:
    """The part whose writer knew the most views: while writers are upgraded, another one may know fewer."""
    views = "SELECT count(*) FROM duckdb_views() WHERE NOT internal AND database_name = ?"
    known = {f"part_{at}": connection.execute(views, [f"part_{at}"]).fetchall() for at in range(count)}
    return max(known, key=lambda part: known[part])


def _classes(connection: duckdb.DuckDBPyConnection, parts: Sequence[Part]) -> list[int]:
    """Number from which the classes of each store are counted."""
    begins = [0]
    for place in range(len(parts)):
        [(highest,)] = connection.execute(
            f"SELECT coalesce(max(class), -1) FROM part_{place}.main.classes"  # noqa: S608 - ours
        ).fetchall()
        begins.append(begins[-1] + highest + 1)
    return begins


def _counted(part: Part, place: int, classes: int, columns: Iterable[str]) -> str:
    """Columns of a table of a catalog as the joined catalog has them."""
    replaced = {
        **{name: f"{name} + {place * APART}" for name in _EPOCHS},
        "file": f"{quoted(f'{part.directory}/')} || file",
        "class": f"class + {classes}",
        "classes": f"list_transform(classes, lambda each: each + {classes})",
    }
    changed = ", ".join(f"{replaced[name]} AS {name}" for name in columns if name in replaced)
    return f"* REPLACE ({changed})" if changed else "*"


def _files(connection: duckdb.DuckDBPyConnection, table: str, parts: Sequence[Part]) -> Iterator[str]:
    """SELECT of the segments of a table of each store that has any."""
    for place, part in enumerate(parts):
        listed = ", ".join(
            quoted(f"{part.directory}/{file}")
            for (file,) in connection.execute(
                f"SELECT file FROM part_{place}.main.segments WHERE table_name = ? "  # noqa: S608 - ours
                "ORDER BY first_epoch, file",
                [table],
            ).fetchall()
        )
        if listed:
            yield f"SELECT * REPLACE (epoch + {place * APART} AS epoch) FROM read_parquet([{listed}])"  # noqa: S608 - quoted
