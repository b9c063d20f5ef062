"""The only writer of a store: takes records of `glasses.lineage` in, publishes them as epochs.

Delivery: the files of an epoch and `(topic, partition) -> next offset` are recorded in one transaction, so
every record is in the store exactly once, whatever happens to the process: what was taken in for an epoch
that is not recorded is read again. An offset is that of the next record to read, past all that the rows hold.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from io import FileIO
from pathlib import Path
from typing import Any, Literal

import duckdb
import pyarrow as pa

from streams import clock, limits
from streams.errors import InputError, MalformedError
from streams.events.record import LogId, Received
from streams.lineage.tables import TABLES
from streams.snapshots.epochs import catalog, fresh
from streams.snapshots.epochs.hot import PUBLISHED, RECORDED, Hot
from streams.snapshots.epochs.plan import plan
from streams.snapshots.files import directory
from streams.snapshots.files.retention import Retention
from streams.snapshots.folds.folder import Folder
from streams.snapshots.folds.tiers import choose
from streams.snapshots.intake import decode, genuine, overlap
from streams.snapshots.intake.lookup import Lookup
from streams.snapshots.rows.poll import Poll
from streams.snapshots.upgrade import migrations
from streams.topology import LINEAGE

STEPS = range(1, 10)
"""What a crash can fall between, for tests.

