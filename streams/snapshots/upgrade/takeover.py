"""Convert rows, epochs and offsets of a store of an earlier version to the current version.

The old store is not changed. New segments and a new hot file are made beside it, and in the last step the new
hot file replaces the old one. A process that is killed before that leaves the old store, and the next one
starts again; after that step `Writer` continues as with any epoch that is recorded but not published. Until
that epoch is published, readers of the earlier release continue to work. The old segments are deleted after
the usual grace period.
"""

from __future__ import annotations

import errno
import logging
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
from msgspec import Struct

from streams import clock, files, limits
from streams.events.record import StoredRecord
from streams.lineage.readable import READABLE
from streams.lineage.retention import retained
from streams.lineage.tables import TABLES
from streams.quoting import quoted
from streams.snapshots.epochs.hot import RECORDED, Hot
from streams.snapshots.files import directory
from streams.snapshots.files.chunks import ranges, scan
from streams.snapshots.files.coalesce import zones_of
from streams.snapshots.files.columnar import classes_of, ordered
from streams.snapshots.files.output import UNZONED, Output
from streams.snapshots.files.segments import CLASSED, NUMBERS, Segment, schema_of, types_of
from streams.snapshots.rows.poll import MALFORMED, Place, numbers, rejected

log = logging.getLogger(__name__)

STEPS = range(1, 5)
"""Steps between which tests simulate a crash.

1 directory for the new hot file made, 2 segments written, 3 hot file complete, 4 old one replaced.
"""
#: Where the new hot file is made.
STAGE = f"migrated{directory.TEMPORARY}"
_MEMORY_LIMIT = "256MB"


