"""The only writer of a store: takes in records of `glasses.lineage` and publishes them as epochs.

Delivery: exactly once. The files of an epoch and the next offset of each partition are recorded in one
transaction. If the process ends before, the records of the unfinished epoch are read again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from io import FileIO
from pathlib import Path
from typing import Any, Literal

import duckdb

from streams import clock, limits
from streams.consent.erased import Erasure, Mark
from streams.errors import MalformedError
from streams.events.record import LogId, Received
from streams.lineage.tables import TABLES
from streams.snapshots.epochs import catalog, fresh, logs, share
from streams.snapshots.epochs.hot import PUBLISHED, RECORDED, Hot
from streams.snapshots.epochs.plan import plan
from streams.snapshots.erasing.eraser import Erased, Eraser
from streams.snapshots.expiring.keeping import Keeping
from streams.snapshots.files import directory
from streams.snapshots.files.retention import Retention
from streams.snapshots.folds.fold import Fold
from streams.snapshots.folds.folder import Folder
from streams.snapshots.folds.tiers import choose
from streams.snapshots.intake import decode
from streams.snapshots.intake.believed import believed
from streams.snapshots.intake.lookup import Lookup
from streams.snapshots.measuring import Measures
from streams.snapshots.rows.poll import Poll
from streams.snapshots.upgrade import migrations
from streams.topology import LINEAGE

STEPS = range(1, 10)
"""Steps between which tests simulate a crash.

