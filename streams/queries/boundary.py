"""A role's own DuckDB: statements of people run in it, and rows that the role is not shown are not in it.

It is a database instance of its own, in memory, without the store's catalog. It can open those segments all
of whose rows the role is shown, by their names alone; of the others the store's own connection hands over the
rows that the policies show, of the tables that a statement reads. So neither a condition nor an
error can depend on hidden rows, and there is no filter to get around. How rows lie in files does depend on
their hidden neighbours: that shows in how long a statement takes, and in the order of rows where none was
asked for, with results that depend on that order (approximate quantiles, sums of floating numbers).

Which classes (policy version, zone, label) are shown is decided by `role.RoleFilter`. An edge is shown where
no event of its run, on either side, is hidden: of a run that is hidden in part nothing is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path

import duckdb

from streams import limits
from streams.errors import InputError
from streams.queries import instance
from streams.queries.layout import Base, Class, Layout
from streams.queries.role import SHOWN_TO, RoleFilter
from streams.queries.statement import Statement
from streams.quoting import quoted

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
#: Columns that say what the zones of rows are: what is shown of them is noted.
_NOTED = frozenset({"policy_version", "zone"})
_NOBODYS = ", ''"


class Boundary:
    """The role's instance, made when the first statement is admitted; close it with the store.

    Parameters
    ----------
    trusted
        A connection to the store, attached as `store`, that no statement of anybody runs on.
    directory
        The store's.
    check
        Raises when files, by name with their digests, are not as the writer left them.
    upto_epoch
        What came later is not there; None for the whole store.
    """

    def __init__(
        self,
        trusted: duckdb.DuckDBPyConnection,
        directory: Path,
        role_filter: RoleFilter,
        check: Callable[[Mapping[str, str]], None],
        upto_epoch: int | None = None,
    ) -> None:
        self._trusted, self._directory, self._role_filter, self._check = (
            trusted,
            directory,
            role_filter,
            check,
        )
        self._upto_epoch = upto_epoch
        self._own: duckdb.DuckDBPyConnection | None = None
        self._permitted: set[Class] = set()
        #: Tables that were handed over, and the columns that were left out of them.
        self._loaded: dict[str, frozenset[str]] = {}
        self._runs_judged = False

    @cached_property
    def _layout(self) -> Layout:
        return Layout(self._trusted)

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """Connection to the role's instance."""
        if self._own is None:
            self._judge()
            self._own = instance.make(
                self._listed(file for base in self._layout.bases.values() for file in base.whole)
            )
            self._layout.begin(self._own)
        return self._own

    def close(self) -> None:
        """Forget the rows that were handed over."""
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
        connection, layout = self.connection, self._layout
        named = statement.views(
            frozenset(layout.views), lambda: instance.names_in(connection) | layout.views.keys()
        )
        if statement.tells:
            layout.tell(connection)
        words = None if statement.words is None else statement.words | layout.computed(named)
        for name in sorted({base for view in named for base in layout.bases_of(view)}):
            self._load(connection, name, words)
            for version, zone in self._zones_of(connection, name):
                self._role_filter.note(version, zone)
        layout.make_views(connection, named)

    def _zones_of(self, connection: duckdb.DuckDBPyConnection, table: str) -> Iterable[tuple[str, str]]:
        """Policy versions and zones of what is shown of a table."""
        if table in ("edges", "streams"):
            return self._trusted.execute(
                "SELECT DISTINCT policy_version, zone FROM runs WHERE shown"
            ).fetchall()
        if table not in _ZONED:
            return ()
        base = self._layout.bases[table]
        zones = {(version, zone) for version, zone, _ in base.classes}
        if base.mixed:
            zones.update(
                connection.execute(f"SELECT DISTINCT policy_version, zone FROM kept_{table}").fetchall()  # noqa: S608 - a name of ours
            )
        return zones

    def _judge(self) -> None:
        """Decide which classes the role is shown, and so which files it may open."""
        classes_by_number = {
            number: (version, zone, label)
            for number, version, zone, label in self._trusted.execute("FROM store.main.classes").fetchall()
        }
        self._trusted.execute(
            "CREATE TEMP TABLE permitted (policy_version VARCHAR, zone VARCHAR, label VARCHAR)"
        )
        self._permit(classes_by_number.values())
        shown = {number for number, key in classes_by_number.items() if key in self._permitted}
        for file, digest, table, rows, classes in self._trusted.execute(
            "SELECT file, digest, table_name, rows, classes FROM store.main.segments "
            "ORDER BY first_epoch, file"
        ).fetchall():
            base = self._layout.bases[table]
            # A file's classes do not say whose its rows are.
            if classes is not None and self._role_filter.role.name != "wearer" and shown.issuperset(classes):
                base.whole[file] = digest
                base.classes.update(classes_by_number[number] for number in classes)
            else:
                base.mixed[file] = digest
                base.mixed_rows += rows

    def _listed(self, names: Iterable[str]) -> str:
        """Files of the store as a list in SQL, by absolute names."""
        return f"[{', '.join(quoted(str(self._directory / name)) for name in names)}]"

    def _rows_of(self, files: Iterable[str], base: Base) -> str:
        """What to read FROM for the rows of some files of a table, without a search path; typed if none."""
        if listed := list(files):
            return f"read_parquet({self._listed(listed)})"
        columns = ", ".join(f'NULL::{kind} AS "{name}"' for name, kind in base.columns.items())
        return f"(SELECT {columns} WHERE false)"

    def _permit(self, classes: Iterable[Class]) -> None:
        shown = {key for key in classes if self._role_filter.permits(*key)} - self._permitted
        if shown:
            # As text: binding so many values takes DuckDB ten times as long.
            rows = ", ".join(f"({', '.join(map(quoted, key))})" for key in sorted(shown))
            self._trusted.execute(f"INSERT INTO permitted VALUES {rows}")  # noqa: S608 - quoted
        self._permitted |= shown

    def _judge_runs(self) -> None:
        """Note there which runs of events the role is not shown, and of which streams it is shown any."""
        if self._runs_judged:
            return
        self._runs_judged = True
        runs = self._layout.bases["zone_runs"]
        self._check(runs.files)
        run = self._trusted.execute
        run(
            "CREATE TEMP TABLE runs AS SELECT source, stream, revision, low, high, policy_version, "  # noqa: S608
            f"zone, {self._shown('zone_runs')} AS shown FROM {self._rows_of(runs.files, runs)}"
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
        role = self._role_filter.role
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
        base = self._layout.bases[table]
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
        base = self._layout.bases[table]
        self._check(base.files)
        own = f"read_parquet({self._listed(base.files)})" if base.files else f"store.{base.schema}.{table}"
        self._layout.make_table(connection, table, own)
        spared = frozenset(
            name
            for name in base.columns
            if words is not None
            # `t_ns` also goes by `t`.
            and not {name, name.removesuffix("_ns")} & words
            and not (table in _ZONED and name in _NOTED)
            and not (name == "epoch" and self._upto_epoch is not None)
        )
        known = self._loaded.get(table)
        if known is not None and known <= spared:
            return
        if table in ("edges", "streams"):
            self._judge_runs()
        if table == "shadow":
            self._permit(
                self._trusted.execute(
                    f"SELECT DISTINCT policy_version, zone, '' FROM {self._rows_of(base.mixed, base)}"  # noqa: S608
                ).fetchall()
            )
        kept = 0
        if base.mixed or base.schema == "main":
            # What earlier statements needed stays, as far as there is room: people ask alike things in turn.
            kept, spared = self._hand_over(connection, table, spared, known)
        if known is None and base.schema == "files":
            self._role_filter.hide(table, base.mixed_rows - kept)
        listed = ", ".join(f'"{column}"' for column in base.columns)
        sources = [f"kept_{table}"] if kept else []
        if base.whole:
            sources.append(f"read_parquet({self._listed(base.whole)})")
        if sources:
            until = "" if self._upto_epoch is None else f" WHERE epoch <= {self._upto_epoch}"
            # What has no epoch stands for all of the store.
            until = until if "epoch" in base.columns else ""
            body = " UNION ALL ".join(f"SELECT {listed} FROM {source}{until}" for source in sources)  # noqa: S608 - names of ours
            connection.execute(f"CREATE OR REPLACE VIEW {base.schema}.{table} AS {body}")
        self._loaded[table] = spared

    def _hand_over(
        self,
        connection: duckdb.DuckDBPyConnection,
        table: str,
        spared: frozenset[str],
        known: frozenset[str] | None,
    ) -> tuple[int, frozenset[str]]:
        """Put the rows of a table that the role is shown into its instance; their number, and what is spared.

        That is no column that earlier statements needed too (all but `known`), unless there is no room.
        """
        for left_out in dict.fromkeys((spared if known is None else spared & known, spared)):
            columns = [
                f'NULL::{kind} AS "{name}"' if self._is_spared(table, name, left_out) else f'"{name}"'
                for name, kind in self._layout.bases[table].columns.items()
            ]
            rows = self._trusted.sql(self._selected(table, columns))
            kept = instance.keep(connection, f"kept_{table}", rows)
            if kept is not None:
                return kept, left_out
        raise InputError(
            f"sql: what the role {self._role_filter.role} is shown of {table} takes more than "
            f"{limits.ROLE_ROWS_MB} MB to set apart, expected less; name the columns that you need, or ask "
            "about single events with `sightline ask`"
        )

    def _is_spared(self, table: str, column: str, spared: frozenset[str]) -> bool:
        # How many rows an epoch added tells of those that are hidden.
        counts = table in ("epochs", "epoch_rows") and column == "rows"
        return column in spared or (counts and self._role_filter.role.name != "privacy-officer")
