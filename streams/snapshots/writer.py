"""The only writer of a store: takes records of `glasses.lineage` in, publishes them as epochs.

Delivery: rows and `(topic, partition) -> next offset` are one transaction, so every record is in the store
exactly once, whatever happens to the process. An offset is that of the next record to read, past everything
the rows hold.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from io import FileIO
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from streams import clock, limits
from streams.errors import MalformedError
from streams.events.record import Received
from streams.lineage.tables import TABLES
from streams.snapshots import catalog, decode, directory, genuine, overlap, segments
from streams.snapshots.hot import FIXED, PUBLISHED, RECORDED, Hot
from streams.snapshots.known import Known
from streams.snapshots.poll import Poll
from streams.snapshots.segments import Segment
from streams.topology import LINEAGE

#: Files up to this size are folded together; larger ones are left alone, so a row is rewritten few times in
#: its life.
SMALL_BYTES = 1024 * 1024
#: Of the files that one epoch folds: more would not fit the memory of a sort, and readers would wait for it.
FOLD_BYTES_MAX = 16 * 1024 * 1024
STEPS = range(1, 10)
"""What a crash can fall between, for tests.

1 rows taken in, 2 epoch fixed, 3 segments written, 4 segments recorded, 5 catalog written, 6 name moved, 7
rows left, 8 superseded files deleted, 9 their names forgotten.
"""


def _no_hook(step: int) -> None:
    del step


class Writer:
    """An open store, for one thread at a time.

    Parameters
    ----------
    path
        The store's directory, which `open` has claimed.
    lock
        The open file that holds the claim.
    after_step
        Called with the number of each of `STEPS` after it is done; a test raises or dies there.
    """

    def __init__(self, path: Path, lock: FileIO, after_step: Callable[[int], None]) -> None:
        self.path, self._lock, self._after_step = path, lock, after_step
        self._hot = Hot(path)
        self._known = Known(self._hot)
        self._waiting_since_ns: int | None = None

    @classmethod
    def open(cls, path: Path, *, after_step: Callable[[int], None] = _no_hook) -> Writer:
        """Open or make the store in `path` and finish the epoch that a crash may have left half published.

        Raises
        ------
        UnavailableError
            Another writer has the directory.
        InputError
            It holds files that are no store's, or a store that cannot be read.
        """
        path = path.resolve()
        lock = directory.claim(path)
        try:
            writer = cls(path, lock, after_step)
        except BaseException:
            lock.close()
            raise
        try:
            writer._recover()
        except BaseException:
            writer.close()
            raise
        return writer

    def close(self) -> None:
        """Let go of the store. Rows that are not published stay in the hot file for the next writer."""
        try:
            self._hot.close()
        finally:
            self._lock.close()

    def reopen(self) -> None:
        """After a write that failed: open the hot file again and finish what was begun, as after a crash.

        The claim stays.

        OSError or duckdb.Error when that fails too; it can be called again.
        """
        with contextlib.suppress(duckdb.Error):
            self._hot.close()
        self._hot.open()
        self._recover()

    def offsets(self) -> dict[int, int]:
        """Next offset to read by partition of `glasses.lineage`; partitions never read are absent."""
        return self._hot.offsets(LINEAGE)

    def ingest(
        self, records: Mapping[int, Sequence[Received]], next_offsets: Mapping[int, int], now_ns: int
    ) -> int:
        """Take in what one poll returned; return the number of rows.

        Parameters
        ----------
        records
            Records of `glasses.lineage` by partition. Those below the stored next offset were taken in before
            and are skipped; one that no agent can have written becomes a row of `rejected`, and so do the
            rows of one that stand already.
        next_offsets
            Where reading goes on, by partition: past the records and the transaction markers behind them.
        now_ns
            Nanoseconds since the epoch; the time from which `publish_due` counts.
        """
        return self.take_in(decode.read(records), next_offsets, now_ns)

    def take_in(self, poll: Poll, next_offsets: Mapping[int, int], now_ns: int) -> int:
        """Take in what `decode.read` made of records, as `ingest` does; another thread may have read them."""
        stored = self.offsets()
        poll.pass_over(stored)
        moved = dict(next_offsets)
        for place in poll.places:
            moved[place.partition] = max(moved.get(place.partition, 0), place.record.offset + 1)
        moved = {
            partition: offset for partition, offset in moved.items() if offset > stored.get(partition, 0)
        }
        return self._append(self._believed(poll), moved, now_ns)

    def ingest_tables(self, tables: Mapping[str, Mapping[str, Sequence[Any]]], now_ns: int) -> int:
        """Take in column lists by table without Kafka, for a replay; return the number of rows.

        Delivery: one transaction, and no offset: who calls twice has the rows twice. MalformedError, and
        nothing taken in, when they do not have the columns of `TABLES`.
        """
        unknown = tables.keys() - TABLES.keys()
        if unknown:
            raise MalformedError(f"lineage tables: found {min(unknown)}, which is none of ours")
        return self._append(
            {name: decode.arrow_of(name, columns) for name, columns in tables.items()}, {}, now_ns
        )

    def publish_due(self, now_ns: int) -> int | None:
        """Publish if something has waited for PUBLISH_INTERVAL_MS; return the epoch's number, or None."""
        if (
            self._waiting_since_ns is None
            or now_ns - self._waiting_since_ns < limits.PUBLISH_INTERVAL_MS * 1_000_000
        ):
            return None
        return self.publish(now_ns)

    def publish(self, now_ns: int) -> int | None:
        """Publish what was taken in since the last epoch.

        Return its number, or None when there is nothing new.

        A new store's first epoch may be empty, so that readers find typed views. After an error the next call
        goes on with the same epoch.
        """
        newest = self._hot.newest()
        if newest.state == PUBLISHED:
            if newest.number and not self._anything_new():
                return None
            newest_number = newest.number + 1
            self._hot.fix(newest_number, LINEAGE)
            self._after_step(2)
        else:
            newest_number = newest.number
        self._finish(newest_number, now_ns)
        self._waiting_since_ns = now_ns if self._anything_new() else None
        return newest_number

    def _believed(self, poll: Poll) -> dict[str, pa.Table]:
        """Tables of what agents can have written among some records, and rows of `rejected` for the rest."""
        self._known.forget()
        genuine.check_tags(poll, self._known)
        overlap.check(poll, self._known)
        tables = {name: content for name, content in poll.tables.items() if content.num_rows}
        if refused := list(poll.rejected()):
            said = decode.arrow_of(
                "rejected", {name: [row[name] for row in refused] for name in TABLES["rejected"]}
            )
            tables["rejected"] = (
                pa.concat_tables([tables["rejected"], said]).unify_dictionaries()
                if "rejected" in tables
                else said
            )
        return tables

    def _append(self, tables: Mapping[str, Any], moved: Mapping[int, int], now_ns: int) -> int:
        rows: int = sum(content.num_rows for content in tables.values())
        if rows or moved:
            # An epoch that is on its way out is closed: new rows belong to the one after it.
            self._hot.append(tables, self._hot.newest().number + 1, LINEAGE, moved)
            if self._waiting_since_ns is None:
                self._waiting_since_ns = now_ns
            self._after_step(1)
        return rows

    def _anything_new(self) -> bool:
        """Whether rows wait, or offsets passed what the newest epoch says.

        The latter is a last transaction marker: who waits for the end of the topic must see it reached.
        """
        return bool(self._hot.rows()) or self._hot.newest_offsets() != self.offsets()

    def _recover(self) -> None:
        now_ns = clock.now_ns()
        newest = self._hot.newest()
        if newest.state != PUBLISHED:
            self._finish(newest.number, now_ns)
        directory.remove_leftovers(self.path, self._hot.known_files())
        self._waiting_since_ns = now_ns if self._anything_new() else None

    def _finish(self, number: int, now_ns: int) -> None:
        """Bring a fixed epoch out, from wherever it stands.

        Every step can be done again and then changes nothing.
        """
        began_s = clock.monotonic_s()
        if self._hot.newest().state == FIXED:
            made, replaced = self._write_segments(number)
            self._after_step(3)
            # As close to the moment when readers see it as a row inside the file can say.
            self._hot.record(number, made, replaced, now_ns + int((clock.monotonic_s() - began_s) * 1e9))
            self._after_step(4)
        if self._hot.newest().state == RECORDED:
            if directory.pointed(self.path) != directory.catalog_name(number):
                catalog.write(self._hot, self.path, number)
                self._after_step(5)
                directory.point(self.path, number)
            self._after_step(6)
            self._hot.leave(number)
            self._after_step(7)
        self._sweep(now_ns)

    def _write_segments(self, number: int) -> tuple[list[Segment], list[str]]:
        """Write a segment per table that has rows in the epoch.

        Fold the small files of one table into its new one.
        """
        fold = self._to_fold()
        made, replaced = [], []
        for table in sorted(self._hot.tables_of(number) | fold.keys()):
            select, parameters = f"SELECT * FROM {table} WHERE epoch <= {number:d}", []  # noqa: S608 - names from TABLES
            if table in fold:
                select += " UNION ALL SELECT * FROM read_parquet(?)"
                parameters = [[str(self.path / file) for file in fold[table]]]
                replaced += fold[table]
            made.append(
                segments.write(
                    self._hot.connection, self.path, table, select, parameters, number, self._hot.store_id
                )
            )
        directory.sync(self.path / directory.SEGMENTS)
        return made, replaced

    def _to_fold(self) -> dict[str, list[str]]:
        """Files to be folded in this epoch.

        These are the small ones of the table that has most, when they are too many.

        One table an epoch, so that no epoch waits for all of them; when all files together are too many,
        large ones too.
        """
        current = self._hot.current_files()
        crowded = len(current) >= limits.CURRENT_FILES_MAX - len(TABLES)
        small: dict[str, list[tuple[int, str]]] = {}
        for table, file, size in current:
            if size <= SMALL_BYTES or crowded:
                small.setdefault(table, []).append((size, file))
        table = max(small, key=lambda name: len(small[name]), default="")
        if not table or len(small[table]) < limits.COMPACT_FILES_PER_TABLE:
            return {}
        chosen, total = list[str](), 0
        for size, file in sorted(small[table]):
            if len(chosen) >= 2 and total + size > FOLD_BYTES_MAX:
                break
            chosen.append(file)
            total += size
        return {table: chosen}

    def _sweep(self, now_ns: int) -> None:
        """Delete files and catalogs superseded longer ago than the grace that readers are promised."""
        instant_ns = now_ns - int(limits.SUPERSEDED_GRACE_S * 1e9)
        files = self._hot.superseded_before(instant_ns)
        for name in (
            *files,
            *(directory.catalog_name(epoch) for epoch in self._hot.outdated_epochs(instant_ns)),
        ):
            (self.path / name).unlink(missing_ok=True)
        self._after_step(8)
        if files:
            self._hot.forget(files)
            self._after_step(9)