1 rows taken in, 2 segments written, 3 segments and offsets recorded, 4 catalog written, 5 link moved to it, 6
superseded files deleted, 7 their names removed, 8 new hot file made beside the old one, 9 old one replaced.
Of a fold: 10 segments made, 11 index made. Of an erasure: `rewriting.STEPS` and `eraser.STEPS`.
"""


def _nothing(told: object) -> None:
    del told


class Writer:
    """An open store, for one thread at a time.

    Parameters
    ----------
    path
        The store's directory, which `open` has claimed.
    lock
        The open file that holds the claim.
    after_step
        Called after each of `STEPS` and `fold.STEPS` with its number; tests raise or end the process there.
    folder
        Runs the folds.
    """

    def __init__(self, path: Path, lock: FileIO, after_step: Callable[[int], None], folder: Folder) -> None:
        self.path, self._lock, self._after_step = path, lock, after_step
        self._hot = Hot(path)
        self._measures = Measures(self._hot)
        self._folder = folder
        self._known = Lookup(self._hot)
        self._eraser = Eraser(self._hot, path, after_step)
        self._keeping = Keeping(self._hot, self._known)
        self._retention = Retention(path)
        #: Approximate number of current files; exact when a fold is chosen.
        self._files = 0
        #: Since when rows wait, by the monotonic clock; None: none do.
        self.waiting_since_ns: int | None = None

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        after_step: Callable[[int], None] = _nothing,
        fold: Literal["beside", "inline"] = "beside",
        say: Callable[[str], None] = _nothing,
    ) -> Writer:
        """Open or create the store in `path`, and finish an epoch that a crash left half published.

        A store of an earlier version is migrated first (`migrations`).

        Parameters
        ----------
        after_step
            See `Writer`.
        fold
            Whether segments are folded in a thread of their own, or as part of publishing.
        say
            Called with one sentence if they cannot be folded.

        Raises
        ------
        UnavailableError
            Another writer has the directory.
        InputError
            The directory holds other files than a store's, or a store that cannot be read.
        """
        path = path.resolve()
        lock = directory.claim(path)
        try:
            migrations.take_over(path)
            writer = cls(path, lock, after_step, Folder(inline=fold == "inline", say=say))
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
        """Close the store. Unpublished rows are put into the hot file for the next writer."""
        try:
            self._folder.abandon()
            # A full disk was reported already, and the rows are still in Kafka.
            with contextlib.suppress(duckdb.Error):
                self._hot.put_by(LINEAGE)
            self._hot.close()
        finally:
            self._lock.close()

    def reopen(self) -> None:
        """Recover from a failed write: open the hot file again and finish what was begun, as after a crash.

        The writer keeps its claim on the directory, and the rows that were taken in. OSError or duckdb.Error
        if this fails too; it can then be called again.
        """
        self._folder.abandon()
        with contextlib.suppress(duckdb.Error):
            self._hot.close()
        self._hot.open()
        self._eraser.opened_again()
        self._keeping.read()
        self._recover()

    def offsets(self) -> dict[int, int]:
        """Next offset to read by partition of `glasses.lineage`; partitions never read are left out."""
        return self._hot.offsets(LINEAGE)

    def hold(self, partitions: Sequence[int] | None, count: int) -> tuple[int, ...] | None:
        """Make the store hold only some partitions, from its beginning on (`share.hold`).

        Return the partitions to read; None for all.
        """
        return share.hold(self._hot, self.path, partitions, count)

    def follow(self, log_id: LogId) -> str:
        """Check that the stored offsets belong to the log that is about to be read (`logs.follow`)."""
        return logs.follow(self._hot, self.path, log_id)

    def adopt(self, log_id: LogId, now_ns: int) -> bool:
        """Switch to another log with offsets of its own; return False if it is the current log.

        A log without an id counts as another one, because the caller says so. Rows of the current log are
        published first, so that every epoch is of one log. The next epoch names the new log and has no
        offsets of the former one.
        """
        if log_id.topic and log_id == self._hot.log_id():
            return False
        while self._hot.newest().state != PUBLISHED or self._hot.rows():
            self.publish(now_ns)
        self._hot.change_log(log_id, LINEAGE)
        return True

    def erase(self, erasures: Sequence[Erasure], mark: Mark, now_ns: int) -> int | None:
        """Apply erasures that the store has not applied yet; what they are about is never taken in again.

        Rows of the erased wearers in the time of each erasure, and what was derived from them, leave all
        files with an epoch of its own, and files of before after the time that readers are promised. `mark`
        is `KeyStore.mark_of`. Return the last new epoch, or None if there is none. The table `erasures` says
        how far each has come. After an error, the next call goes on with what is left.
        """
        self._eraser.state(erasures, mark)
        return self._erase(now_ns)

    def ingest(
        self, records: Mapping[int, Sequence[Received]], next_offsets: Mapping[int, int], monotonic_ns: int
    ) -> int:
        """Take in what one poll returned; return the number of rows.

        Parameters
        ----------
        records
            Records of `glasses.lineage` by partition. Records below the stored next offset were taken in
            before and are skipped. A record that no agent can have written becomes a row of `rejected`, and
            so does a row whose events the store has already.
        next_offsets
            Next offset to read by partition, after the records and the transaction markers behind them.
        monotonic_ns
            Now in ns, by a monotonic clock; `publish_due` counts from here.
        """
        return self.take_in(decode.read(records), next_offsets, monotonic_ns)

    def take_in(self, poll: Poll, next_offsets: Mapping[int, int], monotonic_ns: int) -> int:
        """Like `ingest`, for records that were decoded with `decode.read`, possibly in another thread."""
        stored = self.offsets()
        poll.pass_over(stored)
        self._keeping.hear(poll)
        self._eraser.withhold(poll, self._known, monotonic_ns)
        moved = dict(next_offsets)
        for place in poll.places:
            moved[place.partition] = max(moved.get(place.partition, 0), place.record.offset + 1)
        moved = {part: offset for part, offset in moved.items() if offset > stored.get(part, 0)}
        return self._append(believed(poll, self._known), moved, monotonic_ns)

    def ingest_tables(self, tables: Mapping[str, Mapping[str, Sequence[Any]]], monotonic_ns: int) -> int:
        """Take in columns by table without Kafka, for a replay; return the number of rows.

        Delivery: rows are in the store with the next epoch, or when this writer is closed. There are no
        offsets, so a second call with the same rows stores them twice. MalformedError, and nothing is taken
        in, if columns of `TABLES` are missing.
        """
        unknown = tables.keys() - TABLES.keys()
        if unknown:
            raise MalformedError(f"lineage tables: found {min(unknown)}, which is none of ours")
        made = {name: decode.arrow_of(name, columns) for name, columns in tables.items()}
        return self._append(made, {}, monotonic_ns)

    def publish_due(self, monotonic_ns: int) -> int | None:
        """Publish if rows or a finished fold have waited for PUBLISH_INTERVAL_MS.

        Return the number of the epoch, or None. `monotonic_ns` as in `ingest`.
        """
        if self._eraser.due(monotonic_ns):
            return self._erase(clock.now_ns())
        if self._eraser.epoch or self._keeping.epoch:
            self._sweep()
        if self.waiting_since_ns is None and self._anything_new():
            self.waiting_since_ns = monotonic_ns
        since_ns = self.waiting_since_ns
        if since_ns is None or monotonic_ns - since_ns < limits.PUBLISH_INTERVAL_MS * 1_000_000:
            return None
        return self.publish(clock.now_ns())

    def publish(self, now_ns: int) -> int | None:
        """Publish what was taken in since the last epoch, with the time `now_ns` (ns since the Unix epoch).

        Return the number of the new epoch, or None if there is nothing new.

        The first epoch of a store may be empty, so that readers find typed views; an epoch that only records
        a fold adds no rows either. After an error the next call continues with the same epoch.
        """
        began_s, epoch = clock.monotonic_s(), self._publish(now_ns)
        if epoch is not None:
            self._measures.took(clock.monotonic_s() - began_s)
            self._fold()
        return epoch

    def _publish(self, now_ns: int) -> int | None:
        newest = self._hot.newest()
        if newest.state == PUBLISHED:
            if newest.number and not self._anything_new():
                return None
            if self._files > limits.CURRENT_FILES_MAX - 2 * len(TABLES):
                # Folds cannot keep up, so wait a bounded time: late is better than of too many files.
                self._folder.result(limits.FOLD_WAIT_MAX_S)
            self._record(newest.number + 1, now_ns)
        self._finish()
        self.waiting_since_ns = None
        return self._hot.newest().number

    def _erase(self, now_ns: int) -> int | None:
        epoch, apart_ns = None, now_ns - clock.monotonic_ns()
        for erasure in self._eraser.pending():
            self._folder.abandon()
            # What the fold made already has all rows of its segments.
            directory.remove_leftovers(self.path, self._hot.known_files())
            while self._hot.newest().state != PUBLISHED or self._hot.rows():
                epoch = self._publish(now_ns) or epoch
            if (erased := self._eraser.rewrite(erasure)) is not None:
                self._record(self._hot.newest().number + 1, apart_ns + clock.monotonic_ns(), erased)
                self._finish()
                epoch = self._hot.newest().number
        self._sweep()
        # What is absent at once is told by another epoch.
        return (self._publish(now_ns) if self._eraser.changed else None) or epoch

    def settle(self, now_ns: int) -> int | None:
        """Finish in order: publish the rest, fold fresh segments, delete old files, rebuild the hot file.

        Return the number of the last epoch, or None if there was nothing to publish.
        """
        self._folder.result(None)
        epoch = self._publish(now_ns)
        epoch = self._erase(now_ns) or epoch
        while self._fold(all_fresh=True) and self._folder.result(None) is not None:
            epoch = self._publish(now_ns) or epoch
        self._rebuild()
        return epoch

    def _fold(self, *, all_fresh: bool = False) -> bool:
        """Begin a fold if it is worthwhile; return whether one began."""
        self._folder.result()
        if not self._folder.free:
            self._files += len(TABLES)
            return False
        if not self._eraser.epoch and (over := self._keeping.work(self.path, self._after_step)) is not None:
            self._folder.start(over)
            return True
        current = self._hot.files.segments()
        self._files = len(current)
        if (choice := choose(current, self._folder.rows_max, all_fresh=all_fresh)) is None:
            return False
        self._folder.start(Fold(plan(self._hot, self.path, choice), self._after_step))
        return True

    def _append(self, tables: Mapping[str, Any], moved: Mapping[int, int], monotonic_ns: int) -> int:
        rows: int = sum(content.num_rows for content in tables.values())
        if rows or moved:
            self._hot.append(tables, LINEAGE, moved)
            self._measures.taken_in(tables)
            if self.waiting_since_ns is None:
                self.waiting_since_ns = monotonic_ns
            self._after_step(1)
        return rows

    def _anything_new(self) -> bool:
        """Whether rows wait, a fold must be recorded, or offsets are newer than those of the newest epoch.

        Offsets can move without rows, over a transaction marker at the end of the topic; programs that wait
        for the store to reach the end must see it.
        """
        return (
            bool(self._hot.rows())
            or self._eraser.changed
            or self._folder.result() is not None
            or self._hot.newest_offsets() != self.offsets()
        )

    def _recover(self) -> None:
        if self._hot.newest().state != PUBLISHED:
            self._finish()
        directory.remove_leftovers(self.path, self._hot.known_files())
        self.waiting_since_ns = None
        self._sweep()

    def _record(self, number: int, now_ns: int, erased: Erased | None = None) -> None:
        """Write the files of a new epoch and record them; only then does the epoch exist."""
        began_s, (made, moved) = clock.monotonic_s(), fresh.write(self._hot, self.path, number)
        folded = self._folder.result() if erased is None else erased.folded
        self._after_step(2)
        # The time of publication, as closely as a row inside the published file can have it.
        at_ns = now_ns + int((clock.monotonic_s() - began_s) * 1e9)

        def also() -> None:
            self._keeping.note(folded, number)
            if erased is not None:
                erased.keep(number, at_ns)

        self._hot.record(number, LINEAGE, made, moved, folded, at_ns, also)
        # A fold that ended meanwhile is left for the next epoch.
        if folded is not None:
            self._folder.recorded()
        self._after_step(3)

    def _finish(self) -> None:
        """Publish the newest epoch, beginning with the step that it has reached; steps are safe to repeat."""
        newest = self._hot.newest()
        if newest.state == RECORDED:
            if directory.pointed(self.path) != directory.catalog_name(newest.number):
                catalog.write(self._hot, self.path, newest.number, self._keeping.content())
                self._after_step(4)
                directory.point(self.path, newest.number)
            self._hot.published()
            self._measures.published()
            self._eraser.published()
            self._after_step(5)
            self._retention.follows(newest.number)
        self._sweep()
        if self._hot.is_large():
            self._rebuild()

    def _rebuild(self) -> None:
        """Write the hot file again, so that rows which were moved out of it are gone from the disk too."""
        self._hot.rebuild(self._after_step)

    def _sweep(self) -> None:
        """Delete files that newer epochs replaced, after the time that readers are promised."""
        gone = self._retention.sweep(self._hot.files.superseded(), self._eraser.epoch)
        self._after_step(6)
        if gone:
            self._hot.forget(gone)
            self._after_step(7)
        self._eraser.finish(self._hot.files.superseded().values(), self._rebuild, clock.now_ns())
        self._keeping.finish(self._hot.files.superseded().values(), self._rebuild)
