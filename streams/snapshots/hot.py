"""The hot file: rows that no epoch has published yet, where reading goes on, and what each epoch consists of.

Append-only within an epoch, no index. Every method that writes is one DuckDB transaction: all of it or
nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from streams import limits
from streams.errors import InputError
from streams.events.record import LogId
from streams.lineage.tables import TABLES
from streams.snapshots.books import (
    BLOCK_BYTES,
    CLASS_COLUMNS,
    INDEX_COLUMNS,
    SEGMENT_COLUMNS,
    SPAN_COLUMNS,
    Database,
    Epoch,
    create,
    row_of,
)
from streams.snapshots.directory import HOT, TEMPORARY, sync
from streams.snapshots.fold import Folded, Index
from streams.snapshots.index import Span
from streams.snapshots.segments import Segment, quoted, schema_of
from streams.snapshots.tiers import Current

FIXED, RECORDED, PUBLISHED = "fixed", "recorded", "published"
#: (policy version, zone, label)
Class = tuple[str, str, str]


class Hot(Database):
    """An open hot file. One process, one thread at a time; `directory.claim` must hold the lock."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        path = directory / HOT
        if not path.exists():
            create(directory)
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
        self.connection = duckdb.connect(str(path), config={"memory_limit": "384MB", "threads": 1})
        self.store_id, version = self.one("SELECT id, version FROM store")
        if version != limits.STORE_VERSION:
            self.connection.close()
            raise InputError(
                f"{path}: found store version {version}, expected {limits.STORE_VERSION}; begin a new store,"
                " and read this one with the sightline that wrote it"
            )
        self._bytes = path.stat().st_size
        # Rows that leave with the next epoch need not be moved from the log into the file before.
        self.connection.execute(f"SET checkpoint_threshold = '{limits.HOT_LOG_BYTES_MAX}B'")
        # Catalogs name their segments relative to the directory; their footers never change.
        self.connection.execute(f"SET file_search_path = {quoted(str(self._directory))}")
        self.connection.execute("SET parquet_metadata_cache = true")
        #: By table the rows that have not left the file, with their epochs: publishing needs no statement for
        #: them.
        self._held: dict[str, list[tuple[int, pa.Table]]] = {}
        for table in TABLES:
            for epoch, *_ in self.connection.execute(f"SELECT DISTINCT epoch FROM {table}").fetchall():  # noqa: S608 - names of ours
                found = self.connection.sql(f"SELECT * FROM {table} WHERE epoch = {epoch:d}").to_arrow_table()  # noqa: S608 - names of ours
                self._held.setdefault(table, []).append((epoch, found.drop_columns(["epoch"])))
        found = self.connection.execute(
            "SELECT epoch, state, offsets FROM epochs ORDER BY epoch DESC LIMIT 1"
        ).fetchone() or (0, PUBLISHED, {})
        self._newest, self._newest_offsets = Epoch(*found[:2]), dict(found[2])
        self._classes: dict[Class, int] = {
            (version, zone, label): number
            for number, version, zone, label in self.connection.execute("FROM classes").fetchall()
        }
        self._classes_kept = len(self._classes)
        self._highest: dict[tuple[str, str], int] = {}
        # At hand, since each poll asks for them.
        self._offsets: dict[str, dict[int, int]] = {}

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

    def log_id(self) -> LogId:
        """Return the log that the offsets belong to."""
        return LogId(*self.one("SELECT cluster, topic FROM store"))

    def keep_log(self, log_id: LogId) -> None:
        """Let the offsets belong to a log from now on; they stay as they are."""
        with self.transaction():
            self._keep_log(log_id)

    def change_log(self, log_id: LogId, topic: str) -> None:
        """Let the offsets belong to another log from now on, and forget those of `topic`, together."""
        with self.transaction():
            self._keep_log(log_id)
            self.connection.execute("DELETE FROM offsets WHERE topic = ?", [topic])
        self._offsets.pop(topic, None)

    def _keep_log(self, log_id: LogId) -> None:
        self.connection.execute("UPDATE store SET cluster = ?, topic = ?", [log_id.cluster, log_id.topic])

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
            self._held.setdefault(name, []).append((epoch, content))

    def rows(self) -> dict[str, int]:
        """Rows by table that have not left the file; tables without any are absent."""
        return {table: sum(len(rows) for _, rows in held) for table, held in self._held.items() if held}

    def rows_of(self, number: int) -> dict[str, pa.Table]:
        """Rows of epoch `number` by table, and of those before it that have not left."""
        found = {}
        for table, held in self._held.items():
            schema = schema_of(table)
            parts = [
                rows.append_column(schema.field("epoch"), pa.array(np.full(len(rows), epoch))).cast(schema)
                for epoch, rows in held
                if epoch <= number and len(rows)
            ]
            if parts:
                found[table] = pa.concat_tables(parts)
        return found

    def newest(self) -> Epoch:
        """Return the epoch with the highest number; number 0, published, in a new store."""
        return self._newest

    def newest_offsets(self) -> dict[int, int]:
        """Offsets that the newest epoch says."""
        return dict(self._newest_offsets)

    def highest(self, streams: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int]:
        """Highest number of an event that epochs hold, of those streams that have one."""
        if len(self._highest) > limits.STREAMS_KNOWN_MAX:
            self._highest.clear()
        if lacking := [stream for stream in streams if stream not in self._highest]:
            source, stream = zip(*lacking, strict=True)
            with self.incoming(pa.table({"source": source, "stream": stream})):
                found = self.connection.execute(
                    "SELECT source, stream, max(highest) FROM spans SEMI JOIN incoming "
                    "USING (source, stream) WHERE table_name = 'events' GROUP BY ALL"
                ).fetchall()
            self._highest |= dict.fromkeys(lacking, -1)
            self._highest |= {(source, stream): last for source, stream, last in found}
        return {stream: self._highest[stream] for stream in streams}

    def fix(self, number: int, topic: str) -> None:
        """Fix what epoch `number` holds: rows and offsets of this moment; later rows belong to the next."""
        offsets = self.offsets(topic)
        said = (
            "MAP {"
            + ", ".join(f"{part:d}: {next_offset:d}" for part, next_offset in sorted(offsets.items()))
            + "}"
        )
        with self.transaction():
            self.connection.execute(
                f"INSERT INTO epochs SELECT ?, ?, NULL, {said}, ?, cluster, topic FROM store",  # noqa: S608 - numbers
                [number, FIXED, sum(self.rows().values())],
            )
        self._newest, self._newest_offsets = Epoch(number, FIXED), offsets

    def numbers_of(self, classes: Iterable[Class]) -> tuple[int, ...]:
        """Numbers of some classes, sorted; new ones are kept with the epoch that is recorded next."""
        return tuple(sorted({self._classes.setdefault(one, len(self._classes)) for one in classes}))

    def record(
        self, number: int, made: Sequence[Segment], moved: int, folded: Folded | None, published_ns: int
    ) -> None:
        """Record what an epoch consists of.

        Parameters
        ----------
        made
            Its fresh segments.
        moved
            Epoch up to which history is in one of them; 0 if it is in none.
        folded
            Files that replace others from this epoch on.
        published_ns
            Its label; it is never before that of an earlier epoch.
        """
        with self.transaction():
            made = [*made, *(folded.made if folded else ())]
            if made:
                self._insert("segments", SEGMENT_COLUMNS, [row_of(segment) for segment in made])
            if spans := [(each.file, each.table, *span) for each in made for span in each.spans]:
                self._insert("spans", SPAN_COLUMNS, spans)
            if new := [(n, *one) for one, n in self._classes.items() if n >= self._classes_kept]:
                self._insert("classes", CLASS_COLUMNS, new)
            if folded is not None:
                self._replace(number, folded)
            if moved:
                self.connection.execute("DELETE FROM epochs WHERE epoch <= ?", [moved])
            # A clock that was set back does not take labels back: what is retained goes by them.
            self.connection.execute(
                "UPDATE epochs SET state = ?, published_ns = greatest(?, (SELECT coalesce(max(published_ns), "
                "0) FROM epochs)) WHERE epoch = ?",
                [RECORDED, published_ns, number],
            )
        self._classes_kept = len(self._classes)
        self._newest = Epoch(number, RECORDED)
        for each in made:
            if each.table == "events":
                for span in each.spans:
                    key = (span.source, span.stream)
                    if key in self._highest:
                        self._highest[key] = max(self._highest[key], span.highest)

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
        """Epochs that shall move out of the file, as rows of `epochs`; None while they are few."""
        (count,) = self.one("SELECT count(*) FROM epochs")
        if count < limits.EPOCHS_AT_HAND_MAX:
            return None
        oldest = self.connection.sql(
            "SELECT published_ns, offsets, rows, cluster, topic, epoch FROM epochs ORDER BY epoch LIMIT ?",
            params=[limits.EPOCHS_AT_HAND_MAX // 2],
        )
        return oldest.to_arrow_table().cast(schema_of("epochs"))

    def leave(self, number: int) -> None:
        """Let the rows of a published epoch go."""
        with self.transaction():
            for table, held in self._held.items():
                if any(epoch <= number for epoch, _ in held):
                    self.connection.execute(f"DELETE FROM {table} WHERE epoch <= ?", [number])  # noqa: S608 - names from TABLES
            self.connection.execute("UPDATE epochs SET state = ? WHERE epoch = ?", [PUBLISHED, number])
        self._newest = Epoch(number, PUBLISHED)
        for table, held in list(self._held.items()):
            self._held[table] = [(epoch, rows) for epoch, rows in held if epoch > number]

    def current_files(self) -> dict[str, list[str]]:
        """Segments that are in force, by table, oldest first."""
        found: dict[str, list[str]] = {}
        for table, file in self.connection.execute(
            "SELECT table_name, file FROM segments WHERE superseded IS NULL ORDER BY ALL"
        ).fetchall():
            found.setdefault(table, []).append(file)
        return found

    def segments(self) -> list[Current]:
        """Segments in force as folds choose by them."""
        return [
            Current(*row)
            for row in self.connection.execute(
                "SELECT file, table_name, first_epoch, last_epoch, rows, fresh, audience FROM segments "
                "WHERE superseded IS NULL ORDER BY last_epoch, table_name, file"
            ).fetchall()
        ]

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
        """Spans of folded segments that no index lists yet."""
        return self.connection.execute(
            "SELECT file, table_name, role, source, stream, lowest, highest FROM spans SEMI JOIN "
            "(FROM segments WHERE NOT fresh AND NOT listed AND superseded IS NULL) USING (file)"
        ).fetchall()

    def history_at_hand(self) -> list[tuple[int, int]]:
        """(epoch, published_ns) of the published epochs whose history is in the file."""
        return self.connection.execute(
            "SELECT epoch, published_ns FROM epochs WHERE state = ? ORDER BY epoch", [PUBLISHED]
        ).fetchall()

    @property
    def classes(self) -> list[Class]:
        """Classes by number."""
        return list(self._classes)

    def is_large(self) -> bool:
        """Whether what left the file takes more of it than is worth keeping."""
        size = sum(path.stat().st_size for path in self._directory.glob(f"{HOT}*"))
        return size > max(limits.HOT_BYTES_MAX, limits.HOT_GROWTH_MAX * self._bytes)

    def rebuild(self, after_step: Callable[[int], None]) -> None:
        """Copy what the file holds into a new one that takes its place.

        DuckDB keeps deleted texts in the file through DELETE, CHECKPOINT and VACUUM.
        """
        path, beside = self._directory / HOT, self._directory / f"{HOT}{TEMPORARY}"
        beside.unlink(missing_ok=True)
        (name,) = self.one("SELECT current_database()")
        self.connection.execute(f"ATTACH {quoted(str(beside))} AS next (BLOCK_SIZE {BLOCK_BYTES})")
        try:
            self.connection.execute(f'COPY FROM DATABASE "{name}" TO next')
        finally:
            self.connection.execute("DETACH next")
        sync(beside)
        after_step(10)
        # Closing puts the log into the file and takes it away: it must not meet the new one.
        self.connection.execute("CHECKPOINT")
        self.connection.close()
        if not path.with_name(f"{HOT}.wal").exists():
            beside.replace(path)
            sync(self._directory)
        after_step(11)
        self.open()

    def known_files(self) -> set[str]:
        """Every segment and index that an epoch knows, superseded ones too."""
        return {
            file
            for (file,) in self.connection.execute(
                "SELECT file FROM segments UNION ALL SELECT file FROM indexes"
            ).fetchall()
        }

    def superseded(self) -> dict[str, int]:
        """Files that were replaced and still lie there, with the epoch that replaced them."""
        return dict(
            self.connection.execute(
                "SELECT file, superseded FROM segments WHERE superseded IS NOT NULL UNION ALL "
                "SELECT file, superseded FROM indexes WHERE superseded IS NOT NULL"
            ).fetchall()
        )

    def forget(self, files: Sequence[str]) -> None:
        """Forget files that are gone."""
        with self.transaction():
            for table in ("segments", "indexes"):
                self.connection.execute(f"DELETE FROM {table} WHERE list_contains(?, file)", [files])  # noqa: S608 - names of ours
