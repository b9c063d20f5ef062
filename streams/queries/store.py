"""One published epoch, or one of each of several stores, opened read-only for questions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from functools import cache, cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import duckdb

from streams import limits
from streams.errors import InputError
from streams.events.partitions import spelled
from streams.queries import audit, grants
from streams.queries.extent import APART, Extent, Span
from streams.queries.lookup import Lookup
from streams.queries.newest import SEGMENTS, newest_catalog
from streams.queries.parts import Part, not_opened, opened
from streams.queries.role import ClassedT, Role, RoleFilter
from streams.queries.rows import EpochRow, ModelRow, Rows, together
from streams.queries.statement import OUTSIDE, Statement, first_line, read, unsaid
from streams.quoting import quoted
from streams.topology import LINEAGE

if TYPE_CHECKING:
    from streams.queries.boundary import Boundary
    from streams.queries.table import Table

_SQL = Path(__file__).with_name("sql")
#: Errors that DuckDB raises before it runs a statement. Messages of other errors may quote stored values.
_ABOUT_THE_TEXT = (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException)
_WORD = re.compile(r"\w+")
#: Tables of views that are not made from the table of the same name.
_TABLES_OF: Mapping[str, tuple[str, ...]] = {
    "event_records": ("events",),
    "edge_records": ("edges",),
    "labels": ("zone_runs", "decisions"),
    "overdue": ("events", "rejected"),
    "io_counts": ("decisions", "events", "edges", "rejected", "inputs", "epochs"),
}


class Store:
    """An open epoch, for one thread at a time; use it in `with`. The writer does not affect it.

    Several stores, each with its share of the partitions, are read as one; an epoch of each is open then, and
    `epochs` has their numbers by directory.

    The segments of an epoch are kept for SUPERSEDED_GRACE_S seconds after a newer epoch replaced them, and
    for ERASED_GRACE_S seconds after an erasure did; a reader that needs longer must open the store again.
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, parts: Sequence[Part], role: Role | None
    ) -> None:
        self._connection, self.parts, self._role = connection, tuple(parts), role
        self.extent = Extent(self.parts)
        self.epochs = {str(part.directory): part.epoch for part in self.parts}
        self.lookup = Lookup(connection, self.parts)
        self._bounded: Boundary | None = None

    @classmethod
    def open(
        cls, directory: Path | Sequence[Path], role: Role | None = None, *, older: bool = False
    ) -> Store:
        """Open the newest epoch of the store in `directory`, or of several stores as one, for a role.

        Without a role everything is visible. This is for programs that check the store (ledger, replay,
        recheck); people must ask under a role. Files outside the directories cannot be read, and settings
        cannot be changed.

        Raises
        ------
        UnavailableError
            There is no store, or no epoch yet.
        InputError
            A store has another version (`older` permits this, for callers that only read what all versions
            have), the role is not granted to the current user in every store (`grants`), or the stores cannot
            be read as one (`parts.refuse_overlap`).
        DamagedError
            A catalog is missing, lies elsewhere, or is not as the writer wrote it.
        """
        directories = [path.resolve() for path in ([directory] if isinstance(directory, Path) else directory)]
        for path in directories:
            newest_catalog(path)
            if role is not None:
                grants.require(path, role)
        connection = duckdb.connect(
            config={
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
                "memory_limit": f"{limits.READER_MEMORY_MB}MB",
            }
        )
        try:
            store = cls(connection, opened(connection, directories, older=older), role)
            store._fence()
        except BaseException:
            connection.close()
            raise
        return store

    @property
    def epoch(self) -> int:
        """Number of the open epoch; 0 if several stores are open, because each has its own."""
        return next(iter(self.epochs.values())) if len(self.parts) == 1 else 0

    @property
    def named(self) -> str:
        """The open epochs as text for a message."""
        return " and ".join(f"epoch {epoch} of {directory}" for directory, epoch in self.epochs.items())

    @property
    def is_past(self) -> bool:
        """Whether it answers as of a moment before the opened epoch."""
        return self.extent.is_past

    def look_back(self, *epochs: int) -> None:
        """Answer as of a kept epoch of each store (`streams.queries.moments`); call it before any question.

        Questions are answered under today's roles and policies. Under a role, users' statements (`sql`) see
        the past too, because they run on the role's own views.
        """
        self.extent = Extent(self.parts, epochs)
        self.epochs = {str(part.directory): epoch for part, epoch in zip(self.parts, epochs, strict=True)}
        self.lookup.look_back(self.extent)

    def _fence(self) -> None:
        """Restrict the connection to reading segments of the opened stores, and lock its settings."""
        # Views of a single store name segments by relative paths, questions by absolute ones.
        within = ", ".join(
            [quoted(SEGMENTS), *(quoted(str(part.directory / SEGMENTS)) for part in self.parts)]
        )
        self._connection.execute(
            f"SET file_search_path = {quoted(str(self.parts[0].directory))}; SET TimeZone = 'UTC'; "
            f"USE store; SET parquet_metadata_cache = true; SET allowed_directories = [{within}]; "
            "SET enable_external_access = false; SET lock_configuration = true"
        )

    @property
    def trusted(self) -> duckdb.DuckDBPyConnection:
        """Another connection to all of the store, for no statement of a user."""
        return self._connection.cursor()

    @cached_property
    def role_filter(self) -> RoleFilter | None:
        """Filter for what the role may see; None without a role."""
        return None if self._role is None else RoleFilter(self._role, self.policies)

    @property
    def _boundary(self) -> Boundary | None:
        """Instance in which statements under a role run; None without a role."""
        if self.role_filter is not None and self._bounded is None:
            # Imported here, because questions need neither it nor Arrow.
            from streams.queries.boundary import Boundary  # noqa: PLC0415

            # On a cursor of its own, so that it does not disturb results of questions.
            self._bounded = Boundary(
                self._connection.cursor(),
                self.lookup.directory,
                self.role_filter,
                self.lookup.check,
                self.extent,
            )
        return self._bounded

    @cached_property
    def policies(self) -> dict[str, str]:
        """Texts of all policies in the store, by version."""
        return dict(self.query("policies").rows)

    def close(self) -> None:
        """Close the epoch."""
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

        Under a role it runs in an instance that only has the rows that the role may see. `hidden` then says
        how much of what the statement reads is hidden, and reads of restricted zones are recorded first.

        Raises
        ------
        InputError
            It is not exactly one statement that only reads, it names something that the role may not see, or
            DuckDB refused it. The message has no values of the store.
        UnavailableError
            A read of restricted zones cannot be recorded, the statement needs too much memory, or files of
            the epoch are gone.
        """
        statement = self._admitted(text)
        self.record(text)
        return self._run(statement, limit)

    def table(self, text: str) -> Table:
        """Run one SELECT like `sql` and return all of its rows, in Arrow.

        InputError also if they take more than TABLE_MB megabytes.
        """
        from streams.queries.table import Table  # noqa: PLC0415 - questions do not need Arrow

        statement = self._admitted(text)
        self.record(text)
        try:
            return Table.read(self._bound(statement))
        except duckdb.Error as error:
            raise unsaid(error) from None

    def shown(self, name: str, parameters: Mapping[str, Any] | None = None, span: Span | None = None) -> Rows:
        """Run the statement in `sql/<name>.sql` on what the role may see; return all rows.

        `span`: the epochs that it reads, if it reads those between two moments.
        """
        text = _statement(name) if span is None else span.within(_statement(name))
        if self._boundary is None:
            return self._queried(text, parameters)
        statement = read(self._connection, text)
        with self.lookup.reading():
            self._boundary.admit(statement)
        return self._run(statement, limits.NUMBER_MAX, parameters)

    def export(self, path: Path) -> None:
        """Write what the role may see to one file (`streams.queries.export`), and record the read first.

        Raises
        ------
        InputError
            The file cannot be written or takes too much memory, or the role is not one that exports.
        UnavailableError
            The disk is full, a segment was deleted, or a read of restricted zones cannot be recorded.
        """
        if self.role_filter is None or not self.role_filter.role.exporting:
            raise InputError(f"{path}: found a store that is open for asking, expected a role that exports")
        from streams.queries.export import Exporting  # noqa: PLC0415 - few export

        with closing(
            Exporting(
                self._connection.cursor(),
                self.lookup.directory,
                self.role_filter,
                self.lookup.check,
                self.extent,
            )
        ) as whole:
            whole.write(path, lambda digest: self.record(f"snapshots export --out {path}", digest))

    def arrays(self, text: str) -> dict[str, Any]:
        """Run one SELECT like `sql`; return all rows, as one NumPy array per column. No value may be NULL.

        For computations on the whole store, because rows take no Python objects.
        """
        try:
            return self._executed(self._admitted(text)).fetchnumpy()
        except duckdb.Error as error:
            raise unsaid(error) from None

    def _admitted(self, text: str) -> Statement:
        """Check a user's statement and make available what it may read; InputError as in `sql`."""
        statement = read(self._connection, text)
        if self._boundary is not None:
            with self.lookup.reading():
                self._boundary.admit(statement)
            return statement
        # DuckDB only compares how a path begins, so a link inside the directory could lead outside.
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
        """Connection for users' statements."""
        return self._connection if self._boundary is None else self._boundary.connection

    def _bound(
        self, statement: Statement, parameters: Mapping[str, Any] | None = None
    ) -> duckdb.DuckDBPyRelation:
        """Bind the names in a statement, without reading rows."""
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
        """Run the statement in `sql/<name>.sql` and return all rows.

        `files` are the segments that it reads as `$files`, if it does not read whole tables.
        """
        return self._queried(
            _statement(name),
            {**(parameters or {}), **({"files": self.lookup.paths(files)} if files else {})},
        )

    def _queried(self, statement: str, parameters: Mapping[str, Any] | None) -> Rows:
        self.check(statement)
        rows = self.lookup.rows(self.extent.within(statement), parameters)
        return Rows(tuple(column[0] for column in self._connection.description or ()), rows, 0)

    def check(self, statement: str) -> None:
        """Check the digests of all segments that a statement may read; DamagedError if one is wrong."""
        words = {
            table for word in _WORD.findall(statement.lower()) for table in _TABLES_OF.get(word, (word,))
        }
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
        """Row of the open epoch; of several stores what they hold together, as old as the oldest."""
        if len(self.parts) == 1:
            return self.query("newest_epoch").of(EpochRow)[0]
        return together(self.query("newest_epochs", {"apart": APART}).of(EpochRow))

    @cached_property
    def kinds(self) -> dict[tuple[str, str], str]:
        """Kind of every stream."""
        return {(source, stream): kind for source, stream, kind, _ in self.query("kinds").rows}

    def sift(self, rows: Iterable[ClassedT], table: str, *, counted: bool = True) -> list[ClassedT]:
        """Rows of a table that the role may see; all rows without a role."""
        return list(rows) if self.role_filter is None else self.role_filter.sift(rows, table, counted=counted)

    @property
    def left_out(self) -> list[str]:
        """Sentences about rows that no answer includes: their store or their policy is missing."""
        absent, unknown = not_opened(self.parts), set[str]()
        if self.role_filter is not None:
            unknown = self.role_filter.unknown
        sentences = [
            f"what is in partitions {spelled(absent)} of {LINEAGE}, because no opened store holds it: "
            "counts lack it, and walks end where they lead there; name the stores that hold it as well",
            f"what {len(unknown):,} policies decided cannot be judged and is not shown: the store has no "
            "text that is theirs; find out who wrote to glasses.lineage",
        ]
        return [sentence for sentence, cause in zip(sentences, (absent, unknown), strict=True) if cause]

    @property
    def hidden(self) -> dict[str, str]:
        """How much was hidden from the role so far, as bands by table or kind; empty without a role."""
        return {} if self.role_filter is None else self.role_filter.bands

    def record(self, question: str, wrote: str = "", *, refused: bool = False) -> None:
        """Record in the audit log that `question` shows the role the restricted zones noted so far.

        A question of a role that exports is recorded whatever it shows; `wrote` is the digest of the file
        that was written, if it is known, and `refused` says that none is. UnavailableError if that fails.
        """
        if self.role_filter is not None:
            audit.record(self.epochs, self.role_filter, question, wrote=wrote, refused=refused)


@cache
def _statement(name: str) -> str:
    return (_SQL / f"{name}.sql").read_text(encoding="utf-8")
