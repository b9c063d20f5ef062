"""`reach` contains all that is otherwise in a world in which a wearer never was."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from tests.replay.counterfactual import Compared, compared

#: One world is drawn at each run, besides one with held runs and one with withheld answers, both shared.
FEW = settings(
    max_examples=1,
    deadline=None,
    print_blob=True,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)


@cache
def rows_of(seed: int) -> Sequence[Compared]:
    return list(compared(seed, 160))


@FEW
@given(seed=st.integers(21, 1_000_000))
@example(4)
@example(2)
def test_all_that_differs_without_a_wearer_is_reached(seed: int) -> None:
    assert not [row for row in rows_of(seed) if row.missed or row.astray or row.unexplained], rows_of(seed)


def test_lineage_leads_to_most_of_it_and_not_to_all() -> None:
    """Otherwise the test above would show little."""
    rows = [*rows_of(4), *rows_of(2)]
    assert sum(row.led_to_differ for row in rows) > 0.9 * sum(row.led_to for row in rows), rows
    assert any(row.differ > row.led_to_differ for row in rows), rows
    assert any(row.only_without for row in rows), rows
    assert {row.shared for row in rows} == {True, False}
