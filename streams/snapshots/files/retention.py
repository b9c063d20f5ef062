"""Decide which files readers may still need: superseded ones for some time, and recent catalogs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from streams import clock, limits
from streams.snapshots.files.directory import catalog_name, epochs_of


class Retention:
    """Decides which files of a store's directory may be deleted, by a monotonic clock.

    A file that epoch N replaced may be deleted SUPERSEDED_GRACE_S after N was published, or ERASED_GRACE_S
    after an erasure's epoch that is N or later. For epochs from before this process, the times of the files
    are used, as far as they are plausible.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        now_s, wall_s = clock.monotonic_s(), clock.now_ns() / 1e9
        #: Monotonic time at which each epoch was published; epochs without a catalog have been unused for
        #: long.
        self._since_s: dict[int, float] = {}
        for epoch in epochs_of(path):
            age_s = wall_s - (path / catalog_name(epoch)).stat().st_ctime
            self._since_s[epoch] = now_s - min(max(age_s, 0.0), limits.SUPERSEDED_GRACE_S)

    def follows(self, epoch: int) -> None:
        """Note that `epoch` is the newest one from now on."""
        self._since_s.setdefault(epoch, clock.monotonic_s())

    def sweep(self, superseded: Mapping[str, int], erased: int = 0) -> list[str]:
        """Delete unneeded files and return them; `superseded` has the epoch that replaced each.

        Catalogs from before epoch `erased` may name who was erased in it, and go with the files of that time.
        """
        stood = self._stood(limits.SUPERSEDED_GRACE_S)
        # What names the erased does not wait as long for readers.
        if erased <= self._stood(limits.ERASED_GRACE_S):
            stood = max(stood, erased)
        gone = [file for file, epoch in superseded.items() if epoch <= stood]
        for file in gone:
            (self._path / file).unlink(missing_ok=True)
        present = epochs_of(self._path)
        replaced = [epoch for epoch in present if epoch < erased <= stood]
        for epoch in {*present[: -limits.CATALOGS_MAX], *replaced}:
            (self._path / catalog_name(epoch)).unlink(missing_ok=True)
        for epoch in [epoch for epoch in self._since_s if epoch < stood]:
            del self._since_s[epoch]
        return gone

    def _stood(self, for_s: float) -> int:
        """The newest epoch that was published so long ago."""
        due_s = clock.monotonic_s() - for_s
        return max((epoch for epoch, since_s in self._since_s.items() if since_s <= due_s), default=0)
