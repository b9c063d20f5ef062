"""A DuckDB instance for one role, which runs users' statements and does not contain hidden rows.

The instance is in memory, without the store's catalog. It can open those segments, by exact names, of which
the role may see all rows. From other segments the store's trusted connection copies the visible rows of the
tables that a statement reads. So neither a condition nor an error can depend on hidden rows, and there is no
filter to circumvent. The layout of files does depend on hidden rows. This can be observed in how long a
statement takes, and in the order of rows without ORDER BY, including results that depend on that order
(approximate quantiles, sums of floating-point numbers).

`role.RoleFilter` decides which classes (policy version, zone, label) are visible. A run of edges is visible
only if no event of it, on either side, is hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path

import duckdb

from streams import limits
from streams.errors import InputError
from streams.queries import instance
from streams.queries.extent import Extent
from streams.queries.layout import Base, Class, Layout
from streams.queries.role import SHOWN_TO, RoleFilter
from streams.queries.statement import Statement
from streams.quoting import quoted

#: Tables whose rows have a class, with the column of their label; rejections have no label.
LABEL_OF: Mapping[str, str] = {
    "events": "label",
    "decisions": "label",
    "models": "label",
    "zone_runs": "label",
    "rejected": "''",
    "shadow": "''",
    "feedback": "label",
}
#: Those of them whose files do not say the classes of their rows.
_UNCLASSED = frozenset({"shadow", "feedback"})
#: Tables without personal data.
_FOR_ALL = frozenset({"policies", "vocabularies", "store", "epochs", "epoch_rows", "io_coverage"})
#: Columns with the zones of rows, which are needed to note the zones that a statement may show.
_NOTED = frozenset({"policy_version", "zone"})
#: Of each class how long it is kept: what views leave out by it is of classes that the role may see.
_KEEPING = "keeping"
_NOBODYS = ", ''"


class Boundary:
    """The role's instance, made when the first statement is admitted; close it with the store.

    Parameters
    ----------
    trusted
        A connection to the store, attached as `store`, on which no user's statement runs.
    directory
        Directory of the store.
    check
        Raises if files (names with digests) are not as the writer wrote them.
    extent
        Which rows of the segments to include.
    """

    def __init__(
        self,
        trusted: duckdb.DuckDBPyConnection,
        directory: Path,
        role_filter: RoleFilter,
        check: Callable[[Mapping[str, str]], None],
        extent: Extent,
    ) -> None:
        self._trusted, self._directory, self._role_filter, self._check = (
            trusted,
            directory,
            role_filter,
            check,
        )
        self._extent = extent
        self._own: duckdb.DuckDBPyConnection | None = None
        self._permitted: set[Class] = set()
        #: Tables that were loaded, and the columns that were left out of each.
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
        """Close the instance."""
        if self._own is not None:
            self._own.close()

    def admit(self, statement: Statement) -> None:
        """Load the visible rows that a statement reads, count the hidden ones, and note the zones.

        Raises
        ------
        InputError
            The statement reads something other than views, or the visible rows take too much memory.
        DamagedError
            A file that it reads is not as the writer wrote it.
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
        """(policy version, zone) of the visible rows of a table."""
        if table in ("edges", "streams"):
            return self._trusted.execute(
                "SELECT DISTINCT policy_version, zone FROM runs WHERE shown"
            ).fetchall()
        if table not in LABEL_OF:
            return ()
        base = self._layout.bases[table]
        zones = {(version, zone) for version, zone, _ in base.classes}
        if base.mixed:
            zones.update(
                connection.execute(f"SELECT DISTINCT policy_version, zone FROM kept_{table}").fetchall()  # noqa: S608 - a name of ours
            )
        return zones

    def _judge(self) -> None:
        """Decide which classes the role may see, and thereby which files it may open."""
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
            # Not for wearers: the classes of a file do not include the wearers of its rows.
            if classes is not None and self._role_filter.role.name != "wearer" and shown.issuperset(classes):
                base.whole[file] = digest
                base.classes.update(classes_by_number[number] for number in classes)
            else:
                base.mixed[file] = digest
                base.mixed_rows += rows

    def _listed(self, names: Iterable[str]) -> str:
        """Absolute paths of files as a list in SQL."""
        return f"[{', '.join(quoted(str(self._directory / name)) for name in names)}]"

    def _rows_of(self, files: Iterable[str], base: Base) -> str:
        """FROM clause for the rows of files of a table, by absolute paths; an empty typed table if none."""
        if listed := list(files):
            return f"read_parquet({self._listed(listed)})"
        columns = ", ".join(f'NULL::{kind} AS "{name}"' for name, kind in base.columns.items())
        return f"(SELECT {columns} WHERE false)"

    def _permit(self, classes: Iterable[Class]) -> None:
        shown = {key for key in classes if self._role_filter.permits(*key)} - self._permitted
        if shown:
            # As literals, because binding as many parameters takes DuckDB ten times as long.
            rows = ", ".join(f"({', '.join(map(quoted, key))})" for key in sorted(shown))
            self._trusted.execute(f"INSERT INTO permitted VALUES {rows}")  # noqa: S608 - quoted
        self._permitted |= shown

    def _judge_runs(self) -> None:
        """Make tables, on the trusted connection, of hidden runs and of streams with visible runs."""
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
        # Merged until disjoint, so that only the last run that begins before a number can contain it.
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
        """SQL condition for the visible rows of a table of the store."""
        role = self._role_filter.role
        if table in SHOWN_TO and role.name not in SHOWN_TO[table]:
            return "false"
        if table in LABEL_OF:
            shown = f"(policy_version, zone, {LABEL_OF[table]}) IN (FROM permitted)"
            if role.name != "wearer" or table in ("models", "shadow"):
                return shown
            # Quoted, because the pseudonym is untrusted input.
            mine = quoted(role.wearer)
            return f"{shown} AND wearer IN ({mine if table == 'rejected' else mine + _NOBODYS})"
        if table == _KEEPING:
            return "(policy_version, zone, label) IN (FROM permitted)"
        if table == "streams":
            shown = "(source, stream) IN (SELECT (source, stream) FROM seen)"
            unseen = " OR (source, stream) NOT IN (SELECT (source, stream) FROM runs)"
            return shown + (unseen if role.name == "privacy-officer" else "")
        return "true" if table in _FOR_ALL or table in SHOWN_TO else "false"

    def _selected(self, table: str, columns: Iterable[str]) -> str:
        """Statement, for the trusted connection, that selects the visible rows outside of `whole` files."""
        base = self._layout.bases[table]
        origin = (
            self._extent.counted(f"read_parquet({self._listed(base.mixed)})")
            if base.schema == "files"
            else f"store.main.{table}"
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
        # Sorted, because the joins return rows in an arbitrary order.
        return f"SELECT {', '.join(columns)} FROM {origin} {joins} WHERE {free} ORDER BY ALL"  # noqa: S608 - names of ours

    def _load(self, connection: duckdb.DuckDBPyConnection, table: str, words: frozenset[str] | None) -> None:
        """Load the visible rows of a table, and count the hidden ones."""
        base = self._layout.bases[table]
        self._check(base.files)
        own = f"read_parquet({self._listed(base.files)})" if base.files else f"store.{base.schema}.{table}"
        self._layout.make_table(connection, table, own)
        spared = frozenset(
            name
            for name in base.columns
            if words is not None
            # A view may offer the column `t_ns` as `t`.
            and not {name, name.removesuffix("_ns")} & words
            and not (table in LABEL_OF and name in _NOTED)
            and not (name == "epoch" and self._extent.is_past)
        )
        known = self._loaded.get(table)
        if known is not None and known <= spared:
            return
        if table in ("edges", "streams"):
            self._judge_runs()
        if table in _UNCLASSED:
            rows = self._rows_of(base.mixed, base)
            classes = f"SELECT DISTINCT policy_version, zone, {LABEL_OF[table]} FROM {rows}"  # noqa: S608
            self._permit(self._trusted.execute(classes).fetchall())
        kept = 0
        if base.mixed or base.schema == "main":
            # Columns that earlier statements needed are kept if there is room, because people often ask
            # similar questions in turn.
            kept, spared = self._hand_over(connection, table, spared, known)
        if known is None and base.schema == "files":
            self._role_filter.hide(table, base.mixed_rows - kept)
        listed = ", ".join(f'"{column}"' for column in base.columns)
        sources = [f"kept_{table}"] if kept else []
        if base.whole:
            sources.append(self._extent.counted(f"read_parquet({self._listed(base.whole)})"))
        if sources:
            # Rows of tables without an epoch apply to all epochs.
            is_cut = self._extent.is_past and "epoch" in base.columns
            until = f" WHERE {self._extent.condition}" if is_cut else ""
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
        """Copy the visible rows of a table to the instance; return their number and the columns left out.

        Columns that earlier statements needed (all but `known`) are copied too if there is room.
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
        # The number of rows that an epoch added would reveal how many are hidden.
        counts = table in ("epochs", "epoch_rows") and column == "rows"
        return column in spared or (counts and self._role_filter.role.name != "privacy-officer")
