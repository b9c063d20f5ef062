"""The radio: nothing is lost, faults are drawn from the seed, an outage ends with its backlog in order."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_sim.link import NONE, Faults, Link
from device_sim.scenarios import PERIOD_NS
from streams.events.journal import Sent

SECOND_NS = 1_000_000_000


def sent(number: int) -> Sent:
    return Sent(f"g1/imu-right/{number}", b"g1", b"{}", (), 0, 0, "imu-right", number, 1)


def carried(faults: Faults, seed: int, batches: int = 400) -> list[tuple[int, int]]:
    """(time, number) of what gets through when one batch is sent a period, and the rest at the end."""
    link = Link(faults, seed, "g1")
    out = []
    for i in range(batches):
        now_ns = i * PERIOD_NS
        out += [(now_ns, one.first) for one in link.pass_on([sent(i)], now_ns)]
    return [*out, *((batches * PERIOD_NS, one.first) for one in link.drain())]


@settings(deadline=None)
@given(
    st.builds(
        Faults,
        repeat=st.floats(0, 1),
        delay=st.floats(0, 0.5),
        swap=st.floats(0, 0.5),
        delay_max_ns=st.integers(0, SECOND_NS),
        outage_from_ns=st.integers(0, 60 * SECOND_NS),
        outage_ns=st.integers(0, 60 * SECOND_NS),
    ),
    st.integers(0, 99),
)
def test_nothing_is_lost_and_only_repeats_come_twice(faults: Faults, seed: int) -> None:
    numbers = Counter(number for _, number in carried(faults, seed))
    assert numbers.keys() == set(range(400))
    assert set(numbers.values()) <= {1, 2}
    assert faults.repeat or set(numbers.values()) == {1}


def test_without_faults_everything_goes_through_at_once_in_order() -> None:
    assert carried(NONE, 1) == [(i * PERIOD_NS, i) for i in range(400)]
    assert (Link(NONE, 1, "g1").clock_offset_ns, Link(NONE, 1, "g1").clock_drift_ppm) == (0, 0)


def test_each_fault_happens_and_is_drawn_from_the_seed() -> None:
    faults = Faults(0.05, 0.05, 0.05)
    assert carried(faults, 7) == carried(faults, 7) != carried(faults, 8)
    found = carried(faults, 7)
    assert len(found) > 400
    assert any(b < a for (_, a), (_, b) in pairwise(found))
    late_ns = [at - number * PERIOD_NS for at, number in found]
    assert PERIOD_NS < max(late_ns) <= faults.delay_max_ns + PERIOD_NS


def test_a_swapped_batch_comes_right_behind_the_next() -> None:
    assert [number for _, number in carried(Faults(0, 0, 1.0), 1, 4)] == [1, 0, 3, 2]


def test_an_outage_holds_everything_and_ends_with_the_backlog_in_order() -> None:
    faults = Faults(0, 0, 0, outage_from_ns=20 * SECOND_NS, outage_ns=20 * SECOND_NS)
    found = carried(faults, 1)
    assert [number for _, number in found] == list(range(400))
    assert not [at for at, _ in found if 20 * SECOND_NS <= at < 40 * SECOND_NS]
    assert sum(at == 40 * SECOND_NS for at, _ in found) == 101


def test_clocks_differ_within_their_bounds() -> None:
    links = [Link(Faults(), 3, f"g{i}") for i in range(50)]
    assert len({link.clock_offset_ns for link in links}) == 50
    assert all(
        abs(link.clock_offset_ns) <= 2 * SECOND_NS and abs(link.clock_drift_ppm) <= 40 for link in links
    )


@pytest.mark.parametrize("table", [{"repeat": 2}, {"losses": 0.1}])
def test_a_link_that_cannot_be_is_an_error(table: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="link"):
        Faults.parse(table)
