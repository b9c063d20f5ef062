"""The lag of a reader: never negative, exact in records, and never shorter than what was seen."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams.kafka.behind import Behind

LOOK_S = 3.0


def test_who_has_read_all_is_not_behind() -> None:
    behind = Behind()
    behind.look(10, 10, 0.0)
    assert (behind.records, behind.seconds(100.0, 1e12)) == (0, 0)


def test_an_end_before_the_commit_is_no_negative_lag() -> None:
    behind = Behind()
    behind.look(10, 7, 0.0)
    assert (behind.records, behind.seconds(9.0, 0.0)) == (0, 0)


def test_only_markers_of_transactions_are_no_lag() -> None:
    behind = Behind()
    behind.look(10, 12, 0.0)
    assert behind.records == 2
    behind.look(10, 12, 3.0, only_markers=True)
    assert (behind.records, behind.seconds(50.0, 0.0)) == (0, 0)


def test_a_reader_that_stands_still_is_ever_later() -> None:
    behind = Behind()
    behind.look(10, 15, 100.0)
    behind.look(10, 40, 103.0)
    assert behind.records == 30
    assert behind.seconds(103.0, 0.0) == 3.0
    assert behind.seconds(170.0, 0.0) == 70.0, "the time goes on although nobody could look"


def test_what_came_since_counts_from_then() -> None:
    behind = Behind()
    behind.look(10, 15, 100.0)
    behind.look(10, 40, 103.0)
    behind.look(15, 40, 106.0)
    assert behind.seconds(106.0, 0.0) == 3.0, "record 15 was first seen at 103"
    behind.look(40, 40, 109.0)
    assert behind.seconds(109.0, 0.0) == 0.0


def test_the_age_of_a_record_that_is_read_counts_and_a_clock_that_steps_does_not_hide_the_rest() -> None:
    behind = Behind(oldest_ms=1_000_000)
    behind.look(10, 15, 100.0)
    assert behind.seconds(100.0, 1_600_000) == 600.0
    behind.look(10, 15, 103.0)
    assert behind.seconds(103.0, 900_000) == 3.0, "the time of day was set back"


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=200))
def test_seconds_are_those_since_the_look_that_saw_the_oldest_unread_record(
    moves: list[tuple[int, int]],
) -> None:
    behind, end, at = Behind(), 0, 0
    #: The look at which each record was first in the log.
    seen: list[float] = []
    for look, (written, read) in enumerate(moves):
        end += written
        at = min(at + read, end)
        seen += [look * LOOK_S] * written
        behind.look(at, end, look * LOOK_S)
        assert behind.records == end - at
        expected = look * LOOK_S - seen[at] if at < end else 0.0
        assert behind.seconds(look * LOOK_S, 0.0) == expected


def test_a_reader_that_stands_still_for_days_keeps_little() -> None:
    behind = Behind()
    for look in range(5000):
        behind.look(1, 10 + look, look * LOOK_S)
    assert behind.seconds(5000 * LOOK_S, 0.0) == 5000 * LOOK_S
    assert len(behind._ends) <= 513
