"""The hot file: rows that no epoch has published yet, where reading goes on, and what each epoch consists of.

Append-only within an epoch, no index. Every method that writes is one DuckDB transaction: all of it or
nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from streams import limits
from streams.errors import InputError
from streams.lineage.tables import TABLES
from streams.snapshots.directory import HOT, TEMPORARY, sync
from streams.snapshots.segments import SPAN_COLUMNS, Segment

_SQL = {"text": "VARCHAR", "int": "BIGINT", "float": "DOUBLE", "flag": "BOOLEAN"}
_MEMORY_LIMIT = "384MB"
FIXED, RECORDED, PUBLISHED = "fixed", "recorded", "published"


@dataclass(frozen=True, slots=True)
class Epoch:
    """An epoch on its way out: how far it has come, and the offsets below which it holds everything."""

    number: int
    state: str


def columns_of(table: str) -> str:
    """Typed, quoted column list of a lineage table as the store holds it."""
    return ", ".join([*(f'"{name}" {_SQL[kind]}' for name, kind in TABLES[table].items()), "epoch BIGINT"])


class Hot:
    """An open hot file. One process, one thread at a time; `directory.claim` must hold the lock."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        path = directory / HOT
        if not path.exists():
            _create(directory)
        try:
            self.open()
        except duckdb.Error as error:
            raise InputError(
                f"{path}: cannot be opened as a store's hot file ({type(error).__name__}); restore it, or "
                "begin an empty directory"
            ) from None

    def open(self) -> None:
        """Open the file that is there: at first, and again after DuckDB gave it up.

        duckdb.Error when it cannot be opened.
        """
        path = self._directory / HOT
        self.connection = duckdb.connect(str(path), config={"memory_limit": _MEMORY_LIMIT, "threads": 2})
        self.store_id, version = self._one("SELECT id, version FROM store")
        if version != limits.STORE_VERSION:
            self.connection.close()
            raise InputError(
                f"{path}: found store version {version}, expected {limits.STORE_VERSION}; begin a new store,"
                " and read this one with the sightline that wrote it"
            )
        # Rows that leave with the next epoch need not be moved from the log into the file before.
        self.connection.execute(f"SET checkpoint_threshold = '{limits.HOT_LOG_BYTES_MAX}B'")
        # Catalogs name their segments relative to the directory (a store can be moved); the footers of those
        # many small files are read again for each catalog, and never change.
        self.connection.execute(f"SET file_search_path = {quoted(str(self._directory))}")
        self.connection.execute("SET parquet_metadata_cache = true")
        # At hand, since each poll asks for them.
        self._offsets: dict[str, dict[int, int]] = {}
        self._rows: dict[str, int] = {}
        self._count(TABLES)

    def close(self) -> None:
        """Close the file; what is committed stays."""
        self.connection.close()

    def offsets(self, topic: str) -> dict[int, int]:
        """Next offset to read by partition of `topic`."""
        if topic not in self._offsets:
            self._offsets[topic] = dict(
                self.connection.execute(
                    'SELECT "partition", next_offset FROM offsets WHERE topic = ?', [topic]
                ).fetchall()
            )
        return dict(self._offsets[topic])

    def append(
        self, tables: Mapping[str, pa.Table], epoch: int, topic: str, offsets: Mapping[int, int]
    ) -> None:
        """Add rows to `epoch` and move the offsets of `topic`, together."""
        reached = {**self.offsets(topic), **offsets}
        with self.transaction():
            for name, content in tables.items():
                with self.incoming(content):
                    self.connection.execute(f"INSERT INTO {name} SELECT *, {epoch:d} FROM incoming")  # noqa: S608 - names from TABLES
            if offsets:
                moved = [[*offsets], [*offsets.values()]]
                self.connection.execute(
                    'DELETE FROM offsets WHERE topic = ? AND list_contains(?, "partition")',
                    [topic, moved[0]],
                )
                self.connection.execute(
                    "INSERT INTO offsets SELECT ?, unnest(?::INTEGER[]), unnest(?::BIGINT[])", [topic, *moved]
                )
        self._offsets[topic] = reached
        for name, content in tables.items():
            self._rows[name] = self._rows.get(name, 0) + content.num_rows

    def rows(self) -> dict[str, int]:
        """Rows by table that have not left the file; tables without any are absent."""
        return dict(self._rows)

    def tables_of(self, number: int) -> set[str]:
        """Tables that have rows in epoch `number` or before."""
        return {
            table
            for table in self._rows
            if self._one(f"SELECT count(*) FROM {table} WHERE epoch <= {number:d}")[0]  # noqa: S608 - names from TABLES
        }

    def _count(self, tables: Iterable[str]) -> None:
        counts = {table: self._one(f"SELECT count(*) FROM {table}")[0] for table in tables}  # noqa: S608 - names from TABLES
        self._rows = {table: count for table, count in counts.items() if count}

    def newest(self) -> Epoch:
        """Return the epoch with the highest number; number 0, published, in a new store."""
        found = self.connection.execute(
            "SELECT epoch, state FROM epochs ORDER BY epoch DESC LIMIT 1"
        ).fetchall()
        return Epoch(*found[0]) if found else Epoch(0, PUBLISHED)

    def newest_offsets(self) -> dict[int, int]:
        """Offsets that the newest epoch says."""
        found = self.connection.execute("SELECT offsets FROM epochs ORDER BY epoch DESC LIMIT 1").fetchall()
        return dict(found[0][0]) if found else {}

    def fix(self, number: int, topic: str) -> None:
        """Fix what epoch `number` holds: rows and offsets of this moment; later rows belong to the next."""
        with self.transaction():
            self.connection.execute(
                'INSERT INTO epochs SELECT ?, ?, NULL, coalesce(map_from_entries(list(row("partition", '
                'next_offset) ORDER BY "partition")), MAP {}), ? FROM offsets WHERE topic = ?',
                [number, FIXED, sum(self.rows().values()), topic],
            )

    def record(self, number: int, segments: list[Segment], replaced: list[str], published_ns: int) -> None:
        """Record the segments of an epoch, and which files they replace."""
        with self.transaction():
            rows = [row for segment in segments for row in segment.rows()]
            if rows:
                columns = [pa.array(values) for values in zip(*rows, strict=True)]
                with self.incoming(pa.Table.from_arrays(columns, names=list(SPAN_COLUMNS))):
                    self.connection.execute("INSERT INTO segments SELECT *, NULL FROM incoming")
            self.connection.execute(
                "UPDATE segments SET superseded_ns = ? WHERE list_contains(?, file)", [published_ns, replaced]
            )
            self.connection.execute(
                "UPDATE epochs SET state = ?, published_ns = ? WHERE epoch = ?",
                [RECORDED, published_ns, number],
            )

    def leave(self, number: int) -> None:
        """Let the rows of a published epoch go."""
        with self.transaction():
            for table in self._rows:
                self.connection.execute(f"DELETE FROM {table} WHERE epoch <= ?", [number])  # noqa: S608 - names from TABLES
            self.connection.execute("UPDATE epochs SET state = ? WHERE epoch = ?", [PUBLISHED, number])
        self._count(self._rows)

    def current_files(self) -> list[tuple[str, str, int]]:
        """(table, file, bytes) of every segment that is in force."""
        return self.connection.execute(
            "SELECT DISTINCT table_name, file, bytes FROM segments WHERE superseded_ns IS NULL ORDER BY ALL"
        ).fetchall()

    def known_files(self) -> set[str]:
        """Every segment that an epoch knows, superseded ones too."""
        return {file for (file,) in self.connection.execute("SELECT DISTINCT file FROM segments").fetchall()}

    def superseded_before(self, instant_ns: int) -> list[str]:
        """Segments that were replaced before `instant_ns`."""
        return [
            file
            for (file,) in self.connection.execute(
                "SELECT DISTINCT file FROM segments WHERE superseded_ns < ?", [instant_ns]
            ).fetchall()
        ]

    def outdated_epochs(self, instant_ns: int) -> list[int]:
        """Epochs whose successor was published before `instant_ns`."""
        return [
            epoch
            for (epoch,) in self.connection.execute(
                "SELECT epoch FROM epochs WHERE epoch < (SELECT max(epoch) FROM epochs WHERE "
                "published_ns < ?)",
                [instant_ns],
            ).fetchall()
        ]

    def forget(self, files: list[str]) -> None:
        """Forget segments whose files are gone."""
        self.connection.execute("DELETE FROM segments WHERE list_contains(?, file)", [files])

    @contextmanager
    def incoming(self, content: pa.Table) -> Iterator[None]:
        """Let statements of the block read `content` under the name `incoming`."""
        self.connection.register("incoming", content)
        try:
            yield
        finally:
            self.connection.unregister("incoming")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of the block or nothing."""
        self.connection.execute("BEGIN")
        try:
            yield
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")

    def _one(self, statement: str) -> tuple[Any, ...]:
        # All of them are fetched: a result that is left open keeps DuckDB 2.0 from anything else.
        rows = self.connection.execute(statement).fetchall()
        if not rows:
            raise duckdb.InvalidInputException("a row is missing")
        first: tuple[Any, ...] = rows[0]
        return first


def _create(directory: Path) -> None:
    """Make an empty hot file: under another name first, so that one that exists is a whole one."""
    temporary = directory / f"{HOT}{TEMPORARY}"
    temporary.unlink(missing_ok=True)
    with duckdb.connect(str(temporary)) as connection:
        for table in TABLES:
            connection.execute(f"CREATE TABLE {table} ({columns_of(table)})")
        connection.execute('CREATE TABLE offsets (topic VARCHAR, "partition" INTEGER, next_offset BIGINT)')
        connection.execute(
            "CREATE TABLE epochs (epoch BIGINT, state VARCHAR, published_ns BIGINT, offsets MAP(INTEGER, "
            "BIGINT), rows BIGINT)"
        )
        connection.execute(
            f"CREATE TABLE segments ({', '.join(f'{name} {kind}' for name, kind in SPAN_COLUMNS.items())}, "
            "superseded_ns BIGINT)"
        )
        connection.execute("CREATE TABLE store (id VARCHAR, version INTEGER)")
        connection.execute("INSERT INTO store VALUES (?, ?)", [secrets.token_hex(4), limits.STORE_VERSION])
    sync(temporary)
    temporary.replace(directory / HOT)
    sync(directory)


def quoted(text: str) -> str:
    """SQL literal."""
    return "'" + text.replace("'", "''") + "'"
