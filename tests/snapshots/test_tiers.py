"""Files stay few and rows are rewritten seldom, however long epochs go on: the choice alone, no files."""

from __future__ import annotations

from collections import Counter

import pytest

from streams import limits
from streams.snapshots.files.output import MIXED, UNZONED
from streams.snapshots.folds.fold import Index
from streams.snapshots.folds.tiers import Choice, Current, absorbed, choose, tier_of

TABLES = {"events": 600, "edges": 120, "decisions": 300, "zone_runs": 40, "rejected": 8, "inputs": 1}
#: How rows of a zoned table fall on audiences.
SHARES = {1: 0.5, 3: 0.25, 7: 0.15, 15: 0.06, 31: 0.03, 63: 0.01}
SPLIT = ("events", "edges", "decisions", "rejected")


class Model:
    """A store's files, and how often each row of a table was written."""

    def __init__(self) -> None:
        self.current: list[Current] = []
        self.indexes: list[Index] = []
        self.written: Counter[str] = Counter()
        self.taken: Counter[str] = Counter()
        self._next = 0

    def add(
        self, table: str, rows: int, epoch: tuple[int, int], audience: int | None, *, fresh: bool
    ) -> None:
        self._next += 1
        self.current.append(Current(f"f{self._next}", table, *epoch, rows, fresh, audience))
        self.written[table] += rows

    def publish(self, epoch: int, scale: int) -> None:
        for table, rows in TABLES.items():
            self.taken[table] += rows * scale
            self.add(table, rows * scale, (epoch, epoch), MIXED, fresh=True)

    def fold(self, choice: Choice) -> None:
        self.current = [one for one in self.current if one not in choice.files]
        for table in {one.table for one in choice.files}:
            some = [one for one in choice.files if one.table == table]
            rows = sum(one.rows for one in some)
            epochs = min(one.first_epoch for one in some), max(one.last_epoch for one in some)
            if choice.group is not MIXED or table not in SPLIT:
                self.add(
                    table, rows, epochs, choice.group if choice.group is not MIXED else UNZONED, fresh=False
                )
                continue
            parts = {audience: int(rows * share) for audience, share in SHARES.items()}
            rest = rows - sum(part for part in parts.values() if part >= limits.RESIDUE_ROWS)
            for audience, part in parts.items():
                if part >= limits.RESIDUE_ROWS:
                    self.add(table, part, epochs, audience, fresh=False)
            if rest:
                self.add(table, rest, epochs, MIXED, fresh=False)
        if choice.group is MIXED:
            rows = sum(one.rows for one in choice.files if one.fresh and one.table in ("edges", "zone_runs"))
            taken = absorbed(self.indexes, rows)
            self.indexes = [one for one in self.indexes if one not in taken]
            size = rows + sum(one.edges for one in taken)
            self.indexes.append(Index(f"i{self._next}", 0, 0, size, 0, 0, ""))


@pytest.mark.parametrize("scale", [1, 20])
def test_files_are_few_at_any_size_and_rows_are_rewritten_seldom(scale: int) -> None:
    model = Model()
    most = most_indexes = 0
    for epoch in range(1, 3001):
        model.publish(epoch, scale)
        most = max(most, len(model.current))
        # One fold an epoch: what one made is recorded before the next is chosen.
        if choice := choose(model.current, limits.FOLD_ROWS_MAX):
            assert len(choice.files) > 1
            model.fold(choice)
        most_indexes = max(most_indexes, len(model.indexes))
    assert most <= limits.CURRENT_FILES_MAX
    assert most_indexes <= 6
    for table in TABLES:
        assert model.written[table] / model.taken[table] <= 15, table


def test_a_fold_takes_whole_epochs_up_to_its_bound_and_at_least_one() -> None:
    model = Model()
    for epoch in range(1, limits.FOLD_EPOCHS_MIN + 1):
        model.publish(epoch, 20)
    choice = choose(model.current, 50_000)
    assert choice is not None
    assert {one.last_epoch for one in choice.files} == {1, 2}
    least = choose(model.current, 1)
    assert least is not None
    assert {one.last_epoch for one in least.files} == {1}


def test_nothing_is_folded_while_little_is_fresh_unless_it_is_the_end() -> None:
    model = Model()
    for epoch in range(1, 4):
        model.publish(epoch, 1)
    assert choose(model.current, limits.FOLD_ROWS_MAX) is None
    assert choose(model.current, limits.FOLD_ROWS_MAX, all_fresh=True) is not None


def test_large_files_are_left_alone() -> None:
    rows = limits.TIER_ROWS_MAX + 1
    assert tier_of(limits.TIER_ROWS - 1) == 0
    assert tier_of(limits.TIER_ROWS * limits.TIER_FACTOR) == 2
    large = [Current(f"f{at}", "events", 1, 2, rows, False, 3) for at in range(8)]
    assert choose(large, limits.FOLD_ROWS_MAX) is None


def _index(rows: int) -> Index:
    return Index(f"i{rows}", 0, 0, rows, 0, 0, "")


def test_no_index_of_few_rows_stands_beside_another_of_few() -> None:
    """Its blocks would be more than its rows; one of many is not written again for a few rows."""
    small, large = _index(limits.TIER_FACTOR * limits.INDEX_ROWS_MIN - 1), _index(10_000_000)
    assert absorbed([large, small], 3) == [small]
    assert absorbed([large, small], limits.INDEX_ROWS_MIN) == [small]
    assert absorbed([large], 3) == []
    assert absorbed([], 3) == []
