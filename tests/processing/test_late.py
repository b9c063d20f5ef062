"""Whatever order batches arrive in, the newest revisions are those of the order of capture."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.events.batch import Batch
from tests import build
from tests.processing.arrivals import CORE, arrivals, events, expected, kept, newest, replaced


@settings(max_examples=150, deadline=None)
@given(arrivals())
def test_the_newest_revisions_are_those_of_the_order_of_capture(
    days: tuple[list[Batch], list[Batch]],
) -> None:
    batches, arrived = days
    in_order, _ = build.process(CORE, build.cut(batches, [7]))
    any_order, state = build.process(CORE, [build.fetch(arrived)])
    assert not replaced(in_order)
    assert newest(any_order) == set(events(in_order).values())
    assert {event[:4] for event in newest(any_order)} == expected(batches)
    # When nothing is missing any more, only what the end of the last session closed can still change.
    assert all(window.ended for window in kept(state))


@settings(max_examples=60, deadline=None)
@given(arrivals(), st.lists(st.integers(1, 7), min_size=1, max_size=5))
def test_revisions_do_not_depend_on_how_fetches_were_cut(
    days: tuple[list[Batch], list[Batch]], sizes: list[int]
) -> None:
    _, arrived = days
    whole, end = build.process(CORE, [build.fetch(arrived)])
    pieces, end_of_pieces = build.process(CORE, build.cut(arrived, sizes))
    assert events(pieces) == events(whole)
    assert sorted(replaced(pieces)) == sorted(replaced(whole))
    assert end_of_pieces.devices["g1"].dump() == end.devices["g1"].dump()


@settings(max_examples=40, deadline=None)
@given(arrivals(), st.integers(0, 40))
def test_a_restart_before_a_late_batch_changes_nothing(
    days: tuple[list[Batch], list[Batch]], at: int
) -> None:
    fetches = build.cut(days[1], [3])
    at = min(at, len(fetches) - 1)
    first, before = build.process(CORE, fetches[: at + 1])
    undisturbed, end = build.process(CORE, fetches)
    restored = CORE.restore(0, CORE.save(None, before))
    assert restored == before
    rest, end_of_rest = build.process(CORE, fetches[at + 1 :], restored)
    assert events([*first, *rest]) == events(undisturbed)
    assert end_of_rest.devices["g1"].dump() == end.devices["g1"].dump()
