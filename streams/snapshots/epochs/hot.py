"""The hot file with the offsets and the files of each epoch, and the rows that wait for an epoch.

Waiting rows are in memory until a transaction records the files of their epoch and moves the offsets past
them. If the writer dies before, they are read again. Every method that writes is one DuckDB transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple
from itertools import chain
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from streams import limits
from streams.errors import InputError
from streams.events.record import LogId
from streams.lineage.tables import ADDED, TABLES
from streams.quoting import quoted
from streams.snapshots.epochs.books import (
    BLOCK_BYTES,
    CLASS_COLUMNS,
    INDEX_COLUMNS,
    LATER,
    SEGMENT_COLUMNS,
    SPAN_COLUMNS,
    Database,
    Epoch,
    create,
    made,
    row_of,
)
from streams.snapshots.epochs.listing import Listing
from streams.snapshots.epochs.unpublished import Unpublished
from streams.snapshots.files.columnar import encoded
from streams.snapshots.files.directory import HOT, TEMPORARY, catalog_name, pointed, sync
from streams.snapshots.files.index import Span
from streams.snapshots.files.segments import Segment, schema_of
from streams.snapshots.folds.fold import Folded, Index

RECORDED, PUBLISHED = "recorded", "published"
#: (policy version, zone, label)
Class = tuple[str, str, str]


class Hot(Database):
    """An open hot file. One process, one thread at a time; `directory.claim` must hold the lock."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._unpublished = Unpublished()
        # Whether the file itself has waiting rows, since a writer was closed.
        self._put_by = False
        self._offsets: dict[str, dict[int, int]] = {}
        self._newest = Epoch(0, PUBLISHED)
        path = directory / HOT
        if not path.exists():
            create(directory)
        try:
            self.open()
            self._resume()
        except duckdb.Error as error:
            raise InputError(
                f"{path}: cannot be opened as a store's hot file ({type(error).__name__}); restore it, or "
                "begin an empty directory"
            ) from None

    def open(self) -> None:
        """Open the file, also again after DuckDB abandoned it; duckdb.Error if it cannot be opened."""
        path = self._directory / HOT
        self.connection = duckdb.connect(
            str(path), config={"memory_limit": f"{limits.HOT_MEMORY_MB}MB", "threads": 1}
        )
        self._unpublished.opened_again()
        self.store_id, version = self.only_row("SELECT id, version FROM store")
        if version != limits.STORE_VERSION:
            self.connection.close()
            raise InputError(
                f"{path}: found store version {version}, expected {limits.STORE_VERSION}; begin a new store,"
                " and read this one with the sightline that wrote it"
            )
        self._bytes = path.stat().st_size
        self.connection.execute(f"SET checkpoint_threshold = '{limits.HOT_LOG_BYTES_MAX}B'")
        # Catalogs name their segments relative to the directory, and the footers of segments never change.
        self.connection.execute(f"SET file_search_path = {quoted(str(self._directory))}")
        self.connection.execute("SET parquet_metadata_cache = true")
        for statement in (*map(made, ADDED), *LATER):
            self.connection.execute(statement)
        # Left by an older writer that died within an epoch; the rows of that epoch wait again.
        self.connection.execute("DELETE FROM epochs WHERE state = 'fixed'")
        number, offsets = self.connection.execute(
            "SELECT epoch, offsets FROM epochs ORDER BY epoch DESC LIMIT 1"
        ).fetchone() or (0, {})
        if number > self._newest.number:
            # The last transaction, whose outcome was unknown until the file was opened again, was committed.
            self._unpublished.clear(self.connection)
            self._offsets.clear()
        out = number == 0 or pointed(self._directory) == catalog_name(number)
        self._newest, self._newest_offsets = Epoch(number, PUBLISHED if out else RECORDED), dict(offsets)
        classes = self.connection.execute("FROM classes").fetchall()
        self._classes: dict[Class, int] = {tuple(texts): number for number, *texts in classes}
        self._classes_kept = len(self._classes)
        self.files = Listing(self.connection)
        self._at_hand, self.published_ns = self.only_row(
            "SELECT count(*), coalesce(max(published_ns), 0) FROM epochs"
        )
        self._log_id = LogId(*self.only_row("SELECT cluster, topic FROM store"))
        self._highest: dict[tuple[str, str], int] = {}

    def _resume(self) -> None:
        """Read the rows that a closed writer left in the file; they wait again."""
        for table in TABLES:
            rows = self.connection.sql(f"SELECT * EXCLUDE (epoch) FROM {table}").to_arrow_table()  # noqa: S608 - names of ours
            if len(rows):
                self._unpublished.add({table: encoded(rows)}, self.connection)
                self._put_by = True

    def put_by(self, topic: str) -> None:
        """Write the waiting rows, and the offsets of `topic` after them, to the file."""
        with self.transaction():
            self._forget_put_by()
            for table, rows in self.rows_of(self._newest.number + 1).items():
                with self.incoming(rows):
                    self.connection.execute(f"INSERT INTO {table} FROM incoming")
            self._move(topic)

    def _forget_put_by(self) -> None:
        for table in TABLES if self._put_by else ():
            self.connection.execute(f"DELETE FROM {table}")  # noqa: S608 - names from TABLES

    def close(self) -> None:
        """Close the file; committed data is kept."""
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

    def log_id(self) -> LogId:
        """Return the log that the offsets belong to."""
        return self._log_id

    def keep_log(self, log_id: LogId) -> None:
        """Record the log that the offsets belong to, without changing the offsets."""
        with self.transaction():
            self._keep_log(log_id)
        self._log_id = log_id

    def change_log(self, log_id: LogId, topic: str) -> None:
        """Record another log and delete the offsets of `topic`, in one transaction."""
        with self.transaction():
            self._keep_log(log_id)
            self.connection.execute("DELETE FROM offsets WHERE topic = ?", [topic])
        self._log_id = log_id
        self._offsets.pop(topic, None)

    def _keep_log(self, log_id: LogId) -> None:
        self.connection.execute("UPDATE store SET cluster = ?, topic = ?", [log_id.cluster, log_id.topic])

    def append(self, tables: Mapping[str, pa.Table], topic: str, offsets: Mapping[int, int]) -> None:
        """Add rows that wait for the next epoch, and move the offsets of `topic` behind them."""
        self._offsets[topic] = {**self.offsets(topic), **offsets}
        self._unpublished.add(tables, self.connection)

    def rows(self) -> dict[str, int]:
        """Number of waiting rows by table; tables without any are left out."""
        return self._unpublished.rows()

    def rows_of(self, number: int) -> dict[str, pa.Table]:
        """Waiting rows by table, as rows of epoch `number`; repeated texts are dictionary arrays."""
        return self._unpublished.of(number)

    def waiting(self, table: str) -> str:
        """Name by which statements can read the waiting rows of a table."""
        return self._unpublished.shown(table, self.connection)

    def newest(self) -> Epoch:
        """Return the epoch with the highest number; number 0, published, in a new store."""
        return self._newest

    def newest_offsets(self) -> dict[int, int]:
        """Offsets of the newest epoch."""
        return dict(self._newest_offsets)

    def highest(self, streams: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int]:
        """Highest number of an event in any epoch, by stream."""
        if len(self._highest) > limits.STREAMS_KNOWN_MAX:
            self._highest.clear()
        if lacking := [stream for stream in streams if stream not in self._highest]:
            source, stream = zip(*lacking, strict=True)
            with self.incoming(pa.table({"source": source, "stream": stream})):
                rows = self.connection.execute(
                    "SELECT source, stream, max(highest) FROM spans SEMI JOIN incoming "
                    "USING (source, stream) WHERE table_name IN ('events', 'expired') GROUP BY ALL"
                ).fetchall()
            self._highest |= dict.fromkeys(lacking, -1)
            self._highest |= {(source, stream): last for source, stream, last in rows}
        return {stream: self._highest[stream] for stream in streams}

    def numbers_of(self, classes: Iterable[Class]) -> tuple[int, ...]:
        """Numbers of some classes, sorted; new classes are saved with the next recorded epoch."""
        return tuple(sorted({self._classes.setdefault(each, len(self._classes)) for each in classes}))

    def record(
        self,
        number: int,
        topic: str,
        made: Sequence[Segment],
        moved: int,
        folded: Folded | None,
        published_ns: int,
        also: Callable[[], None],
    ) -> None:
        """Record the files of an epoch; its rows stop waiting, and the offsets of `topic` move behind them.

        Parameters
        ----------
        made
            Fresh segments of the epoch.
        moved
            Epoch up to which history is in one of them; 0 if it is in none.
        folded
            Files that replace others from this epoch on.
        published_ns
            Time of publication; set to that of the previous epoch if it is earlier.
        also
            Called within the transaction.
        """
        offsets = self.offsets(topic)
        ends = ", ".join(f"{part:d}: {behind:d}" for part, behind in sorted(offsets.items()))
        every = [*made, *(folded.made if folded else ())]
        # If the clock was set back, labels stay at the last value, because retention depends on their order.
        label_ns, log = max(published_ns, self.published_ns), self._log_id
        with self.transaction():
            self.enter(every)
            if folded is not None:
                self._replace(number, folded)
            self.connection.execute(
                f"INSERT INTO epochs VALUES (?, ?, ?, MAP {{{ends}}}, ?, ?, ?)",  # noqa: S608 - numbers
                [number, RECORDED, label_ns, sum(self.rows().values()), log.cluster, log.topic],
            )
            if moved:
                self.connection.execute("DELETE FROM epochs WHERE epoch <= ?", [moved])
            self._forget_put_by()
            if offsets != self._newest_offsets:
                self._move(topic)
            also()
        self._at_hand, self.published_ns = (
            self._at_hand + 1 - (limits.EPOCHS_AT_HAND_MAX // 2 if moved else 0),
            label_ns,
        )
        self.files.add(every)
        if folded is not None:
            self.files.replace(number, folded)
        self._newest, self._newest_offsets = Epoch(number, RECORDED), offsets
        self._classes_kept, self._put_by = len(self._classes), False
        self._unpublished.clear(self.connection)
        for each in made:
            if each.table == "events":
                for span in each.spans:
                    key = (span.source, span.stream)
                    if key in self._highest:
                        self._highest[key] = max(self._highest[key], span.highest)

    def enter(self, made: Sequence[Segment]) -> None:
        """Insert segments and the classes of their rows, within a transaction."""
        if made:
            self._insert("segments", SEGMENT_COLUMNS, [row_of(segment) for segment in made])
        if spans := [(each.file, each.table, *span) for each in made for span in each.spans]:
            self._insert("spans", SPAN_COLUMNS, spans)
        if new := [(n, *content) for content, n in self._classes.items() if n >= self._classes_kept]:
            self._insert("classes", CLASS_COLUMNS, new)

    def _move(self, topic: str) -> None:
        """Set the stored offsets of a topic to those behind the waiting rows."""
        # Read before they are deleted, because a writer that closes at once has not read them yet.
        moved = [(topic, *place) for place in self.offsets(topic).items()]
        self.connection.execute("DELETE FROM offsets WHERE topic = ?", [topic])
        if moved:
            marks = ", ".join(["(?, ?, ?)"] * len(moved))
            self.connection.execute(f"INSERT INTO offsets VALUES {marks}", [*chain(*moved)])  # noqa: S608 - marks

    def published(self) -> None:
        """Mark the newest epoch as published."""
        self._newest = Epoch(self._newest.number, PUBLISHED)

    def _replace(self, number: int, folded: Folded) -> None:
        self.connection.execute(
            "UPDATE segments SET superseded = ? WHERE list_contains(?, file)", [number, folded.replaced]
        )
        self.connection.execute("DELETE FROM spans WHERE list_contains(?, file)", [folded.replaced])
        self.connection.execute(
            "UPDATE segments SET listed = true WHERE list_contains(?, file)", [folded.listed]
        )
        self.connection.execute(
            "UPDATE indexes SET superseded = ? WHERE list_contains(?, file)", [number, folded.merged]
        )
        if folded.index is not None:
            self._insert("indexes", INDEX_COLUMNS, [astuple(folded.index)])

    def _insert(self, table: str, columns: pa.Schema, rows: Sequence[tuple[Any, ...]]) -> None:
        content = [
            pa.array(values, kind)
            for values, kind in zip(zip(*rows, strict=True), columns.types, strict=True)
        ]
        with self.incoming(pa.Table.from_arrays(content, schema=columns)):
            self.connection.execute(f"INSERT INTO {table} BY NAME FROM incoming")

    def history(self) -> pa.Table | None:
        """Epochs to move out of the file, as rows of `epochs`; None if there are few."""
        if self._at_hand < limits.EPOCHS_AT_HAND_MAX:
            return None
        oldest = self.connection.sql(
            "SELECT published_ns, offsets, rows, cluster, topic, epoch FROM epochs ORDER BY epoch LIMIT ?",
            params=[limits.EPOCHS_AT_HAND_MAX // 2],
        )
        return oldest.to_arrow_table().cast(schema_of("epochs"))

    def indexes(self) -> list[Index]:
        """Index files in force, oldest first."""
        columns = ", ".join(INDEX_COLUMNS.names)
        return [
            Index(*row)
            for row in self.connection.execute(
                f"SELECT {columns} FROM indexes WHERE superseded IS NULL ORDER BY first_epoch"  # noqa: S608
            ).fetchall()
        ]

    def unlisted(self) -> list[Span]:
        """Spans of folded segments that no index covers yet."""
        return self.connection.execute(
            "SELECT file, table_name, role, source, stream, lowest, highest FROM spans SEMI JOIN "
            "(FROM segments WHERE NOT fresh AND NOT listed AND superseded IS NULL) USING (file)"
        ).fetchall()

    def history_at_hand(self) -> list[tuple[int, int]]:
        """(epoch, published_ns) of the epochs whose history is in the file."""
        return self.connection.execute("SELECT epoch, published_ns FROM epochs ORDER BY epoch").fetchall()

    @property
    def classes(self) -> list[Class]:
        """Classes by number."""
        return list(self._classes)

    def is_large(self) -> bool:
        """Whether deleted rows take so much of the file that it should be rebuilt."""
        size = sum(path.stat().st_size for path in self._directory.glob(f"{HOT}*"))
        return size > max(limits.HOT_BYTES_MAX, limits.HOT_GROWTH_MAX * self._bytes)

    def rebuild(self, after_step: Callable[[int], None]) -> None:
        """Copy the content of the file to a new one that replaces it.

        DuckDB keeps deleted texts in the file even after DELETE, CHECKPOINT and VACUUM.
        """
        path, beside = self._directory / HOT, self._directory / f"{HOT}{TEMPORARY}"
        beside.unlink(missing_ok=True)
        (name,) = self.only_row("SELECT current_database()")
        self.connection.execute(f"ATTACH {quoted(str(beside))} AS next (BLOCK_SIZE {BLOCK_BYTES})")
        try:
            self.connection.execute(f'COPY FROM DATABASE "{name}" TO next')
        finally:
            self.connection.execute("DETACH next")
        sync(beside)
        after_step(8)
        # Closing merges the write-ahead log into the file and deletes it, so that the new file does not meet
        # it.
        self.connection.execute("CHECKPOINT")
        self.connection.close()
        if not path.with_name(f"{HOT}.wal").exists():
            beside.replace(path)
            sync(self._directory)
        after_step(9)
        self.open()

    def known_files(self) -> set[str]:
        """Every segment and index of any epoch, including superseded ones."""
        return {
            file
            for (file,) in self.connection.execute(
                "SELECT file FROM segments UNION ALL SELECT file FROM indexes"
            ).fetchall()
        }

    def forget(self, files: Sequence[str]) -> None:
        """Remove the entries of deleted files."""
        with self.transaction():
            for table in ("segments", "indexes"):
                self.connection.execute(f"DELETE FROM {table} WHERE list_contains(?, file)", [files])  # noqa: S608 - names of ours
        self.files.forget(files)
