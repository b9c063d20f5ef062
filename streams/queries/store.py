"""One published epoch, opened so that a question can read it and change nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import duckdb

from streams import limits
from streams.errors import InputError
from streams.queries import audit, grants, intact
from streams.queries.lookup import CATALOG, Lookup
from streams.queries.newest import catalog_name, newest_catalog
from streams.queries.past import as_of
from streams.queries.role import ClassedT, Role, RoleFilter
from streams.queries.rows import EpochRow, ModelRow
from streams.queries.statement import OUTSIDE, Statement, first_line, read, unsaid
from streams.queries.version import refuse_version
from streams.quoting import quoted

if TYPE_CHECKING:
    from streams.queries.boundary import Boundary
    from streams.queries.table import Table

_OPENED = "SELECT version, (SELECT max(epoch) FROM store.main.epoch_rows) FROM store.main.store"
_SQL = Path(__file__).with_name("sql")
#: Errors about the statement's own text, while it is not run yet; the others can quote values from the store.
_ABOUT_THE_TEXT = (
    duckdb.ParserException,
    duckdb.BinderException,
    duckdb.CatalogException,
)
_WORD = re.compile(r"\w+")
#: Where a view's rows come from, if not from the table of the same name.
_TABLE_OF = {"event_records": "events", "edge_records": "edges"}
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of an answer, at most ANSWER_ROWS_MAX; `more` says how many there are beyond them."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    more: int

    def dicts(self) -> list[dict[str, Any]]:
        """Rows by column name."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]

    def of(self, kind: Callable[..., T]) -> list[T]:
        """Rows as values of a type that has the columns as its fields."""
        return [kind(**row) for row in self.dicts()]


