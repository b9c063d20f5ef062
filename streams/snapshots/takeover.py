"""How a store of an earlier version is taken over: rows, epochs and offsets become those of one of today's.

Nothing of the old store is touched. New segments and a new hot file are made beside it, and the new hot file
takes the old one's name as the last step: whoever is killed before has the old store and starts over, and
after it `Writer` goes on as with any epoch that was recorded and not yet published. Until that epoch's
catalog has its name, readers of the former sightline read on; the old segments go once their grace is over.
"""

from __future__ import annotations

import errno
import logging
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import duckdb
from msgspec import Struct

from streams import clock, files, limits
from streams.events.record import StoredRecord
from streams.lineage.readable import READABLE
from streams.lineage.tables import TABLES
from streams.snapshots import directory, runs
from streams.snapshots.hot import FIXED, PUBLISHED, Hot
from streams.snapshots.poll import MALFORMED, Place, rejected
from streams.snapshots.segments import (
    CLASSED,
    Segment,
    Span,
    contents,
    copy,
    quoted,
    settled,
    temporary,
    types_of,
)

log = logging.getLogger(__name__)

STEPS = range(1, 5)
"""What a crash can fall between, for tests.

1 a place for the new hot file made, 2 segments written, 3 hot file whole, 4 its name moved.
"""
#: Where the new hot file is made.
STAGE = f"migrated{directory.TEMPORARY}"
_MEMORY_LIMIT = "256MB"


