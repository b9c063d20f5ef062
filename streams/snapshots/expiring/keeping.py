"""How long the store keeps what, and what time it is for the broker, as this store has heard of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from streams import clock, limits
from streams.events.brokers_time import BrokersTime
from streams.events.record import stamp_ns
from streams.lineage.expired import KEPT
from streams.policy.policy import DAY_NS
from streams.snapshots.epochs.hot import Class, Hot
from streams.snapshots.erasing.rewriting import Rewriting
from streams.snapshots.folds.fold import Folded
from streams.snapshots.intake.lookup import Lookup
from streams.snapshots.rows.poll import Poll, numbers

log = logging.getLogger(__name__)

#: What a catalog says of each class: `until_ns` is the append time up to which it was over at `clock_ns`, by
#: the clock of this machine, so that a reader knows what is over later.
SHOWN = pa.schema([*KEPT, *((name, pa.int64()) for name in ("until_ns", "clock_ns", "began_ns"))])


class Expiring:
    """One rewriting of the store without what is over, for `Folder`.

    Parameters
    ----------
    kept
        Rows of KEPT.
    now_ns
        The broker's time.
    """

    def __init__(self, rewriting: Rewriting, kept: pa.Table, now_ns: int) -> None:
        self._rewriting, self._kept, self._now_ns = rewriting, kept, now_ns

    def interrupt(self) -> None:
        """End it soon, with an error."""
        self._rewriting.interrupt()

    def run(self) -> Folded:
        """Make the files; errors are those of `Rewriting.run`."""
        with self._rewriting as rewriting:
            return rewriting.expire(self._kept, self._now_ns)


class Keeping:
    """Used by the writer alone, in its thread; call `read` after the hot file was opened again.

    The broker's time is that of the newest record that was taken in, and what has passed since. It is in the
    hot file with each epoch, beside the time of this machine's clock.
    """

    def __init__(self, hot: Hot, known: Lookup) -> None:
        self._hot, self._known = hot, known
        self._time, self._days = BrokersTime(), dict[Class, int]()
        self._warned = False
        #: The newest epoch without what was over before, as long as files of before may be there; else 0.
        self.epoch = 0
        self.read()

    def read(self) -> None:
        """Read what the hot file has."""
        row = self._hot.connection.execute("FROM keeping").fetchone()
        self._heard_ns, self._clock_ns, self._passed_ns, self._began_ns = row or (0, 0, 0, 0)
        # A new store has nothing that was over before it began; one of before retention may.
        self._is_new = row is None and not self._hot.newest().number

    def hear(self, poll: Poll) -> None:
        """Note the append times of the records of a poll.

        A time that is more than CLOCKS_APART_S_MAX ahead of this machine's clock is passed over: what it
        would destroy does not come back.
        """
        latest_ns = clock.now_ns() + limits.CLOCKS_APART_S_MAX * 1_000_000_000
        times = [stamp_ns(place.record) for place in poll.places]
        believed = [at_ns for at_ns in times if at_ns <= latest_ns]
        if len(believed) < len(times) and not self._warned:
            self._warned = True
            log.error(
                "Records are from more than %d s ahead of this machine's clock; nothing leaves the store by "
                "such a time, set the clocks right",
                limits.CLOCKS_APART_S_MAX,
            )
        if believed:
            self._time.heard(max(believed), clock.monotonic_ns())
            if self._is_new:
                self._is_new, self._passed_ns, self._began_ns = False, min(believed), min(believed)

    def note(self, folded: Folded | None, epoch: int) -> None:
        """Write down the time, and what an epoch records of retention; within its transaction."""
        if folded is not None and folded.passed_ns:
            self._passed_ns = folded.passed_ns
            self._known.passed()
            self.epoch = epoch if folded.replaced else self.epoch
        if heard_ns := self._time.now_ns(clock.monotonic_ns()):
            self._heard_ns, self._clock_ns = heard_ns, clock.now_ns()
        elif not self._heard_ns:
            return
        times = [self._heard_ns, self._clock_ns, self._passed_ns, self._began_ns]
        changed = "UPDATE keeping SET heard_ns = ?, clock_ns = ?, passed_ns = ?, began_ns = ?"
        # Rows that are deleted with each epoch would make the file grow.
        if self._hot.connection.execute(changed, times).fetchall() == [(0,)]:
            self._hot.connection.execute("INSERT INTO keeping VALUES (?, ?, ?, ?)", times)

    def content(self) -> Mapping[str, pa.Table]:
        """Tables of a catalog that follow from the policies in the store."""
        return {"vocabularies": self._known.vocabularies(), "keeping": self.shown()}

    def shown(self) -> pa.Table:
        """Rows of SHOWN; none if no time of a broker was ever heard."""
        kept = self._kept() if self._heard_ns else KEPT.empty_table()
        until_ns = self._heard_ns - np.minimum(numbers(kept, "days"), limits.KEPT_DAYS_MAX) * DAY_NS
        alike = ([moment_ns] * len(kept) for moment_ns in (self._clock_ns, self._began_ns))
        return pa.table([*kept.columns, *(pa.array(each, pa.int64()) for each in (until_ns, *alike))], SHOWN)

    def work(self, path: Path, after_step: Callable[[int], None]) -> Expiring | None:
        """The rewriting that is to be done now; None if no day of the broker has ended since the last one."""
        now_ns = self._time.now_ns(clock.monotonic_ns())
        if now_ns // DAY_NS <= self._passed_ns // DAY_NS:
            return None
        return Expiring(Rewriting(self._hot, path, after_step), self._kept(), now_ns)

    def finish(self, superseded: Iterable[int], rebuild: Callable[[], None]) -> None:
        """Write the hot file again, which has deleted texts until then, once no file of before is left."""
        if self.epoch and not any(replaced <= self.epoch for replaced in superseded):
            self.epoch = 0
            rebuild()

    def _kept(self) -> pa.Table:
        """Classes with the days for which they are kept; those without a policy in the store are left out."""
        lacking = [each for each in self._hot.classes if each not in self._days]
        policies = self._known.policies({version for version, *_ in lacking}, {}) if lacking else {}
        for version, zone, label in lacking:
            days = policies[version].kept_days(zone, label) if version in policies else None
            if days is not None:
                self._days[version, zone, label] = days
        rows = [(*each, days) for each, days in self._days.items()]
        columns = zip(*rows, strict=True) if rows else [()] * len(KEPT)
        return pa.table(
            [pa.array(column, kind) for column, kind in zip(columns, KEPT.types, strict=True)], KEPT
        )
