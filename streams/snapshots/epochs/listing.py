"""The lists of current and replaced files, in memory because every epoch needs them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import duckdb

from streams.snapshots.files.segments import Segment
from streams.snapshots.folds.fold import Folded
from streams.snapshots.folds.tiers import Current


class Listing:
    """The tables `segments` and `indexes` of a hot file, in memory; changes must be made in both."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._current = {
            file: Current(file, *others)
            for file, *others in connection.execute(
                "SELECT file, table_name, first_epoch, last_epoch, rows, fresh, audience FROM segments "
                "WHERE superseded IS NULL"
            ).fetchall()
        }
        self._superseded: dict[str, int] = dict(
            connection.execute(
                "SELECT file, superseded FROM segments WHERE superseded IS NOT NULL UNION ALL "
                "SELECT file, superseded FROM indexes WHERE superseded IS NOT NULL"
            ).fetchall()
        )

    def add(self, made: Iterable[Segment]) -> None:
        """Add new segments."""
        for segment in made:
            self._current[segment.file] = Current(
                segment.file,
                segment.table,
                segment.first_epoch,
                segment.last_epoch,
                segment.rows,
                segment.fresh,
                segment.audience,
            )

    def replace(self, number: int, folded: Folded) -> None:
        """Replace files by the results of a fold, from epoch `number` on."""
        for file in folded.replaced:
            del self._current[file]
        self._superseded |= dict.fromkeys([*folded.replaced, *folded.merged], number)

    def forget(self, files: Iterable[str]) -> None:
        """Remove the entries of deleted files."""
        for file in files:
            self._superseded.pop(file, None)

    def current_files(self) -> dict[str, list[str]]:
        """Current segments by table, oldest first."""
        by_table: dict[str, list[str]] = {}
        for segment in sorted(self._current.values(), key=lambda segment: (segment.table, segment.file)):
            by_table.setdefault(segment.table, []).append(segment.file)
        return by_table

    def segments(self) -> Sequence[Current]:
        """Current segments with the values that folds choose by."""
        return sorted(
            self._current.values(), key=lambda segment: (segment.last_epoch, segment.table, segment.file)
        )

    def superseded(self) -> dict[str, int]:
        """Replaced files that are not deleted yet, with the epoch that replaced them."""
        return dict(self._superseded)