class Old:
    """The old store; its hot file is attached to `connection` as `old`.

    `epoch` is the newest one whose segments are recorded; rows of a later, unfinished epoch are still in the
    hot file. `files` are (file, rows) of the current segments by table, oldest first.
    """

    def __init__(self, path: Path, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection
        connection.execute(f"ATTACH {quoted(str(path / directory.HOT))} AS old (READ_ONLY)")
        connection.execute(f"SET file_search_path = {quoted(str(path))}")
        newest = connection.execute(
            "SELECT epoch, state FROM old.epochs ORDER BY epoch DESC LIMIT 1"
        ).fetchone()
        number, state = newest or (0, "")
        self.epoch = number - 1 if state == "fixed" else number
        self.files: dict[str, list[tuple[str, int]]] = {}
        for table, file, rows, _ in connection.execute(
            "SELECT DISTINCT table_name, file, rows, first_epoch FROM old.segments "
            "WHERE superseded_ns IS NULL ORDER BY table_name, first_epoch, file"
        ).fetchall():
            self.files.setdefault(table, []).append((file, rows))

    def rows(self, table: str) -> str:
        """SELECT of all published rows of a table."""
        return f"FROM {scan(file for file, _ in self.files[table])}"


class Migration(Struct, frozen=True):
    """Converts rows of one version to the next.

    `version` is the one that it converts. `tables` has a SELECT over `{rows}` for each table that changes;
    the SELECT may read what `prepare` made before.
    """

    name: str
    version: int
    tables: Mapping[str, str]
    prepare: Callable[[Old], None]


class Takeover:
    """One attempt.

    Parameters
    ----------
    path
        The store's directory, which the caller has claimed.
    migrations
        Those to be done, in order.
    after_step
        Called with each of `STEPS` after it is done.
    """

    def __init__(
        self, path: Path, migrations: Sequence[Migration], after_step: Callable[[int], None]
    ) -> None:
        self._path, self._migrations, self._after_step = path, migrations, after_step
        self._said_s = clock.monotonic_s()

    def run(self) -> None:
        """Run the conversion; OSError or duckdb.Error if it fails."""
        stage = self._path / STAGE
        files.make_directory(stage)
        hot = Hot(stage)
        self._after_step(1)
        try:
            hot.connection.execute(f"SET memory_limit = '{_MEMORY_LIMIT}'")
            old = Old(self._path, hot.connection)
            hot.connection.execute("UPDATE store SET id = (SELECT id FROM old.store)")
            [(hot.store_id,)] = hot.connection.execute("SELECT id FROM store").fetchall()
            for each in self._migrations:
                each.prepare(old)
            self._epochs(hot, old)
            made = list(self._segments(hot, old))
            made += self._zone_runs(hot, old, made)
            made += self._history(hot, old)
            directory.sync(self._path / directory.SEGMENTS)
            self._after_step(2)
            self._fill(hot, old, made)
        finally:
            hot.close()
        directory.sync(stage / directory.HOT)
        self._after_step(3)
        if (self._path / f"{directory.HOT}.wal").exists():
            # DuckDB would apply the old log to the new file.
            raise FileExistsError(errno.EEXIST, "the old hot file's log was not folded into it")
        (stage / directory.HOT).replace(self._path / directory.HOT)
        directory.sync(self._path)
        self._after_step(4)
        shutil.rmtree(stage)

    def _converted(self, table: str, rows: str) -> str:
        """SELECT of a table's rows in the current version, without unusable rows."""
        for each in self._migrations:
            rows = each.tables.get(table, "{rows}").replace("{rows}", rows)
        return f"SELECT {', '.join(types_of(table))} FROM ({rows}) WHERE {READABLE[table]}"  # noqa: S608 - ours

    def _segments(self, hot: Hot, old: Old) -> Iterator[Segment]:
        """Segments of the current version; each has the rows of some old ones."""
        done, every = 0, sum(rows for some in old.files.values() for _, rows in some)
        for table, old_files in old.files.items():
            for some, rows in _portions(old_files):
                with Output(
                    self._path, hot.store_id, old.epoch + 1, table, together=UNZONED, fresh=True
                ) as output:
                    for part in ranges(
                        hot.connection, table, _known(table, scan(some)), limits.FOLD_CHUNK_ROWS
                    ):
                        self._say(f"{done:,} of {every:,} rows")
                        select = self._converted(table, f"SELECT * FROM {scan(some)} WHERE {part}")  # noqa: S608
                        _add(hot, output, table, hot.connection.sql(select).to_arrow_table())
                    yield from output.finish()
                done += rows

    def _zone_runs(self, hot: Hot, old: Old, made: Sequence[Segment]) -> Iterator[Segment]:
        """Zone runs from all events, so that no event of another class can be in a gap of a run."""
        events = scan(segment.file for segment in made if segment.table == "events")
        if not any(segment.table == "events" for segment in made):
            return
        epochs = hot.connection.sql("SELECT epoch, published_ns FROM epochs ORDER BY epoch").to_arrow_table()
        labels = np.append(numbers(epochs, "published_ns"), clock.now_ns())
        asked = np.append(numbers(epochs, "epoch"), old.epoch + 1)[retained(np.maximum.accumulate(labels))]
        with Output(
            self._path, hot.store_id, old.epoch + 1, "zone_runs", together=UNZONED, fresh=True
        ) as output:
            for part in ranges(hot.connection, "events", events, limits.FOLD_CHUNK_ROWS):
                self._say("which numbers are of which zone")
                rows = hot.connection.sql(f"SELECT * FROM {events} WHERE {part}").to_arrow_table()  # noqa: S608 - ours
                bucket = np.searchsorted(asked, numbers(rows, "epoch"), "left").astype(np.int64)
                _add(hot, output, "zone_runs", zones_of(rows, {}, bucket))
            yield from output.finish()

    def _epochs(self, hot: Hot, old: Old) -> None:
        """Copy the epochs; a label is at least that of the epoch before, even if the clock was set back."""
        hot.connection.execute(
            f"INSERT INTO epochs BY NAME SELECT epoch, '{RECORDED}' AS state, "  # noqa: S608 - ours
            "max(published_ns) OVER (ORDER BY epoch) AS published_ns, offsets, rows, '' AS cluster, '' AS "
            f"topic FROM old.epochs WHERE epoch <= {old.epoch:d}"
        )

    def _history(self, hot: Hot, old: Old) -> Iterator[Segment]:
        """Keep the newest epochs in the hot file, as the writer does; older ones become a segment."""
        last = old.epoch - limits.EPOCHS_AT_HAND_MAX // 2
        columns = ", ".join(types_of("epochs"))
        with Output(
            self._path, hot.store_id, old.epoch + 1, "epochs", together=UNZONED, fresh=True
        ) as output:
            for first in range(1, last + 1, limits.FOLD_CHUNK_ROWS):
                until = min(first + limits.FOLD_CHUNK_ROWS, last + 1)
                select = f"SELECT {columns} FROM epochs WHERE epoch >= {first:d} AND epoch < {until:d}"  # noqa: S608
                _add(hot, output, "epochs", hot.connection.sql(select).to_arrow_table())
            yield from output.finish()
        hot.connection.execute("DELETE FROM epochs WHERE epoch <= ?", [last])

    def _fill(self, hot: Hot, old: Old, made: Sequence[Segment]) -> None:
        """Fill the new hot file: offsets, unpublished rows, segments and the next epoch."""
        number, connection = old.epoch + 1, hot.connection
        connection.execute("INSERT INTO offsets FROM old.offsets")
        lost = {
            table: sum(rows for _, rows in some)
            - sum(segment.rows for segment in made if segment.table == table)
            for table, some in old.files.items()
        }
        present = connection.execute(
            "SELECT table_name FROM duckdb_tables() WHERE database_name = 'old'"
        ).fetchall()
        for table in TABLES:
            if (table,) not in present:
                continue
            waiting = f"SELECT * FROM old.{table} WHERE epoch > {old.epoch:d}"  # noqa: S608 - names from TABLES
            kept = f"SELECT * REPLACE ({number + 1:d} AS epoch) FROM ({self._converted(table, waiting)})"  # noqa: S608
            connection.execute(f"INSERT INTO {table} {kept}")
            [(gone,)] = connection.execute(
                f"SELECT (SELECT count(*) FROM ({waiting})) - (SELECT count(*) FROM {table})"  # noqa: S608 - ours
            ).fetchall()
            lost[table] = lost.get(table, 0) + gone
        self._tell(hot, {table: count for table, count in lost.items() if count}, number + 1)
        connection.execute(
            "INSERT INTO epochs SELECT ?, ?, greatest(?, (SELECT coalesce(max(published_ns), 0) FROM "
            "epochs)), coalesce((SELECT offsets FROM epochs ORDER BY epoch DESC LIMIT 1), MAP {}), 0, '', ''",
            [number, RECORDED, clock.now_ns()],
        )
        connection.execute(
            "INSERT INTO segments BY NAME SELECT DISTINCT file, table_name, first_epoch, last_epoch, rows, "
            "bytes, digest, true AS fresh, ? AS superseded FROM old.segments",
            [number],
        )
        for each in self._migrations:
            connection.execute("INSERT INTO migrations VALUES (?, ?)", [each.name, clock.now_ns()])
        with hot.transaction():
            hot.enter(made)

    def _tell(self, hot: Hot, lost: Mapping[str, int], epoch: int) -> None:
        """Report rows that were left out, in the log and in `rejected`."""
        for table, count in lost.items():
            log.warning(
                "%s: %d rows of %s that nobody could work with are left out", self._path, count, table
            )
            nowhere = Place(0, StoredRecord(0, clock.now_ns() // 1_000_000, None, None), "")
            row = rejected(nowhere, MALFORMED, f"{table}: {count} rows of a former version are left out")
            hot.connection.execute(
                f"INSERT INTO rejected VALUES ({', '.join('?' * len(row))}, ?)",  # noqa: S608 - a count
                [*row.values(), epoch],
            )

    def _say(self, step: str) -> None:
        """Log the progress at intervals."""
        if clock.monotonic_s() - self._said_s >= limits.MIGRATION_SAID_S:
            self._said_s = clock.monotonic_s()
            log.warning("%s: taking over, %s", self._path, step)


def _add(hot: Hot, output: Output, table: str, rows: pa.Table) -> None:
    """Add rows of a table to an output."""
    if len(rows):
        rows = ordered(rows.cast(schema_of(table)), table)
        classes = hot.numbers_of(classes_of(rows, table)[0]) if table in CLASSED else None
        output.add(rows, UNZONED, classes)


def _portions(every: Iterable[tuple[str, int]]) -> Iterator[tuple[list[str], int]]:
    """Groups of files that become one, with their number of rows."""
    some, total = list[str](), 0
    for file, rows in every:
        if some and total + rows > limits.MIGRATION_FILE_ROWS:
            yield some, total
            some, total = [], 0
        some.append(file)
        total += rows
    if some:
        yield some, total


def _known(table: str, rows: str) -> str:
    """FROM clause without rows that lack a stream, if the table has streams; such rows are unusable."""
    if table not in NUMBERS:
        return rows
    source, stream, *_ = next(iter(NUMBERS[table].values()))
    return f"(FROM {rows} WHERE {source} IS NOT NULL AND {stream} IS NOT NULL)"