class Store:
    """An open epoch, for one thread at a time; use it in `with`.

    It stays the same epoch whatever the writer does.

    The segments of an epoch are kept for SUPERSEDED_GRACE_S seconds after a newer epoch replaced them; a
    reader that needs longer opens anew.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        directory: Path,
        catalog: Path,
        epoch: int,
        version: int,
        role: Role | None,
    ) -> None:
        self._connection, self._role = connection, role
        self.directory, self.catalog, self.epoch, self.version = directory, catalog, epoch, version
        self.lookup = Lookup(connection, directory, catalog, version)
        self._bounded: Boundary | None = None
        self.is_past = False

    @classmethod
    def open(cls, directory: Path, role: Role | None = None, *, older: bool = False) -> Store:
        """Open the newest epoch of the store in `directory`, for a role.

        Without one all of it is read: that is for programs which judge the store (ledger, replay, recheck),
        and answers to people are given under a role.

        The catalog is opened under its epoch's own name: within a process DuckDB would hand out an older
        epoch for a name that has moved. Files outside the directory cannot be read, settings cannot be
        changed.

        Raises
        ------
        UnavailableError
            There is no store, or no epoch yet.
        InputError
            The store is of another version: unless `older`, for who reads only what all versions have. Or
            the role is not granted to the user who runs this (`grants`).
        DamagedError
            The catalog is missing, lies elsewhere, or is not what the writer wrote.
        """
        directory = directory.resolve()
        catalog = newest_catalog(directory)
        if role is not None:
            grants.require(directory, role)
        connection = duckdb.connect(
            config={
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
                "memory_limit": f"{limits.READER_MEMORY_MB}MB",
            }
        )
        try:
            connection.execute(f"ATTACH {quoted(str(catalog))} AS store (READ_ONLY)")
            version, epoch = connection.execute(_OPENED).fetchone() or (0, 0)
            if not older:
                refuse_version(directory, version)
            store = cls(connection, directory, catalog, epoch or 0, version, role)
            store._fence()
        except duckdb.Error as error:
            connection.close()
            raise intact.damaged(
                catalog,
                f"found a file that cannot be read as a store's catalog ({type(error).__name__}), expected a "
                "whole one, and DuckDB 1.5 or later",
            ) from None
        except BaseException:
            connection.close()
            raise
        return store

    def look_back(self, epoch: int) -> None:
        """Answer as of an epoch that is kept (`streams.queries.moments`); to be called before any question.

        Questions are answered under today's roles and policies. Statements of people (`sql`) read what the
        role's own views show, which is the past too under a role.
        """
        self.epoch, self.is_past = epoch, True
        self.lookup.look_back(epoch)

    def _fence(self) -> None:
        """Let the connection read what lies in the segments' directory, and change nothing any more."""
        if self.version == limits.STORE_VERSION and self.catalog.name not in (
            CATALOG,
            catalog_name(self.epoch),
        ):
            raise intact.damaged(self.catalog, f"found the catalog of epoch {self.epoch}")
        # Views name the segments relative to the store, questions where they lie.
        within = f"'segments', {quoted(str(self.directory / 'segments'))}"
        self._connection.execute(
            f"SET file_search_path = {quoted(str(self.directory))}; SET TimeZone = 'UTC'; USE store; "
            f"SET parquet_metadata_cache = true; SET allowed_directories = [{within}]; "
            "SET enable_external_access = false; SET lock_configuration = true"
        )

    @cached_property
    def role_filter(self) -> RoleFilter | None:
        """What the role is shown; None without one."""
        return None if self._role is None else RoleFilter(self._role, self.policies)

    @property
    def _boundary(self) -> Boundary | None:
        """Where the role's own statements run; None without a role."""
        if self.role_filter is not None and self._bounded is None:
            # Questions do without it, and without Arrow.
            from streams.queries.boundary import Boundary  # noqa: PLC0415

            # What a role is shown is read beside the questions, whose answers it may not disturb.
            self._bounded = Boundary(
                self._connection.cursor(),
                self.directory,
                self.role_filter,
                self.lookup.check,
                self.epoch if self.is_past else None,
            )
        return self._bounded

    @cached_property
    def policies(self) -> dict[str, str]:
        """Texts of the policies that decided, by version."""
        return dict(self.query("policies").rows)

    def close(self) -> None:
        """Let go of the epoch."""
        if self._bounded is not None:
            self._bounded.close()
        self._connection.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def sql(self, text: str, limit: int = limits.ANSWER_ROWS_MAX) -> Rows:
        """Run one SELECT on the published store and return at most `limit` rows.

        Under a role it runs where nothing is that the role is not shown; `hidden` says how much of what the
        statement reads is kept back, and what it may show of restricted zones is recorded first.

        Raises
        ------
        InputError
            It is not exactly one statement that only reads, reaches past what the role is shown, or DuckDB
            refused it. Values of the store are not repeated.
        UnavailableError
            A read of restricted zones cannot be recorded, the statement needs too much memory, or files of
            the epoch are gone.
        """
        statement = self._admitted(text)
        self.record(text)
        return self._run(statement, limit)

    def table(self, text: str) -> Table:
        """Run one SELECT as `sql` does and return all of its rows, which stay in Arrow.

        InputError also where they take more than TABLE_MB megabytes.
        """
        # Questions do without Arrow.
        from streams.queries.table import Table  # noqa: PLC0415

        statement = self._admitted(text)
        self.record(text)
        try:
            return Table.read(self._bound(statement))
        except duckdb.Error as error:
            raise unsaid(error) from None

    def shown(self, name: str, parameters: Mapping[str, Any] | None = None) -> Rows:
        """Run the statement in `sql/<name>.sql` over what the role is shown; all rows."""
        if self._boundary is None:
            return self.query(name, parameters)
        statement = read(self._connection, _statement(name))
        with self.lookup.reading():
            self._boundary.admit(statement)
        return self._run(statement, limits.NUMBER_MAX, parameters)

    def export(self, path: Path) -> None:
        """Write what the role is shown into one file (`streams.queries.export`), and record that first.

        Raises
        ------
        InputError
            It cannot be written there, or takes too much memory; or the store was opened for asking.
        UnavailableError
            No room, a segment that is gone, or a read of restricted zones that cannot be recorded.
        """
        if self.role_filter is None or not self.role_filter.role.exporting:
            raise InputError(f"{path}: found a store that is open for asking, expected a role that exports")
        from streams.queries.export import Exporting  # noqa: PLC0415 - few export

        with closing(
            Exporting(self._connection.cursor(), self.directory, self.role_filter, self.lookup.check)
        ) as whole:
            whole.write(path, lambda: self.record(f"snapshots export --out {path}"))

    def arrays(self, text: str) -> dict[str, Any]:
        """Run one SELECT as `sql` does; return all of its rows, a NumPy array a column. No value may be NULL.

        For counting over the whole store: a row costs its numbers, no objects of Python's.
        """
        try:
            return self._executed(self._admitted(text)).fetchnumpy()
        except duckdb.Error as error:
            raise unsaid(error) from None

    def _admitted(self, text: str) -> Statement:
        """A statement of a person's, when all that it may read is in place; InputError as `sql` says."""
        statement = read(self._connection, text)
        if self._boundary is not None:
            with self.lookup.reading():
                self._boundary.admit(statement)
            return statement
        # DuckDB looks where a path begins, not where it leads.
        if statement.names_files:
            raise InputError(OUTSIDE)
        self.check(text)
        return statement

    def _run(self, statement: Statement, limit: int, parameters: Mapping[str, Any] | None = None) -> Rows:
        connection = self._executed(statement, parameters)
        try:
            columns = tuple(column[0] for column in connection.description or ())
            rows = connection.fetchmany(limit)
            more = 0
            while some := connection.fetchmany(10_000):
                more += len(some)
        except duckdb.Error as error:
            raise unsaid(error) from None
        return Rows(columns, rows, more)

    @property
    def _asked(self) -> duckdb.DuckDBPyConnection:
        """Where statements of people run."""
        return self._connection if self._boundary is None else self._boundary.connection

    def _bound(
        self, statement: Statement, parameters: Mapping[str, Any] | None = None
    ) -> duckdb.DuckDBPyRelation:
        """Look for what a statement names; no row is read."""
        try:
            return self._asked.sql(statement.text, params=parameters)
        except _ABOUT_THE_TEXT as error:
            raise InputError(f"sql: {first_line(error)}") from None
        except duckdb.Error as error:
            raise unsaid(error) from None

    def _executed(
        self, statement: Statement, parameters: Mapping[str, Any] | None = None
    ) -> duckdb.DuckDBPyConnection:
        self._bound(statement, parameters)
        try:
            return self._asked.execute(statement.text, parameters)
        except duckdb.Error as error:
            raise unsaid(error) from None

    def query(
        self, name: str, parameters: Mapping[str, Any] | None = None, files: Iterable[str] = ()
    ) -> Rows:
        """Run the statement in `sql/<name>.sql`; columns by their names there, all rows.

        `files` are the segments that it reads as `$files`, if it does not read whole tables.
        """
        statement = _statement(name)
        self.check(statement)
        if self.is_past:
            statement = as_of(statement, self.epoch)
        given = {**(parameters or {}), **({"files": self.lookup.paths(files)} if files else {})}
        rows = self.lookup.rows(statement, given)
        return Rows(tuple(column[0] for column in self._connection.description or ()), rows, 0)

    def check(self, statement: str) -> None:
        """Compare the segments of every table that a statement may read with their digests.

        DamagedError if one is not as it was written.
        """
        words = {_TABLE_OF.get(word, word) for word in _WORD.findall(statement.lower())}
        self.lookup.paths(file for file, (table, _) in self.lookup.segments.items() if table in words)

    @cached_property
    def models(self) -> dict[tuple[str, str], dict[int, ModelRow]]:
        """Rows of all model versions, by stream and version."""
        models: dict[tuple[str, str], dict[int, ModelRow]] = {}
        for row in self.query("models").of(ModelRow):
            models.setdefault((row.source, row.stream), {})[row.version] = row
        return models

    @cached_property
    def newest(self) -> EpochRow:
        """The epoch that is open."""
        return self.query("newest_epoch").of(EpochRow)[0]

    @cached_property
    def kinds(self) -> dict[tuple[str, str], str]:
        """Kind of every stream."""
        return {(source, stream): kind for source, stream, kind, _ in self.query("kinds").rows}

    def sift(self, rows: Iterable[ClassedT], table: str, *, counted: bool = True) -> list[ClassedT]:
        """Rows of a table, or what is told of them, that the role is shown; all of them without a role."""
        return list(rows) if self.role_filter is None else self.role_filter.sift(rows, table, counted=counted)

    @property
    def left_out(self) -> list[str]:
        """Sentences about what no answer holds because it cannot be judged; none of most stores."""
        unknown = 0 if self.role_filter is None else len(self.role_filter.unknown)
        if not unknown:
            return []
        return [
            f"what {unknown:,} policies decided cannot be judged and is not shown: the store has no text "
            "that is theirs; find out who wrote to glasses.lineage"
        ]

    @property
    def hidden(self) -> dict[str, str]:
        """How much was kept back from the role so far, in bands by what it is; empty without a role."""
        return {} if self.role_filter is None else self.role_filter.bands

    def record(self, question: str) -> None:
        """Record that `question` shows the role something of the restricted zones that `role_filter` noted.

        UnavailableError if it cannot.
        """
        if self.role_filter is not None:
            audit.record(self.directory, str(self.role_filter.role), question, self.role_filter.restricted)


@cache
def _statement(name: str) -> str:
    return (_SQL / f"{name}.sql").read_text(encoding="utf-8")
