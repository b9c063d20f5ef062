"""Make the tables and views of a store's catalog in a role's DuckDB instance when they are needed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field

import duckdb

from streams.queries import instance
from streams.quoting import quoted

#: Policy version, zone and label.
Class = tuple[str, str, str]

#: Columns that views compute with. Other columns are only loaded if the statement names them.
_COMPUTED = frozenset(
    {
        "source",
        "stream",
        "revision",
        "first",
        "step",
        "count",
        *(
            f"{side}_{name}"
            for side in ("child", "parent")
            for name in ("source", "stream", "revision", "first", "step", "count", "width")
        ),
        "kind",
        "captured",
        "label",
        "zone",
        "policy_version",
        "version",
        "name",
        "text",
        "epoch",
        "appended_ns",
        "sink",
        "passed",
        "operator",
        "topic",
        "days",
        "until_ns",
        "clock_ns",
    }
)
#: The same of single views. Others have such columns too and only hand them on, so they need not load them.
_COMPUTED_BY: Mapping[str, frozenset[str]] = {
    "training_runs": frozenset({"split_seed", "outcome", "licence", "digest"}),
    "training_checks": frozenset({"examples", "judged"}),
    "feedback": frozenset({"answer", "answer_stream"}),
    **dict.fromkeys(("events", "event_records"), frozenset({"t_last_ns"})),
    "overdue": frozenset({"t_last_ns", "t_ns", "outcome", "stage"}),
    **dict.fromkeys(("decisions", "rejected"), frozenset({"t_ns"})),
}
#: DuckDB's tables that list views and columns, with those of their columns that would reveal more.
TOLD: Mapping[str, tuple[str, ...]] = {
    "duckdb_views": ("sql",),
    "duckdb_tables": ("sql", "estimated_size"),
    "duckdb_columns": ("column_default",),
}
_OURS = "WHERE database_name = 'store' AND NOT internal"
_WORD = re.compile(r"\w+")
_FILES_OF = re.compile(r"\bfiles\.(\w+)")


@dataclass(slots=True)
class Base:
    """A table that views are made from: its schema in the store, and its columns with types once it is made.

    For tables in segments, `whole` has the files of which the role may see all rows, `mixed` the other files;
    both map names in the store's directory to digests. `classes` are the row classes of the whole files.
    """

    schema: str
    columns: dict[str, str] = field(default_factory=dict)
    whole: dict[str, str] = field(default_factory=dict)
    mixed: dict[str, str] = field(default_factory=dict)
    mixed_rows: int = 0
    classes: set[Class] = field(default_factory=set)

    @property
    def files(self) -> dict[str, str]:
        """All files with their digests."""
        return self.whole | self.mixed


class Layout:
    """Tables and views of the catalog `store` of the connection `trusted`; a view without SQL is a table."""

    def __init__(self, trusted: duckdb.DuckDBPyConnection) -> None:
        self._trusted = trusted
        self.bases: dict[str, Base] = {}
        self.views: dict[str, str] = {}
        #: Names, with schema, of tables and views that were made.
        self._made: set[str] = set()
        self._told = False
        for schema, view, definition in trusted.execute(
            f"SELECT schema_name, view_name, sql FROM duckdb_views() {_OURS} ORDER BY view_oid"  # noqa: S608 - a constant
        ).fetchall():
            if schema == "files":
                self.bases[view] = Base(schema)
            else:
                self.views[view] = definition
        for (table,) in trusted.execute(f"SELECT table_name FROM duckdb_tables() {_OURS}").fetchall():  # noqa: S608 - a constant
            self.bases[table], self.views[table] = Base("main"), ""

    def bases_of(self, view: str) -> set[str]:
        """Names of the tables that a view reads."""
        definition = self.views[view]
        if not definition:
            return {view}
        return set(_FILES_OF.findall(definition)) | {
            name
            for name, base in self.bases.items()
            if base.schema == "main" and re.search(rf"\b{name}\b", definition)
        }

    def computed(self, views: Iterable[str]) -> frozenset[str]:
        """Columns that views need in addition to those that a statement names."""
        named = frozenset(views)
        words = {word for view in named for word in _WORD.findall(self.views[view])}
        return (_COMPUTED & words).union(*(_COMPUTED_BY.get(view, ()) for view in named))

    def begin(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Make what every statement needs: schemas, and empty replacements for DuckDB's catalog tables."""
        run = connection.execute
        run("BEGIN")
        run("CREATE SCHEMA files")
        run("CREATE SCHEMA kept")
        for name in TOLD:
            run(f"CREATE TABLE kept.{name} AS FROM {name}() WITH NO DATA")
            run(f"CREATE MACRO main.{name}() AS TABLE FROM memory.kept.{name}")
        run("COMMIT")

    def make_table(self, connection: duckdb.DuckDBPyConnection, table: str, origin: str) -> None:
        """Make an empty table, unless it exists, with the columns of `origin`, from which it will be read."""
        base = self.bases[table]
        name = f"{base.schema}.{table}"
        if name in self._made:
            return
        self._made.add(name)
        if not base.columns:
            rows = self._trusted.sql(f"FROM {origin}")
            base.columns = dict(zip(rows.columns, map(str, rows.types), strict=True))
        connection.execute(
            f"CREATE TABLE kept.{table} ({listed(base)}); CREATE VIEW {name} AS FROM kept.{table}"
        )

    def make_views(self, connection: duckdb.DuckDBPyConnection, views: Set[str]) -> None:
        """Make views, unless they exist; their tables must exist."""
        for view, definition in self.views.items():
            if view in views and f"main.{view}" not in self._made:
                connection.execute(definition)
                self._made.add(f"main.{view}")

    def make_all(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Make every table and view with the columns in the catalog, without reading files."""
        for schema, table, column, kind in self._trusted.execute(
            f"SELECT schema_name, table_name, column_name, data_type FROM duckdb_columns() {_OURS} "  # noqa: S608 - a constant
            "ORDER BY schema_name, table_name, column_index"
        ).fetchall():
            if table in self.bases and self.bases[table].schema == schema:
                self.bases[table].columns[column] = kind
        connection.execute("BEGIN")
        for table in self.bases:
            self.make_table(connection, table, "")
        self.make_views(connection, self.views.keys())
        connection.execute("COMMIT")

    def tell(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Make the names, columns and comments of views visible, and nothing else of the catalog."""
        if self._told:
            return
        self._told = True
        self.make_all(connection)
        for name, unsaid in TOLD.items():
            replaced = ", ".join(f"NULL AS {column}" for column in unsaid)
            rows = self._trusted.sql(
                f"SELECT * REPLACE ('memory' AS database_name, {replaced}) FROM {name}() "  # noqa: S608 - names of ours
                "WHERE database_name = 'store' AND schema_name = 'main' AND NOT internal"
            )
            instance.keep(connection, f"kept_{name}", rows)
            connection.execute(f"CREATE OR REPLACE MACRO main.{name}() AS TABLE FROM kept_{name}")


def commenting(connection: duckdb.DuckDBPyConnection, database: str) -> Iterator[str]:
    """Statements that give views, tables and columns the comments that they have in a catalog."""
    ours = f"WHERE database_name = {quoted(database)} AND schema_name = 'main' AND NOT internal"
    for target, comment in connection.execute(
        f"SELECT 'VIEW ' || view_name, comment FROM duckdb_views() {ours} UNION ALL "  # noqa: S608 - quoted
        f"SELECT 'TABLE ' || table_name, comment FROM duckdb_tables() {ours} UNION ALL "
        "SELECT 'COLUMN ' || table_name || '.\"' || column_name || '\"', comment "
        f"FROM duckdb_columns() {ours}"
    ).fetchall():
        if comment:
            yield f"COMMENT ON {target} IS {quoted(comment)}"


def listed(base: Base) -> str:
    """Columns of a table with their types, in the syntax of CREATE TABLE."""
    return ", ".join(f'"{column}" {kind}' for column, kind in base.columns.items())
