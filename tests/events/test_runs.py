"""Runs mean the same as the numbers they stand for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams.events.headers import pack_parents, unpack_parents
from streams.events.runs import EdgeRun, Parent, Run, consecutive, extends, longer_run
from streams.limits import REVISION_MAX
from tests import build

INCREASING = st.sets(st.integers(0, 400), max_size=40).map(sorted)
EDGE_RUNS = st.builds(
    EdgeRun,
    st.builds(Run, st.integers(0, 50), st.integers(1, 9), st.integers(1, 5)),
    st.integers(0, 50),
    st.integers(0, 9),
    st.integers(1, 4),
)


@given(INCREASING)
def test_runs_cover_each_number_once(numbers: list[int]) -> None:
    runs = consecutive(numbers)
    assert [number for run in runs for number in run] == numbers
    assert all(run.step == 1 for run in runs)


@given(st.builds(Run, st.integers(0, 99), st.integers(1, 9), st.integers(1, 9)), st.integers(0, 200))
def test_membership(run: Run, number: int) -> None:
    assert (number in run) == (number in list(run))
    assert run.last == list(run)[-1]


@given(EDGE_RUNS, EDGE_RUNS)
def test_two_edge_runs_become_one_only_if_they_mean_the_same(a: EdgeRun, b: EdgeRun) -> None:
    both = extends(a, b)
    if both is not None:
        assert list(both.pairs()) == [*a.pairs(), *b.pairs()]


RUNS = st.builds(Run, st.integers(0, 30), st.integers(1, 5), st.integers(1, 5))


@given(RUNS, RUNS)
def test_two_runs_become_one_only_if_they_mean_the_same(a: Run, b: Run) -> None:
    both = longer_run(a, b)
    if both is not None:
        assert list(both) == [*a, *b]


@given(RUNS, st.integers(1, 4))
def test_a_run_cut_in_two_is_one_again(run: Run, at: int) -> None:
    if at < run.count:
        head, tail = Run(run.first, run.step, at), Run(run.first + at * run.step, run.step, run.count - at)
        joined = longer_run(head, tail)
        assert joined is not None
        assert list(joined) == list(run)


def test_windows_of_another_length_are_a_run_of_their_own() -> None:
    assert extends(EdgeRun(Run(0, 1, 1), 0, 1, 100), EdgeRun(Run(100, 1, 1), 100, 1, 47)) is None
    assert extends(EdgeRun(Run(0, 1, 1), 0, 1, 100), EdgeRun(Run(100, 1, 1), 100, 1, 100)) == EdgeRun(
        Run(0, 100, 2), 0, 100, 100
    )


@given(EDGE_RUNS, st.integers(1, 4))
def test_a_run_cut_in_two_is_joined_again(run: EdgeRun, at: int) -> None:
    if at < run.child.count:
        head = EdgeRun(Run(run.child.first, run.child.step, at), run.parent_first, run.parent_step, run.width)
        tail = EdgeRun(
            Run(run.child.first + at * run.child.step, run.child.step, run.child.count - at),
            run.parent_first + at * run.parent_step,
            run.parent_step,
            run.width,
        )
        joined = extends(head, tail)
        assert joined is not None
        assert list(joined.pairs()) == list(run.pairs())


PARENTS = st.lists(
    st.builds(
        Parent,
        st.sampled_from(["g1", "training"]),
        st.sampled_from(["imu-right", "voice-query~2"]),
        st.integers(0, 2**40),
        st.integers(1, 300),
        st.integers(1, 300),
        revision=st.just(0) | st.integers(0, REVISION_MAX),
    ),
    max_size=4,
)


@given(st.integers(0, 2**40), PARENTS)
def test_parents_header_round_trip(first: int, parents: list[Parent]) -> None:
    made = build.batch(first=first, count=1)
    assert unpack_parents(made.source, first, pack_parents(made, parents)) == parents


def test_a_window_costs_at_most_16_bytes_a_parent_run() -> None:
    packed = pack_parents(
        build.batch(first=12_000_000, count=1), [Parent("g1", "imu-right", 12_000_000, 1, 100)]
    )
    assert len(packed) <= 16