class Old:
    """The store as it was; its hot file is attached to `connection` as `old`.

    `epoch` is the newest one whose segments are recorded: of one that was only fixed, the rows are still in
    the hot file. `files` are (file, rows) of the segments in force by table, oldest first.
    """

    def __init__(self, path: Path, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection
        connection.execute(f"ATTACH {quoted(str(path / directory.HOT))} AS old (READ_ONLY)")
        connection.execute(f"SET file_search_path = {quoted(str(path))}")
        newest = connection.execute(
            "SELECT epoch, state FROM old.epochs ORDER BY epoch DESC LIMIT 1"
        ).fetchone()
        number, state = newest or (0, PUBLISHED)
        self.epoch = number - 1 if state == FIXED else number
        self.files: dict[str, list[tuple[str, int]]] = {}
        for table, file, rows, _ in connection.execute(
            "SELECT DISTINCT table_name, file, rows, first_epoch FROM old.segments "
            "WHERE superseded_ns IS NULL ORDER BY table_name, first_epoch, file"
        ).fetchall():
            self.files.setdefault(table, []).append((file, rows))

    def rows(self, table: str) -> str:
        """SELECT of all published rows of a table."""
        return _read(file for file, _ in self.files[table])


class Migration(Struct, frozen=True):
    """What makes rows of one version into rows of the next.

    `version` is the one that it takes over. `tables` says of tables that change which SELECT of `{rows}`
    makes theirs; it may read what `prepare` made before.
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
        """Do it; OSError or duckdb.Error when that fails."""
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
            # It would be taken for the new file's.
            raise FileExistsError(errno.EEXIST, "the old hot file's log was not folded into it")
        (stage / directory.HOT).replace(self._path / directory.HOT)
        directory.sync(self._path)
        self._after_step(4)
        shutil.rmtree(stage)

    def _converted(self, table: str, rows: str) -> str:
        """SELECT of today's rows of a table, of those that somebody can work with."""
        for each in self._migrations:
            rows = each.tables.get(table, "{rows}").replace("{rows}", rows)
        return f"SELECT {', '.join(types_of(table))} FROM ({rows}) WHERE {READABLE[table]}"  # noqa: S608 - ours

    def _segments(self, hot: Hot, old: Old) -> Iterator[Segment]:
        """Today's segments, with the rows of some old ones each."""
        done, every = 0, sum(rows for some in old.files.values() for _, rows in some)
        for table, found in old.files.items():
            for some, rows in _portions(found):
                yield from self._segment(hot, table, self._converted(table, _read(some)), old.epoch + 1)
                done += rows
                self._say(f"{done:,} of {every:,} rows")

    def _zone_runs(self, hot: Hot, old: Old, made: Sequence[Segment]) -> Iterator[Segment]:
        """Which numbers are of one class, out of all events: nothing of another class can lie in a hole."""
        if not (events := [one.file for one in made if one.table == "events"]):
            return
        none = "SELECT '' AS source, '' AS stream, -1::BIGINT AS highest WHERE false"
        for part in ranges(hot.connection, _read(events)):
            rows = runs.of_events(f"SELECT * FROM ({_read(events)}) WHERE {part}", none)  # noqa: S608 - ours
            yield from self._segment(hot, "zone_runs", rows, old.epoch + 1)
            self._say("which numbers are of which zone")

    def _history(self, hot: Hot, old: Old) -> Iterator[Segment]:
        """Keep the newest epochs at hand, as the writer does; those of before become a segment."""
        hot.connection.execute(
            f"INSERT INTO epochs BY NAME SELECT epoch, '{PUBLISHED}' AS state, published_ns, offsets, rows, "  # noqa: S608 - ours
            f"'' AS cluster, '' AS topic FROM old.epochs WHERE epoch <= {old.epoch:d}"
        )
        last = old.epoch - limits.EPOCHS_AT_HAND_MAX // 2
        rows = f"SELECT {', '.join(types_of('epochs'))} FROM epochs WHERE epoch <= {last:d}"  # noqa: S608 - ours
        yield from self._segment(hot, "epochs", rows, old.epoch + 1)
        hot.connection.execute("DELETE FROM epochs WHERE epoch <= ?", [last])

    def _segment(self, hot: Hot, table: str, rows: str, epoch: int) -> Iterator[Segment]:
        """Write a segment, unless there is nothing to write."""
        place = temporary(self._path, table, epoch)
        copy(hot.connection, table, rows, place)
        written = f"FROM read_parquet({quoted(str(place))})"
        found = hot.connection.execute(contents({table: written})).fetchall()
        if not found or not found[0][6]:
            place.unlink()
            return
        classes = None
        if table in CLASSED:
            said = f"SELECT DISTINCT policy_version, zone, {CLASSED[table]} {written}"
            classes = hot.numbers_of(hot.connection.execute(said).fetchall())
        file, size, digest = settled(place, self._path, f"{table}-{epoch:08d}", hot.store_id)
        yield Segment(
            file,
            table,
            min(one[7] for one in found),
            max(one[8] for one in found),
            # Of edges each row is told of twice, by its child and by its parents.
            sum(one[6] for one in found if one[1] != "parent"),
            size,
            digest,
            classes,
            True,
            None,
            [Span(*one[1:6]) for one in found if one[1] is not None],
        )

    def _fill(self, hot: Hot, old: Old, made: Sequence[Segment]) -> None:
        """Put into the new hot file what it says: offsets, rows not published yet, segments, the epoch."""
        number, connection = old.epoch + 1, hot.connection
        connection.execute("INSERT INTO offsets FROM old.offsets")
        lost = {
            table: sum(rows for _, rows in some) - sum(one.rows for one in made if one.table == table)
            for table, some in old.files.items()
        }
        for table in TABLES:
            waiting = f"SELECT * FROM old.{table} WHERE epoch > {old.epoch:d}"  # noqa: S608 - names from TABLES
            kept = f"SELECT * REPLACE ({number + 1:d} AS epoch) FROM ({self._converted(table, waiting)})"  # noqa: S608
            connection.execute(f"INSERT INTO {table} {kept}")
            [(gone,)] = connection.execute(
                f"SELECT (SELECT count(*) FROM ({waiting})) - (SELECT count(*) FROM {table})"  # noqa: S608 - ours
            ).fetchall()
            lost[table] = lost.get(table, 0) + gone
        self._tell(hot, {table: count for table, count in lost.items() if count}, number + 1)
        connection.execute(
            "INSERT INTO epochs SELECT ?, ?, NULL, coalesce((SELECT offsets FROM epochs ORDER BY epoch DESC "
            "LIMIT 1), MAP {}), 0, '', ''",
            [number, FIXED],
        )
        connection.execute(
            "INSERT INTO segments BY NAME SELECT DISTINCT file, table_name, first_epoch, last_epoch, rows, "
            "bytes, digest, true AS fresh, ? AS superseded FROM old.segments",
            [number],
        )
        for each in self._migrations:
            connection.execute("INSERT INTO migrations VALUES (?, ?)", [each.name, clock.now_ns()])
        hot.record(number, made, 0, None, clock.now_ns())

    def _tell(self, hot: Hot, lost: Mapping[str, int], epoch: int) -> None:
        """Say what was left out, in the log and in `rejected`."""
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

    def _say(self, what: str) -> None:
        """Say how far it is, now and then."""
        if clock.monotonic_s() - self._said_s >= limits.MIGRATION_SAID_S:
            self._said_s = clock.monotonic_s()
            log.warning("%s: taking over, %s", self._path, what)


def _portions(every: Iterable[tuple[str, int]]) -> Iterator[tuple[list[str], int]]:
    """Files that become one, and how many rows they have."""
    some, total = list[str](), 0
    for file, rows in every:
        if some and total + rows > limits.MIGRATION_ROWS_AT_ONCE:
            yield some, total
            some, total = [], 0
        some.append(file)
        total += rows
    if some:
        yield some, total


def ranges(connection: duckdb.DuckDBPyConnection, rows: str) -> Iterator[str]:
    """Conditions that part the rows of a SELECT by stream, and a long stream by number.

    Each row meets one; at most MIGRATION_ROWS_AT_ONCE of them, unless a stream's numbers lie unevenly.
    """
    most = limits.MIGRATION_ROWS_AT_ONCE
    packed, total = list[tuple[str, str]](), 0
    for source, stream, count, low, high in connection.execute(
        f'SELECT source, stream, count(*), min("first"), max("first") FROM ({rows}) GROUP BY ALL ORDER BY ALL'  # noqa: S608 - ours
    ).fetchall():
        if packed and total + count > most:
            yield _between(packed)
            packed, total = [], 0
        if count > most:
            width = (high - low) // -(-count // most) + 1
            yield from (
                f'{_between([(source, stream)])} AND "first" >= {at:d} AND "first" < {at + width:d}'
                for at in range(low, high + 1, width)
            )
        else:
            packed.append((source, stream))
            total += count
    if packed:
        yield _between(packed)


def _between(streams: Sequence[tuple[str, str]]) -> str:
    """Condition for the streams from the first to the last one, by which a Parquet reader leaves out much."""
    (low, first), (high, last) = streams[0], streams[-1]
    return (
        f"source >= {quoted(low)} AND (source > {quoted(low)} OR stream >= {quoted(first)}) AND "
        f"source <= {quoted(high)} AND (source < {quoted(high)} OR stream <= {quoted(last)})"
    )


def _read(segments: Iterable[str]) -> str:
    return f"FROM read_parquet([{', '.join(quoted(file) for file in segments)}])"
