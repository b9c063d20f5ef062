"""The store's views as a role sees them.

They have the same names, over the rows that its policies show, in the reader's own memory.

The catalog's definitions of its views are run again over filtered tables, so that a view cannot show what its
table does not. Which zones and labels are shown is decided by `role.Sight`, once for each that the epoch
holds. An edge is shown where no event of its run, on either side, is hidden: of a run that is hidden in part
nothing is shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import duckdb

from streams.errors import InputError
from streams.lineage.readable import READABLE
from streams.queries.role import SHOWN_TO, Sight

#: Functions that make rows out of their arguments, or tell of the names and comments that there are.
_FUNCTIONS = frozenset(
    {"range", "generate_series", "unnest", "duckdb_views", "duckdb_tables", "duckdb_columns"}
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: Where a view's rows come from, if not from the table of the same name.
_TABLE_OF = {"event_records": "events", "edge_records": "edges"}
_ZONED = ("events", "decisions", "rejected", "models")
#: What is refused has no label; it is judged by its zone.
_LABEL = {"rejected": "''"}
#: Tables about the store's files.
_FILES = ("segments", "spans", "indexes")
_ALL = ("epoch_rows", "store", "classes")


_NOBODYS = ", ''"


class Filtered:
    """Filtered views in the memory of `connection`, to which the store is attached as `store`.

    They are made when they are first needed.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, sight: Sight) -> None:
        self.connection, self._sight = connection, sight
        self._names: frozenset[str] = frozenset()

    def admit(self, tree: dict[str, Any]) -> None:
        """Refuse a statement that reaches past the views, and count what it does not get to see.

        Also notes the restricted zones that it may see. `tree` is the serialized statement. Raises InputError
        that names what it reaches for.
        """
        if not self._names:
            self._make()
        named = set(_named(tree, self._names))
        tables = {_TABLE_OF.get(name, name) for name in named}
        for table in sorted(tables):
            if table not in {*_ALL, "policies", "epochs"}:
                raw, shown = ("store.main", "main") if table in _FILES else ("store.files", "files")
                whole = f"{raw}.{table} WHERE {READABLE.get(table, 'true')}"
                self._sight.hide(table, self._count(whole) - self._count(f"{shown}.{table}"))
        if tables & {"events", "edges", "decisions", "rejected", "models", "shadow", "streams"}:
            for version, zone in self.connection.execute(
                "SELECT DISTINCT policy_version, zone FROM sight.permitted"
            ).fetchall():
                self._sight.note(version, zone)

    def _count(self, table: str) -> int:
        row = self.connection.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608 - a name of ours
        return int(row[0]) if row else 0

    def _make(self) -> None:
        run = self.connection.execute
        run("CREATE SCHEMA sight")
        run("CREATE SCHEMA files")
        run("CREATE TABLE sight.permitted (policy_version VARCHAR, zone VARCHAR, label VARCHAR)")
        found = run(
            " UNION ".join(
                f"SELECT policy_version, zone, {_LABEL.get(table, 'label')} FROM store.files.{table} "  # noqa: S608
                f"WHERE {READABLE[table]}"
                for table in _ZONED
            )
        ).fetchall()
        if shown := [key for key in found if self._sight.permits(*key)]:
            self.connection.executemany("INSERT INTO sight.permitted VALUES (?, ?, ?)", shown)
        for table in _ZONED:
            run(f"CREATE VIEW files.{table} AS FROM store.files.{table} WHERE {self._shown(table)}")
        run(
            'CREATE TABLE sight.hidden AS SELECT source, stream, "first" AS low, '  # noqa: S608
            f'"first" + step * ("count" - 1) AS high FROM store.files.events '
            f"WHERE {READABLE['events']} AND NOT ({self._shown('events')})"
        )
        for table, condition in self._others().items():
            origin = f"store.main.{table}" if table in {*_ALL, *_FILES} else f"store.files.{table}"
            schema = "main" if table in {*_ALL, *_FILES} else "files"
            readable = READABLE.get(table, "true")
            run(f"CREATE VIEW {schema}.{table} AS FROM {origin} WHERE {readable} AND {condition}")
        self._like_the_catalog()

    def _shown(self, table: str) -> str:
        key = f"policy_version, zone, {_LABEL.get(table, 'label')}"
        shown = f"{READABLE[table]} AND ({key}) IN (FROM sight.permitted)"
        if self._sight.role.name != "wearer" or table == "models":
            return shown
        # A pseudonym is text that anybody may type.
        mine = quoted(self._sight.role.wearer)
        return f"{shown} AND wearer IN ({mine if table == 'rejected' else mine + _NOBODYS})"

    def _others(self) -> dict[str, str]:
        last = {
            "child": "child_first + child_step * (child_count - 1)",
            "parent": "parent_first + parent_step * (child_count - 1) + parent_width - 1",
        }
        edges = " AND ".join(
            f"NOT EXISTS (FROM sight.hidden WHERE source = {side}_source AND stream = {side}_stream "  # noqa: S608
            f"AND low <= {last[side]} AND high >= {side}_first) AND ({side}_source, {side}_stream) "
            "IN (SELECT (source, stream) FROM files.events)"
            for side in ("child", "parent")
        )
        unseen = " OR (source, stream) NOT IN (SELECT (source, stream) FROM store.files.events)"
        streams = "(source, stream) IN (SELECT (source, stream) FROM files.events)"
        streams += unseen if self._sight.role.name == "privacy-officer" else ""
        owned = {
            table: "true" if self._sight.role.name in names else "false" for table, names in SHOWN_TO.items()
        }
        return {
            "edges": edges,
            "streams": streams,
            **owned,
            **dict.fromkeys(("policies", "epochs"), "true"),
            **dict.fromkeys(_ALL, "true"),
        }

    def _like_the_catalog(self) -> None:
        run = self.connection.execute
        ours = "WHERE database_name = 'store' AND schema_name = 'main' AND NOT internal"
        for (definition,) in run(f"SELECT sql FROM duckdb_views() {ours} ORDER BY view_oid").fetchall():  # noqa: S608 - a constant
            run(definition)
        comments = run(
            f"SELECT 'VIEW ' || view_name, comment FROM duckdb_views() {ours} UNION ALL "  # noqa: S608 - a constant
            f"SELECT 'VIEW ' || table_name, comment FROM duckdb_tables() {ours} UNION ALL "
            "SELECT 'COLUMN ' || table_name || '.\"' || column_name || '\"', "
            f"comment FROM duckdb_columns() {ours}"
        ).fetchall()
        run("BEGIN")
        for what, comment in comments:
            if comment:
                run(f"COMMENT ON {what} IS {quoted(comment)}")
        run("COMMIT")
        self._names = frozenset(
            name
            for (name,) in run(
                "SELECT view_name FROM duckdb_views() WHERE database_name = 'memory' AND schema_name = 'main'"
                " AND NOT internal"
            ).fetchall()
        )


