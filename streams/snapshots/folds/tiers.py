"""Choose the files of the next fold: fresh ones if there are many, otherwise files of similar size.

Files grow by TIER_FACTOR from one tier to the next, so a row is rewritten only a few times.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from streams import limits
from streams.snapshots.files.output import MIXED
from streams.snapshots.folds.fold import Index


class Current(Struct, frozen=True):
    """A current segment with the values by which folds choose."""

    file: str
    table: str
    first_epoch: int
    last_epoch: int
    rows: int
    fresh: bool
    audience: int | None


class Choice(Struct, frozen=True):
    """Files to fold: either fresh and mixed ones, to be split by audience, or files of one audience."""

    files: Sequence[Current]
    group: int | None


def choose(current: Sequence[Current], rows_max: int, *, all_fresh: bool = False) -> Choice | None:
    """Choose what to fold now; None if it is not worthwhile.

    Parameters
    ----------
    rows_max
        Maximal number of rows of fresh epochs in one fold; the first epoch is always included.
    all_fresh
        Fold all fresh files, however few, and nothing else: used when the writer ends.
    """
    fresh = [file for file in current if file.fresh]
    epochs = {file.last_epoch for file in fresh}
    if len(epochs) >= (1 if all_fresh else limits.FOLD_EPOCHS_MIN) or len(fresh) > limits.FOLD_FILES_MIN:
        return Choice(_oldest(current, fresh, rows_max), MIXED)
    if all_fresh:
        return None
    groups: dict[tuple[str, int], list[Current]] = {}
    totals: dict[str, int] = {}
    for file in current:
        totals[file.table] = totals.get(file.table, 0) + file.rows
    for file in current:
        whole = max(limits.TIER_ROWS_MAX, totals[file.table] // limits.TIER_SHARE_MIN)
        if not file.fresh and file.audience is not MIXED and file.rows <= whole:
            groups.setdefault((file.table, file.audience), []).append(file)
    chosen = _tier(groups) or (_crowd(groups) if len(current) > limits.TIER_FILES_MAX else None)
    return None if chosen is None else Choice(chosen, chosen[0].audience)


def _oldest(current: Sequence[Current], fresh: Sequence[Current], rows_max: int) -> list[Current]:
    """The oldest fresh epochs, and those mixed files of their tables that are not much larger."""
    chosen: list[Current] = []
    rows = 0
    for epoch in sorted({file.last_epoch for file in fresh}):
        some = [file for file in fresh if file.last_epoch == epoch]
        rows += sum(file.rows for file in some)
        if chosen and rows > rows_max:
            break
        chosen += some
    mixed: dict[str, list[Current]] = {}
    for file in current:
        if not file.fresh and file.audience is MIXED:
            mixed.setdefault(file.table, []).append(file)
    for table in {file.table for file in chosen} & mixed.keys():
        taken = sum(file.rows for file in chosen if file.table == table)
        for file in sorted(mixed[table], key=lambda file: file.rows):
            if file.rows >= limits.TIER_FACTOR * taken:
                break
            taken += file.rows
            chosen.append(file)
    return chosen


def _tier(groups: Mapping[tuple[str, int], Sequence[Current]]) -> list[Current] | None:
    """Enough files of one group and tier to make a file of the next tier; the lowest tier first."""
    by_tier: dict[tuple[int, str, int], list[Current]] = {}
    for (table, audience), some in groups.items():
        for file in some:
            by_tier.setdefault((tier_of(file.rows), table, audience), []).append(file)
    for key in sorted(by_tier):
        if len(by_tier[key]) >= limits.TIER_FACTOR:
            return by_tier[key]
    return None


def _crowd(groups: Mapping[tuple[str, int], Sequence[Current]]) -> list[Current] | None:
    """The smallest files of the group with the most files."""
    some = max(groups.values(), key=len, default=())
    return sorted(some, key=lambda file: file.rows)[: limits.TIER_FACTOR] if len(some) > 1 else None


def tier_of(rows: int) -> int:
    """Tier of a file with this number of rows."""
    tier, bound = 0, limits.TIER_ROWS
    while rows >= bound:
        tier, bound = tier + 1, bound * limits.TIER_FACTOR
    return tier


def absorbed(indexes: Sequence[Index], rows: int) -> list[Index]:
    """Which index files (oldest first) are merged with a new one that has this number of rows.

    Each remaining index is at least TIER_FACTOR times as large as the next, so there are few. A small new
    index counts as INDEX_ROWS_MIN, because a separate file's blocks would take more space than its rows.
    """
    rows = max(rows, limits.INDEX_ROWS_MIN)
    taken: list[Index] = []
    for index in reversed(indexes):
        size = index.edges + index.zone_runs
        if size >= limits.TIER_FACTOR * rows:
            break
        rows += size
        taken.insert(0, index)
    return taken
