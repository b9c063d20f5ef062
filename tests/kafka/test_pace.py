"""How much a partition reads at once: little at first, more while that is done soon."""

from __future__ import annotations

from streams import limits
from streams.kafka.pace import Pace

SOON_S, LATE_S = limits.FETCH_WORK_S / 2, limits.FETCH_WORK_S * 2


def test_fetches_begin_small_and_grow_while_they_are_full_and_done_soon() -> None:
    pace, taken = Pace(), list[int]()
    while not taken or taken[-1] < limits.FETCH_RECORDS_MAX:
        taken.append(pace.records_max)
        pace.done(taken[-1], SOON_S)
    assert taken == [250, 500, 1000, 2000, 4000, 5000]
    assert pace.records_max == limits.FETCH_RECORDS_MAX


def test_small_fetches_say_nothing_about_larger_ones() -> None:
    pace = Pace()
    for _ in range(10):
        pace.done(limits.FETCH_RECORDS_FIRST // 2 - 1, SOON_S)
    assert pace.records_max == limits.FETCH_RECORDS_FIRST


def test_a_fetch_that_takes_long_is_followed_by_half_of_it() -> None:
    pace = Pace()
    for records in (250, 500, 1000):
        pace.done(records, SOON_S)
    pace.done(1800, LATE_S)
    assert pace.records_max == 900
    pace.done(900, LATE_S)
    pace.done(10, LATE_S)
    assert pace.records_max == limits.FETCH_RECORDS_FIRST