1 rows taken in, 2 segments written, 3 segments and offsets recorded, 4 catalog written, 5 name moved, 6
superseded files deleted, 7 their names forgotten, 8 hot file made anew beside the old one, 9 in its place. Of
a fold: 10 segments made, 11 index made.
"""


def _no_hook(step: int) -> None:
    del step


def _no_word(sentence: str) -> None:
    del sentence


class Writer:
    """An open store, for one thread at a time.

    Parameters
    ----------
    path
        The store's directory, which `open` has claimed.
    lock
        The open file that holds the claim.
    after_step
        Called with the number of each of `STEPS` and of `fold.STEPS` after it is done; a test raises or dies
        there.
    folder
        Runs the folds.
    """

    def __init__(self, path: Path, lock: FileIO, after_step: Callable[[int], None], folder: Folder) -> None:
        self.path, self._lock, self._after_step = path, lock, after_step
        self._hot = Hot(path)
        self._folder = folder
        self._known = Lookup(self._hot)
        self._retention = Retention(path)
        #: Current files, at least roughly: the number is known when a fold is chosen.
        self._files = 0
        self._waiting_since_ns: int | None = None

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        after_step: Callable[[int], None] = _no_hook,
        fold: Literal["beside", "inline"] = "beside",
        say: Callable[[str], None] = _no_word,
    ) -> Writer:
        """Open or make the store in `path` and finish the epoch that a crash may have left half published.

        A store of an earlier version is taken over first (`migrations`).

        Parameters
        ----------
        after_step
            See `Writer`.
        fold
            Whether segments are folded in a thread beside the publishing, or in the publishing itself.
        say
            Gets one sentence when they cannot be folded.

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
            migrations.take_over(path)
            folder = Folder(inline=fold == "inline", after_step=after_step, say=say)
            writer = cls(path, lock, after_step, folder)
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
        """Let go of the store. Rows that are not published are put into the hot file for the next writer."""
        try:
            self._folder.abandon()
            # A disk that is full was told of by whoever met it; the log has the rows.
            with contextlib.suppress(duckdb.Error):
                self._hot.put_by(LINEAGE)
            self._hot.close()
        finally:
            self._lock.close()

    def reopen(self) -> None:
        """After a write that failed: open the hot file again and finish what was begun, as after a crash.

        The claim stays, and what was taken in.

        OSError or duckdb.Error when that fails too; it can be called again.
        """
        self._folder.abandon()
        with contextlib.suppress(duckdb.Error):
            self._hot.close()
        self._hot.open()
        self._recover()

    def offsets(self) -> dict[int, int]:
        """Next offset to read by partition of `glasses.lineage`; partitions never read are absent."""
        return self._hot.offsets(LINEAGE)

    def follow(self, log_id: LogId) -> str:
        """Note that the stored offsets belong to the log that is about to be read.

        Return a sentence for the operator: empty, or that the store did not name its log so far.

        Raises
        ------
        InputError
            They belong to another one.
        """
        known = self._hot.log_id()
        if log_id.other_than(known):
            raise InputError(
                f"{self.path}: the store was filled from another log of {LINEAGE}: found {log_id}, expected "
                f"{known}. The topic was deleted and made again, or this is another broker. Use the one that "
                "the store belongs to, or another store; to go on in this store with the new log from its "
                "beginning, add --adopt"
            )
        learned = LogId(known.cluster or log_id.cluster, known.topic or log_id.topic)
        if learned == known:
            return ""
        self._hot.keep_log(learned)
        if not self.offsets():
            return ""
        return (
            f"{self.path}: the store did not say which log its offsets belong to; from now on it is "
            f"{learned}. If it was filled from another one, start with --adopt"
        )

    def adopt(self, log_id: LogId, now_ns: int) -> bool:
        """Begin a new range of offsets, with another log; return whether it is another one.

        A log that cannot be told from the former one counts as another, since that is what the caller says.
        What was taken in of the former one is published first, so that every epoch is of one log. The next
        epoch says the new one and has no offsets of the former.
        """
        if log_id.topic and log_id == self._hot.log_id():
            return False
        while self._hot.newest().state != PUBLISHED or self._hot.rows():
            self.publish(now_ns)
        self._hot.change_log(log_id, LINEAGE)
        return True

    def ingest(
        self, records: Mapping[int, Sequence[Received]], next_offsets: Mapping[int, int], monotonic_ns: int
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
        monotonic_ns
            Nanoseconds of a clock that never runs backwards; the time from which `publish_due` counts.
        """
        return self.take_in(decode.read(records), next_offsets, monotonic_ns)

    def take_in(self, poll: Poll, next_offsets: Mapping[int, int], monotonic_ns: int) -> int:
        """Take in what `decode.read` made of records, as `ingest` does; another thread may have read them."""
        stored = self.offsets()
        poll.pass_over(stored)
        moved = dict(next_offsets)
        for place in poll.places:
            moved[place.partition] = max(moved.get(place.partition, 0), place.record.offset + 1)
        moved = {
            partition: offset for partition, offset in moved.items() if offset > stored.get(partition, 0)
        }
        return self._append(self._believed(poll), moved, monotonic_ns)

    def ingest_tables(self, tables: Mapping[str, Mapping[str, Sequence[Any]]], monotonic_ns: int) -> int:
        """Take in column lists by table without Kafka, for a replay; return the number of rows.

        Delivery: they are in the store with the next epoch, or once this writer is closed. There is no
        offset: who calls twice has the rows twice. MalformedError, and nothing taken in, when they lack
        the columns of `TABLES`.
        """
        unknown = tables.keys() - TABLES.keys()
        if unknown:
            raise MalformedError(f"lineage tables: found {min(unknown)}, which is none of ours")
        return self._append(
            {name: decode.arrow_of(name, columns) for name, columns in tables.items()}, {}, monotonic_ns
        )

    def publish_due(self, monotonic_ns: int) -> int | None:
        """Publish if something has waited for PUBLISH_INTERVAL_MS, or a fold is to be recorded.

        Return the epoch's number, or None. `monotonic_ns` as in `ingest`.
        """
        if self._waiting_since_ns is None and self._anything_new():
            self._waiting_since_ns = monotonic_ns
        if (
            self._waiting_since_ns is None
            or monotonic_ns - self._waiting_since_ns < limits.PUBLISH_INTERVAL_MS * 1_000_000
        ):
            return None
        return self.publish(clock.now_ns())

    def publish(self, now_ns: int) -> int | None:
        """Publish what was taken in since the last epoch, under the label `now_ns` (Unix epoch, UTC).

        Return its number, or None when there is nothing new.

        A new store's first epoch may be empty, so that readers find typed views, and so is one that only
        records a fold. After an error the next call goes on with the same epoch.
        """
        epoch = self._publish(now_ns)
        if epoch is not None:
            self._fold()
        return epoch

    def _publish(self, now_ns: int) -> int | None:
        newest = self._hot.newest()
        if newest.state == PUBLISHED:
            if newest.number and not self._anything_new():
                return None
            if self._files > limits.CURRENT_FILES_MAX - 2 * len(TABLES):
                # Folds cannot keep up with what comes in: better an epoch later than one of too many files,
                # but a fold that hangs keeps nobody from what is new.
                self._folder.result(limits.FOLD_WAIT_MAX_S)
            self._record(newest.number + 1, now_ns)
        self._finish()
        self._waiting_since_ns = None
        return self._hot.newest().number

    def settle(self, now_ns: int) -> int | None:
        """Publish what is left, fold what is fresh, sweep and rebuild the hot file: for an orderly end.

        Return the last epoch's number, or None when there was nothing to publish.
        """
        self._folder.result(None)
        epoch = self._publish(now_ns)
        while self._fold(all_fresh=True) and self._folder.result(None) is not None:
            epoch = self._publish(now_ns) or epoch
        self._rebuild()
        return epoch

    def _fold(self, *, all_fresh: bool = False) -> bool:
        """Begin a fold if there is something to gain; return whether one began."""
        self._folder.result()
        if not self._folder.free:
            self._files += len(TABLES)
            return False
        current = self._hot.files.segments()
        self._files = len(current)
        choice = choose(current, self._folder.rows_max, all_fresh=all_fresh)
        if choice is None:
            return False
        self._folder.start(plan(self._hot, self.path, choice))
        return True

    def _believed(self, poll: Poll) -> dict[str, pa.Table]:
        """Tables of the rows that agents can have written; the others become rows of `rejected`."""
        self._known.forget()
        genuine.check_tags(poll, self._known)
        overlap.check(poll, self._known)
        tables = {name: content for name, content in poll.tables.items() if content.num_rows}
        if refused := list(poll.rejected()):
            rejected = decode.arrow_of(
                "rejected", {name: [row[name] for row in refused] for name in TABLES["rejected"]}
            )
            tables["rejected"] = (
                pa.concat_tables([tables["rejected"], rejected]).unify_dictionaries()
                if "rejected" in tables
                else rejected
            )
        return tables

    def _append(self, tables: Mapping[str, Any], moved: Mapping[int, int], monotonic_ns: int) -> int:
        rows: int = sum(content.num_rows for content in tables.values())
        if rows or moved:
            self._hot.append(tables, LINEAGE, moved)
            if self._waiting_since_ns is None:
                self._waiting_since_ns = monotonic_ns
            self._after_step(1)
        return rows

    def _anything_new(self) -> bool:
        """Whether rows wait, a fold is to be recorded, or offsets passed what the newest epoch says.

        The latter is a last transaction marker: who waits for the end of the topic must see it reached.
        """
        return (
            bool(self._hot.rows())
            or self._folder.result() is not None
            or self._hot.newest_offsets() != self.offsets()
        )

    def _recover(self) -> None:
        if self._hot.newest().state != PUBLISHED:
            self._finish()
        directory.remove_leftovers(self.path, self._hot.known_files())
        self._waiting_since_ns = None
        self._sweep()

    def _record(self, number: int, now_ns: int) -> None:
        """Write the files of a new epoch and record them: until that is done the epoch is not begun."""
        began_s = clock.monotonic_s()
        made, moved = fresh.write(self._hot, self.path, number)
        folded = self._folder.result()
        self._after_step(2)
        # As close to the moment when readers see it as a row inside the file can say.
        at_ns = now_ns + int((clock.monotonic_s() - began_s) * 1e9)
        self._hot.record(number, LINEAGE, made, moved, folded, at_ns)
        # One that ended meanwhile is for the next epoch.
        if folded is not None:
            self._folder.recorded()
        self._after_step(3)

    def _finish(self) -> None:
        """Publish the newest epoch, from whichever step it has reached.

        A step that is done again changes nothing.
        """
        newest = self._hot.newest()
        if newest.state == RECORDED:
            if directory.pointed(self.path) != directory.catalog_name(newest.number):
                catalog.write(self._hot, self.path, newest.number, self._known.vocabularies())
                self._after_step(4)
                directory.point(self.path, newest.number)
            self._hot.published()
            self._after_step(5)
            self._retention.follows(newest.number)
        self._sweep()
        if self._hot.is_large():
            self._rebuild()

    def _rebuild(self) -> None:
        """Make the hot file anew, so that rows which left it are gone from the disk too."""
        self._hot.rebuild(self._after_step)

    def _sweep(self) -> None:
        """Delete files that newer epochs replaced, once the time is over that readers are promised."""
        gone = self._retention.sweep(self._hot.files.superseded())
        self._after_step(6)
        if gone:
            self._hot.forget(gone)
            self._after_step(7)
