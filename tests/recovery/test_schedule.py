"""The schedule of a chaos run is a function of its seed and keeps its own rules."""

from __future__ import annotations

from itertools import combinations, pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.recovery.schedule import ALONE_AFTER_S, KINDS, QUIET_AFTER_S, schedule

SEEDS = st.integers(0, 2**32)


@given(SEEDS, st.floats(20, 600))
@settings(max_examples=60)
def test_one_seed_gives_one_schedule_and_another_gives_another(seed: int, duration_s: float) -> None:
    assert schedule(seed, duration_s) == schedule(seed, duration_s)
    assert schedule(seed, 600) != schedule(seed + 1, 600)


@given(SEEDS)
@settings(max_examples=60)
def test_faults_are_in_order_end_in_time_and_strike_nobody_twice_at_once(seed: int) -> None:
    faults = schedule(seed, 420)
    assert [fault.at_s for fault in faults] == sorted(fault.at_s for fault in faults)
    for fault in faults:
        assert fault.target in KINDS[fault.kind].targets
        assert KINDS[fault.kind].for_s[0] <= fault.for_s <= KINDS[fault.kind].for_s[1]
        assert 0 < fault.at_s <= fault.at_s + fault.for_s <= 420 - QUIET_AFTER_S
    for one, other in combinations(faults, 2):
        if one.target == other.target:
            assert one.at_s + one.for_s < other.at_s


@given(SEEDS)
@settings(max_examples=60)
def test_a_run_of_seven_minutes_meets_every_kind_and_three_of_them_a_hundred_faults(seed: int) -> None:
    runs = [schedule(number, 420) for number in range(seed, seed + 3)]
    assert all({fault.kind for fault in faults} == set(KINDS) for faults in runs)
    # One run has 47 on average, and 32 of some ten thousand: no bound holds for each.
    assert sum(len(faults) for faults in runs) >= 100


@given(SEEDS)
@settings(max_examples=30)
def test_some_faults_coincide_and_some_kills_stand_alone(seed: int) -> None:
    faults = [
        fault
        for number in range(seed, seed + 3)
        for fault in schedule(number, 420)
        if fault.kind != "backlog"
    ]
    following = list(pairwise(faults))
    assert any(one.at_s < other.at_s < one.at_s + one.for_s for one, other in following)
    assert any(
        one.kind == "worker SIGKILL" and other.at_s - one.at_s >= ALONE_AFTER_S for one, other in following
    )


def test_only_the_kinds_that_are_asked_for_are_dealt() -> None:
    assert {fault.kind for fault in schedule(1, 300, kinds=["disk full", "broker SIGKILL"])} == {
        "disk full",
        "broker SIGKILL",
    }