def _named(tree: object, views: frozenset[str]) -> Iterator[str]:
    """Yield the views that a serialized statement reads.

    InputError for any other table that is not its own, and for most functions.
    """
    found = list(items(tree))
    own = {entry["key"].lower() for item in found for entry in (item.get("cte_map") or {}).get("map", ())}
    # A file can be named like a table: what a statement calls its own must not look like one.
    if odd := sorted(name for name in own if not _NAME.fullmatch(name) or name in views):
        raise InputError(
            f"sql: found {odd[0]!r} as the name of a part of the statement, "
            "expected a plain name that no view has"
        )
    for item in found:
        kind = item.get("type")
        if kind == "BASE_TABLE" or (kind == "SHOW_REF" and item.get("show_type") == "SHOW"):
            name = str(item.get("table_name", "")).lower()
            qualified = bool(item.get("schema_name") or item.get("catalog_name"))
            if qualified or (name not in views and name not in own):
                raise InputError(
                    f"sql: found the table {item.get('table_name')!r}, expected one of the store's views "
                    "(`SHOW TABLES` lists them); a role reads nothing else"
                )
            if name in views:
                yield name
        elif kind == "TABLE_FUNCTION":
            name = str(item["function"].get("function_name", "")).lower()
            if name not in _FUNCTIONS:
                raise InputError(
                    f"sql: found the table function {name!r}, expected none but "
                    f"{', '.join(sorted(_FUNCTIONS))}; a role reads the store's views and nothing else"
                )


def items(tree: object) -> Iterator[dict[str, Any]]:
    """Yield every object of a serialized statement."""
    pending = [tree]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            yield item
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)


def quoted(text: str) -> str:
    """A text as a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"
