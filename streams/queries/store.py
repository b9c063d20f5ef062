"""One published epoch, opened so that a question can read it and change nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import duckdb

from streams import limits
from streams.errors import InputError, UnavailableError
from streams.lineage.readable import READABLE
from streams.queries import export, grants, reads
from streams.queries.boundary import Boundary
from streams.queries.role import Role, Sight
from streams.queries.statement import Statement, first_line, quoted, read

_SQL = Path(__file__).with_name("sql")
#: Errors about the statement's own text, while it is not run yet; the others can quote values from the store.
_ABOUT_THE_TEXT = (
    duckdb.ParserException,
    duckdb.BinderException,
    duckdb.CatalogException,
)


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of an answer, at most ANSWER_ROWS_MAX; `more` says how many there are beyond them."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    more: int

    def dicts(self) -> list[dict[str, Any]]:
        """Rows by column name."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


@dataclass(frozen=True, slots=True)
class Span:
    """The numbers of one stream in one segment file."""

    file: str
    lowest: int
    highest: int


class Store:
    """An open epoch, for one thread at a time; use it in `with`.

    It stays the same epoch whatever the writer does.

    The segments of an epoch are kept for SUPERSEDED_GRACE_S seconds after a newer epoch replaced them; a
    reader that needs longer opens anew.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, directory: Path, epoch: int) -> None:
        self._connection, self.directory, self.epoch = connection, directory, epoch
        self.version = limits.STORE_VERSION
        self.sight: Sight | None = None
        self._boundary: Boundary | None = None
        self._spans: dict[tuple[str, str], dict[tuple[str, str], list[Span]]] = {}

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
            The catalog cannot be read, or is that of another version: unless `older`, for who reads only
            what all versions have. Or the role is not granted to the user who runs this (`grants`).
        """
        directory = directory.resolve()
        link = directory / "catalog.duckdb"
        if not link.exists():
            what = (
                "no epoch has been published yet; wait for the writer"
                if (directory / "hot.duckdb").exists()
                else "there is no store; name one with --store, or make one with `sightline demo`"
            )
            raise UnavailableError(f"{directory}: {what}")
        if role is not None:
            grants.require(directory, role)
        catalog = link.resolve()
        beside: duckdb.DuckDBPyConnection | None = None
        connection = duckdb.connect(
            config={
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
                "memory_limit": f"{limits.READER_MEMORY_MB}MB",
            }
        )
        try:
            connection.execute(f"ATTACH {quoted(str(catalog))} AS store (READ_ONLY)")
            # What a role is shown is read beside the questions, whose answers it may not disturb.
            beside = connection.cursor() if role is not None else None
            for one in (connection, beside):
                if one is not None:
                    one.execute(f"SET file_search_path = {quoted(str(directory))}")
                    one.execute("SET TimeZone = 'UTC'")
            connection.execute("USE store")
            connection.execute("SET parquet_metadata_cache = true")
            files = [file for (file,) in connection.execute("SELECT file FROM segments").fetchall()]
            # Both forms are asked for: as the views name them, and as the walks do.
            allowed = ", ".join(quoted(path) for file in files for path in (file, str(directory / file)))
            connection.execute(f"SET allowed_paths = [{allowed}]")
            connection.execute("SET enable_external_access = false")
            connection.execute("SET lock_configuration = true")
            newest = connection.execute("SELECT max(epoch) FROM epochs").fetchone() or (0,)
            (version,) = connection.execute("SELECT version FROM store.main.store").fetchone() or (0,)
        except duckdb.Error as error:
            connection.close()
            raise InputError(
                f"{catalog}: cannot be read as a store's catalog ({type(error).__name__}); "
                "is it whole, and DuckDB 1.5 or later?"
            ) from None
        if not older and version != limits.STORE_VERSION:
            connection.close()
            raise InputError(
                f"{directory}: found a store of version {version}, expected {limits.STORE_VERSION}; read it"
                " with the sightline that wrote it, or make it again from journals with `sightline replay`"
            )
        store = cls(connection, directory, newest[0])
        store.version = version
        if role is not None and beside is not None:
            store.sight = Sight(role, store.policies)
            store._boundary = Boundary(beside, directory, store.sight)
        return store

    @cached_property
    def policies(self) -> dict[str, str]:
        """Texts of the policies that decided, by version."""
        return dict(self.query("policies").rows)

    def close(self) -> None:
        """Let go of the epoch."""
        if self._boundary is not None:
            self._boundary.close()
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
            A read of restricted zones cannot be recorded.
        """
        statement = read(self._connection, text)
        if self._boundary is not None:
            self._boundary.admit(statement)
            self.record(text)
        return self._run(statement, limit)

    def shown(self, name: str) -> Rows:
        """Run the statement in `sql/<name>.sql` over what the role is shown; all rows."""
        if self._boundary is None:
            return self.query(name)
        statement = read(self._connection, _statement(name))
        self._boundary.admit(statement)
        return self._run(statement, limits.NUMBER_MAX)

    def export(self, path: Path) -> None:
        """Write what the role is shown into one file (`streams.queries.export`), and record that first.

        Raises
        ------
        InputError
            It cannot be written there, or takes too much memory; or the store was opened without a role.
        UnavailableError
            No room, a segment that is gone, or a read of restricted zones that cannot be recorded.
        """
        if self._boundary is None:
            raise InputError(f"{path}: an export is for a role, found none; name one with --role")
        export.write(self._boundary, path, lambda: self.record(f"snapshots export --out {path}"))

    def _run(self, statement: Statement, limit: int) -> Rows:
        connection = self._connection if self._boundary is None else self._boundary.connection
        try:
            # Only looks for what the statement names: no row is read.
            connection.sql(statement.text)
        except _ABOUT_THE_TEXT as error:
            raise InputError(f"sql: {first_line(error)}") from None
        except duckdb.Error as error:
            raise _unsaid(error) from None
        try:
            connection.execute(statement.text)
            columns = tuple(column[0] for column in connection.description or ())
            rows = connection.fetchmany(limit)
            more = 0
            while some := connection.fetchmany(10_000):
                more += len(some)
        except duckdb.Error as error:
            raise _unsaid(error) from None
        return Rows(columns, rows, more)

    def query(self, name: str, parameters: Mapping[str, Any] | None = None) -> Rows:
        """Run the statement in `sql/<name>.sql`; columns by their names there, all rows."""
        self._connection.execute(_statement(name), dict(parameters or {}))
        columns = tuple(column[0] for column in self._connection.description or ())
        return Rows(columns, self._connection.fetchall(), 0)

    def sift(self, rows: Iterable[dict[str, Any]], table: str) -> list[dict[str, Any]]:
        """Rows of a table, or what is told of them, that the role is shown; all of them without a role."""
        return list(rows) if self.sight is None else self.sight.sift(rows, table)

    @cached_property
    def unreadable(self) -> dict[str, int]:
        """Rows by table that nobody can work with and that every answer leaves out; most stores have none."""
        found = {}
        held = f"SELECT table_name, rows FROM segments WHERE table_name IN {tuple(READABLE)}"  # noqa: S608 - names
        for table, rows in self._connection.execute(
            f"SELECT table_name, sum(rows)::BIGINT FROM ({held}) GROUP BY table_name"  # noqa: S608 - a constant
        ).fetchall():
            left = self._connection.execute(
                f"SELECT count(*) FROM files.{table} WHERE {READABLE[table]}"  # noqa: S608 - names from TABLES
            ).fetchone() or (0,)
            if rows > left[0]:
                found[table] = rows - left[0]
        return found

    @property
    def left_out(self) -> list[str]:
        """Sentences about what no answer holds because it cannot be read or judged; none of most stores."""
        said = []
        if self.unreadable:
            counts = ", ".join(f"{count:,} {table}" for table, count in sorted(self.unreadable.items()))
            said.append(
                f"{sum(self.unreadable.values()):,} rows of the store cannot be read and are left out of "
                f"every answer ({counts}): found values that no agent writes; make the store again from "
                "glasses.lineage with the sightline of today, which refuses them"
            )
        if self.sight is not None and self.sight.unknown:
            said.append(
                f"what {len(self.sight.unknown):,} policies decided cannot be judged and is not shown: the "
                "store has no text that is theirs; find out who wrote to glasses.lineage"
            )
        return said

    @property
    def hidden(self) -> dict[str, str]:
        """How much was kept back from the role so far, in bands by what it is; empty without a role."""
        return {} if self.sight is None else self.sight.bands

    def record(self, question: str) -> None:
        """Record that `question` shows the role something of the restricted zones that `sight` noted.

        UnavailableError if it cannot.
        """
        if self.sight is not None:
            reads.record(self.directory, str(self.sight.role), question, self.sight.restricted)

    def files_with(self, table: str, role: str, source: str, stream: str, low: int, high: int) -> list[str]:
        """Absolute paths of a table's segments in which the stream has numbers between `low` and `high`."""
        spans = self._spans_of(table, role)
        return [
            span.file
            for span in spans.get((source, stream), ())
            if span.lowest <= high and span.highest >= low
        ]

    def streams_of(self, table: str) -> frozenset[tuple[str, str]]:
        """Streams (source, stream) that a table has rows about."""
        return frozenset(self._spans_of(table, "own"))

    def _spans_of(self, table: str, role: str) -> dict[tuple[str, str], list[Span]]:
        spans = self._spans.get((table, role))
        if spans is None:
            spans = self._spans[table, role] = {}
            for file, source, stream, lowest, highest in self.query(
                "spans", {"table": table, "role": role}
            ).rows:
                spans.setdefault((source, stream), []).append(
                    Span(str(self.directory / file), lowest, highest)
                )
        return spans


def _unsaid(error: duckdb.Error) -> InputError:
    if isinstance(error, duckdb.PermissionException):
        return InputError(
            "sql: it reaches for a file outside the store; only the store's own tables can be read"
        )
    return InputError(
        f"sql: DuckDB stopped with a {type(error).__name__} (its text can hold values of "
        "the store and is not repeated)"
    )


@cache
def _statement(name: str) -> str:
    text = (_SQL / f"{name}.sql").read_text(encoding="utf-8")
    return re.sub(r"\breadable_(\w+)", lambda found: READABLE[found[1]], text)
