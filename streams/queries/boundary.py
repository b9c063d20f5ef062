"""A role's own DuckDB: statements of people run in it, and what the role is not shown is not there.

It is a database instance of its own, in memory, without the store's catalog. It can open those segments all
of whose rows the role is shown, by their names alone; of the others the store's own connection hands over the
rows that the policies show, of the tables that a statement reads. So a condition, an error or an answer's
order has nothing hidden to depend on: there is no filter to get around.

Which classes (policy version, zone, label) are shown is decided by `role.Sight`. An edge is shown where no
event of its run, on either side, is hidden: of a run that is hidden in part nothing is shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import duckdb
import pyarrow

from streams import limits
from streams.errors import InputError
from streams.queries.role import SHOWN_TO, Sight
from streams.queries.statement import Statement, quoted

#: Tables whose rows are judged one by one, and where their label stands; what is refused has none.
ZONED: Mapping[str, str] = {
    "events": "label",
    "decisions": "label",
    "models": "label",
    "rejected": "''",
    "shadow": "''",
}
#: Tables without rows about anybody.
_FOR_ALL = frozenset({"policies", "store", "epoch_rows"})
#: Long texts that a statement is spared where it does not name them; views pass them on as they are.
_SPARED = frozenset(
    {"attributes", "consent_state", "digest", "label", "origin", "rule", "session", "split_from", "topic"}
)
#: Tables about files, and so about everybody's rows.
ABOUT_FILES = frozenset({"segments", "indexes", "spans", "classes"})
#: What tells which views there are, and its columns that tell more than that.
_UNSAID: Mapping[str, tuple[str, ...]] = {
    "duckdb_views": ("sql",),
    "duckdb_tables": ("sql", "estimated_size"),
    "duckdb_columns": ("column_default",),
}
_NOBODYS = ", ''"
_FILES_OF = re.compile(r"\bfiles\.(\w+)")
_ROWS_AT_ONCE = 65_536


@dataclass(frozen=True, slots=True)
class Base:
    """A table that views are made of: where it stands in the store, and its columns with their types."""

    origin: str
    columns: Mapping[str, str]


class _Handed:
    """Rows on their way from one instance to the other, counted, as many as a role is given at most."""

    def __init__(self, rows: pyarrow.RecordBatchReader) -> None:
        self._rows = rows
        self.rows = self.bytes = 0

    def reader(self) -> pyarrow.RecordBatchReader:
        """The rows, to be read once."""
        return pyarrow.RecordBatchReader.from_batches(self._rows.schema, self._counted())

    def _counted(self) -> Iterator[pyarrow.RecordBatch]:
        for batch in self._rows:
            self.rows, self.bytes = self.rows + batch.num_rows, self.bytes + batch.nbytes
            if self.bytes > limits.ROLE_ROWS_MB * 1024 * 1024:
                return
            yield batch


class Boundary:
    """The role's instance, made when the first statement is admitted; close it with the store.

    Parameters
    ----------
    trusted
        A connection to the store, attached as `store`, that no statement of anybody runs on.
    """

    def __init__(self, trusted: duckdb.DuckDBPyConnection, sight: Sight) -> None:
        self._trusted, self._sight = trusted, sight
        self._own: duckdb.DuckDBPyConnection | None = None
        self._bases: dict[str, Base] = {}
        self._views: dict[str, str] = {}
        self._taken: frozenset[str] = frozenset()
        #: Tables that were handed over, and the columns they were spared.
        self._loaded: dict[str, frozenset[str]] = {}
        self._permitted: list[tuple[str, str, str]] = []
        self._whole = self._runs_judged = self._told = False

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """Connection to the role's instance."""
        if self._own is None:
            self._own = _instance()
            self._make(self._own)
        return self._own

    def close(self) -> None:
        """Forget what was handed over."""
        if self._own is not None:
            self._own.close()

    def admit(self, statement: Statement) -> None:
        """Hand over what a statement reads, and count what of that is hidden.

        Also notes the restricted zones that it may see.

        Raises
        ------
        InputError
            It reaches past the views, or what it reads and the role is shown takes too much memory.
        """
        connection = self.connection
        named = statement.views(frozenset(self._views), self._taken)
        if statement.tells:
            self._tell(connection)
        words = statement.words
        bases = {base for view in named for base in self._bases_of(view)}
        for name in sorted(bases):
            self._load(connection, name, words)
        if bases & {*ZONED, "edges", "streams"}:
            for version, zone, _ in self._permitted:
                self._sight.note(version, zone)

    def layout(self) -> Iterator[str]:
        """Statements that make the store's tables, empty, and its views over them, with their comments."""
        self.connection  # noqa: B018 - the store is looked at when it is first needed
        yield "CREATE SCHEMA files"
        for base in self._bases.values():
            listed = ", ".join(f'"{column}" {kind}' for column, kind in base.columns.items())
            yield f"CREATE TABLE {base.origin.removeprefix('store.')} ({listed})"
        yield from filter(None, self._views.values())
        ours = (
            "WHERE database_name = 'store' AND schema_name = 'main' AND NOT internal AND comment IS NOT NULL"
        )
        for what, comment in self._trusted.execute(
            f"SELECT 'VIEW ' || view_name, comment FROM duckdb_views() {ours} UNION ALL "  # noqa: S608 - a constant
            f"SELECT 'TABLE ' || table_name, comment FROM duckdb_tables() {ours} UNION ALL "
            "SELECT 'COLUMN ' || table_name || '.\"' || column_name || '\"', comment "
            f"FROM duckdb_columns() {ours}"
        ).fetchall():
            yield f"COMMENT ON {what} IS {quoted(comment)}"

    def everything(self) -> Iterator[tuple[str, pyarrow.RecordBatchReader]]:
        """All that the role is shown: each table's place in the layout, and its rows, to be read at once.

        Counts what is hidden, and notes the restricted zones.

        InputError when one table's rows take too much memory.
        """
        connection = self.connection
        # Also where nothing is hidden: what others make of the file must not tell whether anything is.
        self._whole = False
        for name, base in self._bases.items():
            self._load(connection, name, None)
            place = base.origin.removeprefix("store.")
            yield place, connection.sql(f"FROM {place}").to_arrow_reader(_ROWS_AT_ONCE)
            connection.execute(f"TRUNCATE {place}")
            del self._loaded[name]
        for version, zone, _ in self._permitted:
            self._sight.note(version, zone)

    def _bases_of(self, view: str) -> Iterable[str]:
        if view in self._bases and not self._bases[view].origin.startswith("store.files."):
            return {view}
        return set(_FILES_OF.findall(self._views[view])) | {
            name for name in self._bases if re.search(rf"\bFROM {name}\b", self._views[view])
        }

    def _make(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Make every table, empty, and over them the views as the catalog defines them."""
        run = self._trusted.execute
        ours = "WHERE database_name = 'store' AND NOT internal"
        types: dict[tuple[str, str], dict[str, str]] = {}
        for schema, table, column, kind in run(
            f"SELECT schema_name, table_name, column_name, data_type FROM duckdb_columns() {ours} "  # noqa: S608 - a constant
            "ORDER BY schema_name, table_name, column_index"
        ).fetchall():
            types.setdefault((schema, table), {})[column] = kind
        definitions = dict(
            run(
                f"SELECT view_name, sql FROM duckdb_views() {ours} AND schema_name = 'main' ORDER BY view_oid"  # noqa: S608 - a constant
            ).fetchall()
        )
        connection.execute("BEGIN")
        connection.execute("CREATE SCHEMA files")
        for (schema, table), columns in types.items():
            if schema == "files" or table not in definitions:
                self._bases[table] = Base(f"store.{schema}.{table}", columns)
                listed = ", ".join(f'"{column}" {kind}' for column, kind in columns.items())
                connection.execute(f"CREATE TABLE {schema}.{table} ({listed})")
        for definition in definitions.values():
            connection.execute(definition)
        for name in _UNSAID:
            kinds = run(f"DESCRIBE FROM {name}()").fetchall()
            listed = ", ".join(f'"{column}" {kind}' for column, kind, *_ in kinds)
            connection.execute(f"CREATE TABLE files.{name} ({listed})")
            connection.execute(f"CREATE MACRO main.{name}() AS TABLE FROM memory.files.{name}")
        connection.execute("COMMIT")
        self._views = definitions | {
            name: "" for name, base in self._bases.items() if base.origin.startswith("store.main.")
        }
        self._taken = frozenset(
            name
            for (name,) in connection.execute(
                "SELECT view_name FROM system.main.duckdb_views() UNION SELECT table_name FROM "
                "system.main.duckdb_tables()"
            ).fetchall()
        )
        self._judge()

    def _judge(self) -> None:
        """Note on the store's connection which classes the role is shown."""
        found = self._trusted.execute(
            " UNION ".join(
                f"SELECT policy_version, zone, {label} FROM store.files.{table}"  # noqa: S608 - names of ours
                for table, label in ZONED.items()
            )
        ).fetchall()
        self._permitted = [key for key in found if self._sight.permits(*key)]
        self._whole = len(self._permitted) == len(found) and self._sight.role.name != "wearer"
        self._trusted.execute(
            "CREATE TEMP TABLE permitted (policy_version VARCHAR, zone VARCHAR, label VARCHAR)"
        )
        if self._permitted:
            self._trusted.executemany("INSERT INTO permitted VALUES (?, ?, ?)", self._permitted)

    def _judge_runs(self) -> None:
        """Note there which runs of events the role is not shown, and of which streams it is shown any."""
        if self._runs_judged:
            return
        self._runs_judged = True
        run = self._trusted.execute
        run(
            'CREATE TEMP TABLE runs AS SELECT source, stream, "first" AS low, '  # noqa: S608 - names of ours
            f'"first" + step * ("count" - 1) AS high, {self._shown("events")} AS shown '
            "FROM store.files.events"
        )
        # As few that do not touch: then the last one that begins before a number tells of it.
        alike = "OVER (PARTITION BY source, stream ORDER BY low, high"
        run(
            "CREATE TEMP TABLE hidden AS SELECT source, stream, min(low) AS low, max(high) AS high "  # noqa: S608
            f"FROM (SELECT *, count(*) FILTER (low > before) {alike}) AS island FROM (SELECT *, "
            f"coalesce(max(high) {alike} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), -1) AS before "
            "FROM runs WHERE NOT shown)) GROUP BY source, stream, island"
        )
        run("CREATE TEMP TABLE seen AS SELECT DISTINCT source, stream FROM runs WHERE shown")

    def _shown(self, table: str) -> str:
        """Condition on rows of a table that stands in the store."""
        role = self._sight.role
        if table in SHOWN_TO and role.name not in SHOWN_TO[table]:
            return "false"
        if table in ZONED:
            shown = f"(policy_version, zone, {ZONED[table]}) IN (FROM permitted)"
            if role.name != "wearer" or table in ("models", "shadow"):
                return shown
            # A pseudonym is text that anybody may type.
            mine = quoted(role.wearer)
            return f"{shown} AND wearer IN ({mine if table == 'rejected' else mine + _NOBODYS})"
        if table == "streams":
            shown = "(source, stream) IN (FROM seen)"
            unseen = " OR (source, stream) NOT IN (SELECT (source, stream) FROM runs)"
            return shown + (unseen if role.name == "privacy-officer" else "")
        if table in ABOUT_FILES:
            return "true" if self._whole else "false"
        return "true" if table in _FOR_ALL or table in SHOWN_TO else "false"

    def _selected(self, table: str, columns: Iterable[str]) -> str:
        """Statement on the store's connection for what is shown of a table."""
        origin = self._bases[table].origin
        if table != "edges":
            return f"SELECT {', '.join(columns)} FROM {origin} WHERE {self._shown(table)}"  # noqa: S608 - names of ours
        last = {
            "child": "child_first + child_step * (child_count - 1)",
            "parent": "parent_first + parent_step * (child_count - 1) + parent_width - 1",
        }
        joins = " ".join(
            f"ASOF LEFT JOIN hidden {side} ON {side}.source = {side}_source "
            f"AND {side}.stream = {side}_stream AND {side}.low <= {last[side]}"
            for side in last
        )
        free = " AND ".join(
            f"coalesce({side}.high < {side}_first, true) AND ({side}_source, {side}_stream) IN (FROM seen)"
            for side in last
        )
        # The joins give rows in an order of their own.
        return f"SELECT {', '.join(columns)} FROM {origin} {joins} WHERE {free} ORDER BY ALL"  # noqa: S608 - names of ours

    def _load(self, connection: duckdb.DuckDBPyConnection, table: str, words: frozenset[str] | None) -> None:
        """Hand over what is shown of a table, and count what is not."""
        base = self._bases[table]
        spared = frozenset() if words is None else frozenset(base.columns) & _SPARED - words
        known = self._loaded.get(table)
        if known is not None and known <= spared:
            return
        if table in ("edges", "streams"):
            self._judge_runs()
        columns = [
            f'NULL AS "{name}"' if self._is_spared(table, name, spared) else f'"{name}"'
            for name in base.columns
        ]
        place = base.origin.removeprefix("store.")
        connection.execute(f"DELETE FROM {place}")  # noqa: S608 - a name of ours
        handed = _Handed(self._trusted.sql(self._selected(table, columns)).to_arrow_reader(_ROWS_AT_ONCE))
        connection.register("arriving", handed.reader())
        connection.execute(f"INSERT INTO {place} FROM arriving")
        connection.unregister("arriving")
        if handed.bytes > limits.ROLE_ROWS_MB * 1024 * 1024:
            raise InputError(
                f"sql: what the role {self._sight.role} is shown of {table} takes more than "
                f"{limits.ROLE_ROWS_MB} MB to set apart, expected less; name the columns that you need, or "
                "ask about single events with `sightline ask`"
            )
        if known is None and table not in _FOR_ALL:
            (held,) = self._trusted.execute(f"SELECT count(*) FROM {base.origin}").fetchall()[0]  # noqa: S608
            self._sight.hide(table, held - handed.rows)
        self._loaded[table] = spared

    def _is_spared(self, table: str, column: str, spared: frozenset[str]) -> bool:
        # How many rows an epoch added tells of those that are hidden.
        return column in spared or (table == "epoch_rows" and column == "rows" and not self._whole)

    def _tell(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Answer which views and columns there are, with their comments and nothing else of the catalog."""
        if self._told:
            return
        self._told = True
        for name, unsaid in _UNSAID.items():
            replaced = ", ".join(f"NULL AS {column}" for column in unsaid)
            rows = self._trusted.sql(
                f"SELECT * REPLACE ('memory' AS database_name, {replaced}) FROM {name}() "  # noqa: S608 - names of ours
                "WHERE database_name = 'store' AND schema_name = 'main' AND NOT internal"
            ).to_arrow_table()
            connection.register("arriving", rows)
            connection.execute(f"INSERT INTO files.{name} FROM arriving")
            connection.unregister("arriving")


def _instance() -> duckdb.DuckDBPyConnection:
    """A DuckDB of its own that reaches no file and none of this process' objects."""
    connection = duckdb.connect(
        config={
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "memory_limit": f"{limits.ROLE_MEMORY_MB}MB",
            # What does not fit fails; nothing of the store is written anywhere.
            "temp_directory": "",
        }
    )
    for setting in (
        "TimeZone = 'UTC'",
        "python_enable_replacements = false",
        "enable_external_access = false",
        "lock_configuration = true",
    ):
        connection.execute(f"SET {setting}")
    return connection
