"""Erasures of one store: what is to be applied, how far each has come, and what no longer gets in."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from streams import limits
from streams.consent.erased import Erasure, Mark, with_erased
from streams.snapshots.epochs.hot import Hot
from streams.snapshots.erasing.arriving import withhold
from streams.snapshots.erasing.erasures import ALONE, Applied, Erasures
from streams.snapshots.erasing.logged import forget_in_log
from streams.snapshots.erasing.rewriting import Rewriting
from streams.snapshots.files.directory import epochs_of
from streams.snapshots.folds.fold import Folded
from streams.snapshots.intake.lookup import Lookup
from streams.snapshots.rows.poll import Poll

STEPS = (15, 16, 17)
"""The last steps of an erasure: 15 the hot file without its rows is in place, 16 the audit log is without its
ids, 17 the absence of both recorded."""


class Erased(Struct, frozen=True):
    """Result of an erasure, to be recorded by the next epoch.

    `keep` is called within the epoch's transaction, with its number and time.
    """

    folded: Folded | None
    keep: Callable[[int, int], None]


class Eraser:
    """Used by the writer alone, in its thread.

    Parameters
    ----------
    after_step
        See `Writer`; called with those of `rewriting` and of this module.
    """

    def __init__(self, hot: Hot, path: Path, after_step: Callable[[int], None]) -> None:
        self._hot, self._path, self._after_step = hot, path, after_step
        self._erasures = Erasures(hot)
        self._learned_ns = 0

    def opened_again(self) -> None:
        """Read again what the hot file has, because it was opened again."""
        self._erasures.read()

    def state(self, erasures: Iterable[Erasure], mark: Mark) -> None:
        """See `Erasures.state`."""
        self._erasures.state(erasures, mark)

    def pending(self) -> list[Erasure]:
        """Erasures that are to be applied now, in order."""
        return self._erasures.pending()

    def due(self, monotonic_ns: int) -> bool:
        """Whether an applied erasure is to be applied again: nothing of it arrived for a while."""
        rest_ns = limits.ERASED_AGAIN_S * 1_000_000_000
        return self._erasures.owed() and monotonic_ns - self._learned_ns >= rest_ns

    @property
    def changed(self) -> bool:
        """Whether the newest catalog does not show the erasures as they are."""
        return self._erasures.changed

    def published(self) -> None:
        """Note that a catalog shows them."""
        self._erasures.changed = False

    def withhold(self, poll: Poll, known: Lookup, monotonic_ns: int) -> None:
        """Leave what is erased out of a poll."""
        if withhold(poll, self._erasures, self._hot, known):
            self._learned_ns = monotonic_ns

    def rewrite(self, erasure: Erasure) -> Erased | None:
        """Make the files without the rows of an erasure, or of one that is applied again.

        Returns None if nothing changed since it was applied; then that is written down.
        """
        mark, before = self._erasures.mark, self._erasures.applied(erasure)
        if mark is None:
            raise AssertionError("an erasure is stated with its mark")
        with Rewriting(self._hot, self._path, self._after_step) as rewriting:
            wearers = rewriting.wearers()
            where, times = erasure.at_place, erasure.times
            bounds = {
                wearer: times if where is None else with_erased(times, *rewriting.stays(wearer, where))
                for wearer in wearers
                if wearer and mark(wearer) == erasure.mark
            }
            streams = rewriting.streams() if before else []
            known = self._erasures.known(streams, wearers, certain=False)
            made = rewriting.run(bounds, known, words=where is None)
        # What was replaced before, for another erasure of the same wearer, may still be there.
        if clean := not made.rows and not self._erasures.waiting():
            forget_in_log(self._path, self._erasures)
        if before and not made.rows:
            with self._hot.transaction():
                self._erasures.keep(replace(before, owed=False))
            return None
        rows, files = (before.rows, before.files) if before else (0, 0)

        def keep(epoch: int, now_ns: int) -> None:
            self._erasures.remember(made.runs, alone=ALONE)
            self._erasures.remember(made.devices, alone=ALONE)
            self._erasures.keep(
                Applied(
                    erasure.mark,
                    erasure.number,
                    erasure.at_ns,
                    epoch,
                    rows + made.rows,
                    files + made.files,
                    now_ns,
                    now_ns if clean else 0,
                    False,
                )
            )

        return Erased(made.folded if made.rows else None, keep)

    @property
    def epoch(self) -> int:
        """The newest epoch whose erased rows may still be in files of before; 0 if there is none."""
        return max((each.epoch for each in self._erasures.waiting()), default=0)

    def finish(self, superseded: Iterable[int], rebuild: Callable[[], None], now_ns: int) -> None:
        """Write down that nothing is left, neither in the audit log, if no file of before is.

        `superseded` are the epochs that replaced files which are not deleted yet.
        `rebuild` writes the hot file again, which has deleted texts until then.
        """
        epoch = self.epoch
        # Before the erasures are stated again, after a start, nothing tells names from marks.
        if not epoch or self._erasures.mark is None or any(replaced <= epoch for replaced in superseded):
            return
        if any(each < epoch for each in epochs_of(self._path)):
            return
        rebuild()
        self._after_step(15)
        # Last, so that it has the reads of those who were promised the former files.
        forget_in_log(self._path, self._erasures)
        self._after_step(16)
        self._erasures.absent(now_ns)
        self._after_step(17)
