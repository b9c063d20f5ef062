"""A role's own DuckDB: statements of people run in it, and what the role is not shown is not there.

It is a database instance of its own, in memory, without the store's catalog. It can open those segments all
of whose rows the role is shown, by their names alone; of the others the store's own connection hands over the
rows that the policies show, of the tables that a statement reads. So a condition or an error has nothing
hidden to depend on, and there is no filter to get around. How rows lie in files does depend on their hidden
neighbours: it shows in how long a statement takes, and in the order of rows where none was asked for, with
what goes by it (approximate quantiles, sums of floating numbers).

Which classes (policy version, zone, label) are shown is decided by `role.Sight`. An edge is shown where no
event of its run, on either side, is hidden: of a run that is hidden in part nothing is shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from streams import limits
from streams.errors import InputError
from streams.queries import instance, intact
from streams.queries.role import SHOWN_TO, Sight
from streams.queries.statement import Statement, quoted

#: Tables whose rows are judged one by one, and where their label stands; what is refused has none.
_ZONED: Mapping[str, str] = {
    "events": "label",
    "decisions": "label",
    "models": "label",
    "zone_runs": "label",
    "rejected": "''",
    "shadow": "''",
}
#: Tables without rows about anybody.
_FOR_ALL = frozenset({"policies", "vocabularies", "store", "epochs", "epoch_rows"})
#: Columns that views compute with, or that say what the zones of rows are. A statement is spared the others
#: that it does not name; `t_ns` also goes by `t`, and what `statement` says by other names.
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
        "zone",
        "policy_version",
        "version",
        "name",
        "text",
        "epoch",
        "appended_ns",
    }
)
#: What tells which views there are, and its columns that tell more than that.
TOLD: Mapping[str, tuple[str, ...]] = {
    "duckdb_views": ("sql",),
    "duckdb_tables": ("sql", "estimated_size"),
    "duckdb_columns": ("column_default",),
}
_NOBODYS = ", ''"
_FILES_OF = re.compile(r"\bfiles\.(\w+)")


#: Policy version, zone and label.
Class = tuple[str, str, str]


@dataclass(slots=True)
class _Base:
    """A table that views are made of: its schema in the store, and its columns with their types.

    Of those that lie in segments, `whole` are the files that the role is shown all of, `mixed` the others;
    both with their digests, by name in the store's directory. `classes` are those of the whole files.
    """

    schema: str
    columns: dict[str, str]
    whole: dict[str, str] = field(default_factory=dict)
    mixed: dict[str, str] = field(default_factory=dict)
    mixed_rows: int = 0
    classes: set[Class] = field(default_factory=set)


class Boundary:
    """The role's instance, made when the first statement is admitted; close it with the store.

    Parameters
    ----------
    trusted
        A connection to the store, attached as `store`, that no statement of anybody runs on.
    directory
        The store's.
    """

    def __init__(self, trusted: duckdb.DuckDBPyConnection, directory: Path, sight: Sight) -> None:
        self._trusted, self._directory, self._sight = trusted, directory, sight
        self._own: duckdb.DuckDBPyConnection | None = None
        self._bases: dict[str, _Base] = {}
        #: Definitions by name; empty of what is a table in the catalog.
        self._views: dict[str, str] = {}
        self._permitted: set[Class] = set()
        #: Tables that were handed over, and the columns they were spared.
        self._loaded: dict[str, frozenset[str]] = {}
        self._runs_judged = self._told = False

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """Connection to the role's instance."""
        if self._own is None:
            self._look()
            self._judge()
            self._own = instance.make(
                self._listed(file for base in self._bases.values() for file in base.whole)
            )
            self._make(self._own)
        return self._own

    def close(self) -> None:
        """Forget what was handed over."""
        if self._own is not None:
            self._own.close()

    def admit(self, statement: Statement) -> None:
        """Hand over what a statement reads, and count what of that is hidden.

        Also notes the zones of what it may see.

        Raises
        ------
        InputError
            It reaches past the views, or what it reads and the role is shown takes too much memory.
        DamagedError
            A file that it reads is not as the writer left it.
        """
        connection = self.connection
        named = statement.views(frozenset(self._views), lambda: instance.names_in(connection))
        if statement.tells:
            self._tell(connection)
        words = statement.words
        bases = {base for view in named for base in self._bases_of(view)}
        for name in sorted(bases):
            self._load(connection, name, words)
            for version, zone in self._zones_of(connection, name):
                self._sight.note(version, zone)

    def _zones_of(self, connection: duckdb.DuckDBPyConnection, table: str) -> Iterable[tuple[str, str]]:
        """Policy versions and zones of what is shown of a table."""
        if table in ("edges", "streams"):
            return self._trusted.execute(
                "SELECT DISTINCT policy_version, zone FROM runs WHERE shown"
            ).fetchall()
        if table not in _ZONED:
            return ()
        base = self._bases[table]
        found = {(version, zone) for version, zone, _ in base.classes}
        if base.mixed:
            found.update(
                connection.execute(f"SELECT DISTINCT policy_version, zone FROM kept_{table}").fetchall()  # noqa: S608 - a name of ours
            )
        return found

    def _bases_of(self, view: str) -> set[str]:
        definition = self._views[view]
        if not definition:
            return {view}
        return set(_FILES_OF.findall(definition)) | {
            name
            for name, base in self._bases.items()
            if base.schema == "main" and re.search(rf"\b{name}\b", definition)
        }

    def _look(self) -> None:
        """See which tables and views the catalog has."""
        run = self._trusted.execute
        ours = "WHERE database_name = 'store' AND NOT internal"
        self._views = dict(
            run(
                f"SELECT view_name, sql FROM duckdb_views() {ours} AND schema_name = 'main' ORDER BY view_oid"  # noqa: S608 - a constant
            ).fetchall()
        )
        for schema, table, column, kind in run(
            f"SELECT schema_name, table_name, column_name, data_type FROM duckdb_columns() {ours} "  # noqa: S608 - a constant
            "ORDER BY schema_name, table_name, column_index"
        ).fetchall():
            if schema == "files" or table not in self._views:
                self._bases.setdefault(table, _Base(schema, {})).columns[column] = kind

    def _judge(self) -> None:
        """Decide which classes the role is shown, and so which files it may open."""
        found = {
            number: (version, zone, label)
            for number, version, zone, label in self._trusted.execute("FROM store.main.classes").fetchall()
        }
        self._trusted.execute(
            "CREATE TEMP TABLE permitted (policy_version VARCHAR, zone VARCHAR, label VARCHAR)"
        )
        self._permit(found.values())
        shown = {number for number, key in found.items() if key in self._permitted}
        for file, digest, table, rows, classes in self._trusted.execute(
            "SELECT file, digest, table_name, rows, classes FROM store.main.segments "
            "ORDER BY first_epoch, file"
        ).fetchall():
            base = self._bases[table]
            # A file's classes do not say whose its rows are.
            if classes is not None and self._sight.role.name != "wearer" and shown.issuperset(classes):
                base.whole[file] = digest
                base.classes.update(found[number] for number in classes)
            else:
                base.mixed[file] = digest
                base.mixed_rows += rows

    def _listed(self, names: Iterable[str]) -> str:
        """Files of the store as a list in SQL, by absolute names."""
        return f"[{', '.join(quoted(str(self._directory / name)) for name in names)}]"

    def _rows_of(self, files: Iterable[str], base: _Base) -> str:
        """What to read FROM for the rows of some files of a table, without a search path; typed if none."""
        if listed := list(files):
            return f"read_parquet({self._listed(listed)})"
        columns = ", ".join(f'NULL::{kind} AS "{name}"' for name, kind in base.columns.items())
        return f"(SELECT {columns} WHERE false)"

    def _permit(self, classes: Iterable[Class]) -> None:
        shown = {key for key in classes if self._sight.permits(*key)} - self._permitted
        if shown:
            self._trusted.executemany("INSERT INTO permitted VALUES (?, ?, ?)", sorted(shown))
        self._permitted |= shown

    def _make(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Make every table, empty, and over them the views as the catalog defines them."""
        run = connection.execute
        run("BEGIN")
        run("CREATE SCHEMA files")
        run("CREATE SCHEMA kept")
        for table, base in self._bases.items():
            listed = ", ".join(f'"{column}" {kind}' for column, kind in base.columns.items())
            run(f"CREATE TABLE kept.{table} ({listed})")
            run(f"CREATE VIEW {base.schema}.{table} AS FROM kept.{table}")
        for definition in self._views.values():
            run(definition)
        for name in TOLD:
            kinds = self._trusted.execute(f"DESCRIBE FROM {name}()").fetchall()
            listed = ", ".join(f'"{column}" {kind}' for column, kind, *_ in kinds)
            run(f"CREATE TABLE kept.{name} ({listed})")
            run(f"CREATE MACRO main.{name}() AS TABLE FROM memory.kept.{name}")
        run("COMMIT")
        self._views |= {name: "" for name, base in self._bases.items() if base.schema == "main"}

    def _judge_runs(self) -> None:
        """Note there which runs of events the role is not shown, and of which streams it is shown any."""
        if self._runs_judged:
            return
        self._runs_judged = True
        runs = self._bases["zone_runs"]
        intact.check(self._directory, runs.whole | runs.mixed)
        run = self._trusted.execute
        run(
            "CREATE TEMP TABLE runs AS SELECT source, stream, revision, low, high, policy_version, "  # noqa: S608
            f"zone, {self._shown('zone_runs')} AS shown FROM {self._rows_of(runs.whole | runs.mixed, runs)}"
        )
        # As few that do not touch: then the last one that begins before a number tells of it.
        alike = "OVER (PARTITION BY source, stream, revision ORDER BY low, high"
        run(
            "CREATE TEMP TABLE hidden AS "  # noqa: S608 - names of ours
            "SELECT source, stream, revision, min(low) AS low, max(high) AS high "
            f"FROM (SELECT *, count(*) FILTER (low > before) {alike}) AS island FROM (SELECT *, "
            f"coalesce(max(high) {alike} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), -1) AS before "
            "FROM runs WHERE NOT shown)) GROUP BY source, stream, revision, island"
        )
        run("CREATE TEMP TABLE seen AS SELECT DISTINCT source, stream, revision FROM runs WHERE shown")

    def _shown(self, table: str) -> str:
        """Condition on rows of a table that stands in the store."""
        role = self._sight.role
        if table in SHOWN_TO and role.name not in SHOWN_TO[table]:
            return "false"
        if table in _ZONED:
            shown = f"(policy_version, zone, {_ZONED[table]}) IN (FROM permitted)"
            if role.name != "wearer" or table in ("models", "shadow"):
                return shown
            # A pseudonym is text that anybody may type.
            mine = quoted(role.wearer)
            return f"{shown} AND wearer IN ({mine if table == 'rejected' else mine + _NOBODYS})"
        if table == "streams":
            shown = "(source, stream) IN (SELECT (source, stream) FROM seen)"
            unseen = " OR (source, stream) NOT IN (SELECT (source, stream) FROM runs)"
            return shown + (unseen if role.name == "privacy-officer" else "")
        return "true" if table in _FOR_ALL or table in SHOWN_TO else "false"

    def _selected(self, table: str, columns: Iterable[str]) -> str:
        """Statement on the store's connection for what is shown of a table outside of its whole files."""
        base = self._bases[table]
        origin = (
            f"read_parquet({self._listed(base.mixed)})" if base.schema == "files" else f"store.main.{table}"
        )
        if table != "edges":
            return f"SELECT {', '.join(columns)} FROM {origin} WHERE {self._shown(table)}"  # noqa: S608 - names of ours
        last = {
            "child": "child_first + child_step * (child_count - 1)",
            "parent": "parent_first + parent_step * (child_count - 1) + parent_width - 1",
        }
        joins = " ".join(
            f"ASOF LEFT JOIN hidden {side} ON {side}.source = {side}_source "
            f"AND {side}.stream = {side}_stream AND {side}.revision = {side}_revision "
            f"AND {side}.low <= {last[side]}"
            for side in last
        )
        free = " AND ".join(
            f"coalesce({side}.high < {side}_first, true) "
            f"AND ({side}_source, {side}_stream, {side}_revision) IN (FROM seen)"
            for side in last
        )
        # The joins give rows in an order of their own.
        return f"SELECT {', '.join(columns)} FROM {origin} {joins} WHERE {free} ORDER BY ALL"  # noqa: S608 - names of ours

    def _load(self, connection: duckdb.DuckDBPyConnection, table: str, words: frozenset[str] | None) -> None:
        """Hand over what is shown of a table, and count what is not."""
        base = self._bases[table]
        spared = frozenset(
            name
            for name in base.columns
            if words is not None and not {name, name.removesuffix("_ns")} & (words | _COMPUTED)
        )
        known = self._loaded.get(table)
        if known is not None and known <= spared:
            return
        intact.check(self._directory, base.whole | base.mixed)
        if table in ("edges", "streams"):
            self._judge_runs()
        if table == "shadow":
            self._permit(
                self._trusted.execute(
                    f"SELECT DISTINCT policy_version, zone, '' FROM {self._rows_of(base.mixed, base)}"  # noqa: S608
                ).fetchall()
            )
        kept = self._hand_over(connection, table, spared) if base.mixed or base.schema == "main" else 0
        if known is None and base.schema == "files":
            self._sight.hide(table, base.mixed_rows - kept)
        listed = ", ".join(f'"{column}"' for column in base.columns)
        sources = [f"kept_{table}"] if kept else []
        if base.whole:
            sources.append(f"read_parquet({self._listed(base.whole)})")
        if sources:
            body = " UNION ALL ".join(f"SELECT {listed} FROM {source}" for source in sources)  # noqa: S608 - names of ours
            connection.execute(f"CREATE OR REPLACE VIEW {base.schema}.{table} AS {body}")
        self._loaded[table] = spared

    def _hand_over(self, connection: duckdb.DuckDBPyConnection, table: str, spared: frozenset[str]) -> int:
        """Put the rows of a table that the role is shown into its instance; their number."""
        columns = [
            f'NULL::{kind} AS "{name}"' if self._is_spared(table, name, spared) else f'"{name}"'
            for name, kind in self._bases[table].columns.items()
        ]
        rows = instance.keep(connection, f"kept_{table}", self._trusted.sql(self._selected(table, columns)))
        if rows is None:
            raise InputError(
                f"sql: what the role {self._sight.role} is shown of {table} takes more than "
                f"{limits.ROLE_ROWS_MB} MB to set apart, expected less; name the columns that you need, or "
                "ask about single events with `sightline ask`"
            )
        return rows

    def _is_spared(self, table: str, column: str, spared: frozenset[str]) -> bool:
        # How many rows an epoch added tells of those that are hidden.
        counts = table in ("epochs", "epoch_rows") and column == "rows"
        return column in spared or (counts and self._sight.role.name != "privacy-officer")

    def _tell(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Answer which views and columns there are, with their comments and nothing else of the catalog."""
        if self._told:
            return
        self._told = True
        for name, unsaid in TOLD.items():
            replaced = ", ".join(f"NULL AS {column}" for column in unsaid)
            rows = self._trusted.sql(
                f"SELECT * REPLACE ('memory' AS database_name, {replaced}) FROM {name}() "  # noqa: S608 - names of ours
                "WHERE database_name = 'store' AND schema_name = 'main' AND NOT internal"
            )
            instance.keep(connection, f"kept_{name}", rows)
            connection.execute(f"CREATE OR REPLACE MACRO main.{name}() AS TABLE FROM kept_{name}")
