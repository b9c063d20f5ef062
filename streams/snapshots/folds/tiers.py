"""Which files are folded next: fresh ones when they are many, then files of one size, so that few are left.

A row is rewritten a few times in its life: files grow by TIER_FACTOR from one tier to the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from streams import limits
from streams.snapshots.files.output import MIXED
from streams.snapshots.folds.fold import Index


class Current(Struct, frozen=True):
    """A segment in force, as far as folds choose by it."""

    file: str
    table: str
    first_epoch: int
    last_epoch: int
    rows: int
    fresh: bool
    audience: int | None


class Choice(Struct, frozen=True):
    """Files to be folded: fresh ones with what is mixed, to be split, or those of one group."""

    files: Sequence[Current]
    group: int | None


def choose(current: Sequence[Current], rows_max: int, *, all_fresh: bool = False) -> Choice | None:
    """Choose what to fold now; None when there is nothing to gain.

    Parameters
    ----------
    rows_max
        Of fresh epochs in one fold; the first epoch is taken whatever it has.
    all_fresh
        Fold what is fresh however little it is, and nothing else: for the end.
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
    """As many files of one group and tier as make a file of the next; the lowest tier first."""
    by_tier: dict[tuple[int, str, int], list[Current]] = {}
    for (table, audience), some in groups.items():
        for file in some:
            by_tier.setdefault((tier_of(file.rows), table, audience), []).append(file)
    for key in sorted(by_tier):
        if len(by_tier[key]) >= limits.TIER_FACTOR:
            return by_tier[key]
    return None


def _crowd(groups: Mapping[tuple[str, int], Sequence[Current]]) -> list[Current] | None:
    """The smallest files of the group that has most."""
    some = max(groups.values(), key=len, default=())
    return sorted(some, key=lambda file: file.rows)[: limits.TIER_FACTOR] if len(some) > 1 else None


def tier_of(rows: int) -> int:
    """Tier of a file with so many rows."""
    tier, bound = 0, limits.TIER_ROWS
    while rows >= bound:
        tier, bound = tier + 1, bound * limits.TIER_FACTOR
    return tier


def absorbed(indexes: Sequence[Index], rows: int) -> list[Index]:
    """Which of some index files, oldest first, a new one with so many rows takes in.

    Those that are left are each TIER_FACTOR times as large as the next, so there are few. However small the
    new one is, it counts as INDEX_ROWS_MIN: the blocks of an index of its own would be more than its rows.
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
