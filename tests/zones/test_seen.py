"""The same number with other data is a collision, whenever it comes; a repeat is none; late data is named."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import ValidationError, structs

from streams.events.batch import Batch
from streams.events.codec import encode
from streams.events.record import Fetch
from streams.events.state import DeviceState, Seen
from streams.limits import SEEN_MARKS_MAX, SEEN_RANGES_MAX, SEEN_RECENT_BATCHES
from streams.topology import CAPTURED, REJECTED
from streams.zones.seen import Memory
from tests import build
from tests.consent.test_consents import rules_of, zones_of

S_NS, DAY_NS = 10**9, 86_400 * 10**9
#: Far more batches than are remembered byte for byte, one a second.
MANY = 40 * SEEN_RECENT_BATCHES


def sent(number: int, spread: float = 0.1, session: str = "s1", later_ns: int = 0) -> Batch:
    """Batch `number` of a device that sends twenty samples a second."""
    return build.imu(spread, 20 * number, 20, session=session, t0_ns=build.T0_NS + number * S_NS + later_ns)


def outcome(batches: Sequence[Batch], cut: int = 50) -> tuple[list[int], list[tuple[str, int]]]:
    """First numbers that passed the zones, and (rule, first number) of what they refused, in order."""
    records, _ = build.process(
        build.core(), [build.fetch(batches[at : at + cut], at) for at in range(0, len(batches), cut)]
    )
    rows = build.lineage(records).get("rejected", [])
    return [int(name.rpartition("/")[2]) for name in zones_of(records)], [
        (row["rule"], row["first"]) for row in rows if row["stage"] == "zones"
    ]


def test_two_devices_of_one_name_are_seen_to_be_two() -> None:
    ours = [sent(i) for i in range(10)]
    theirs = [sent(i, 3.0, "s7", 3600 * S_NS) for i in range(10)]
    passed, refused = outcome([one for pair in zip(ours, theirs, strict=True) for one in pair])
    assert passed == [20 * i for i in range(10)]
    assert refused == [("collision", 20 * i) for i in range(10)]


@pytest.mark.parametrize(
    "other",
    [
        sent(5, spread=3.0),
        sent(5, session="s7"),
        sent(5, later_ns=1),
        structs.replace(sent(5), origin="live"),
    ],
    ids=["bytes", "session", "time", "origin"],
)
def test_the_last_batches_are_known_byte_for_byte(other: Batch) -> None:
    passed, refused = outcome([*(sent(i) for i in range(7)), sent(5), other])
    assert passed == [20 * i for i in range(7)]
    assert refused == [("repeat", 100), ("collision", 100)]


@pytest.mark.parametrize("number", [0, 1, 17, MANY // 2, MANY - 2 * SEEN_RECENT_BATCHES])
def test_older_ones_are_known_by_time_and_session(number: int) -> None:
    begun = [sent(i) for i in range(MANY)]
    for again, rule in (
        (sent(number), "repeat"),
        (sent(number, later_ns=DAY_NS // 2), "collision"),
        (sent(number, session="s7"), "collision"),
    ):
        assert outcome([*begun, again])[1] == [(rule, 20 * number)]


def test_a_second_run_from_zero_loses_nothing_without_a_word() -> None:
    """The same device again with another journal: numbers from 0, another day."""
    first = [sent(i) for i in range(MANY)]
    second = [sent(i, later_ns=DAY_NS) for i in range(50)]
    passed, refused = outcome([*first, *second])
    assert passed == [20 * i for i in range(MANY)]
    assert refused == [("collision", 20 * i) for i in range(50)]


def test_a_batch_that_overlaps_with_other_data_is_not_taken_at_all() -> None:
    wider = structs.replace(build.imu(3.0, 10, 20, session="s7"), t0_ns=build.T0_NS + DAY_NS // 2)
    assert outcome([sent(0), wider, sent(1)]) == ([0, 20], [("collision", 10)])


def test_holes_beyond_the_bound_are_too_late_by_name_and_never_repeats() -> None:
    parts = [build.imu(0.1, 20 * i, 20) for i in range(4 * SEEN_RANGES_MAX)]
    passed, refused = outcome(parts[::2] + parts[1::2])
    assert {rule for rule, _ in refused} == {"too-late"}
    assert sorted([*passed, *(first for _, first in refused)]) == [20 * i for i in range(4 * SEEN_RANGES_MAX)]
    assert len(refused) == SEEN_RANGES_MAX


@pytest.mark.parametrize("cut", [1, 3, 50])
def test_a_newer_incarnation_retires_the_older(cut: int) -> None:
    streams = [f"s{i}" for i in range(30)]
    batches = [
        structs.replace(build.batch("radio_scan", None, 0, 1, consent=1), stream=stream + end)
        for end in ("", "~2", "~3", "~50")
        for stream in streams
    ]
    back = structs.replace(build.batch("radio_scan", None, 1, 1), stream="s0~2")
    records, state = build.process(
        build.core(), [build.fetch([*batches, back][at : at + cut], at) for at in range(0, 121, cut)]
    )
    rules = rules_of(records)
    assert rules.pop("g1/s0~2/1") == "incarnation"
    # The builder's consent is that of the first incarnation.
    assert set(rules.values()) == {"no zone's condition holds"}
    assert len(zones_of(records)) == 30
    assert (state.devices["g1"].incarnation, len(state.devices["g1"].seen)) == (50, 30)


def test_impossible_times_are_rejected_by_name_and_nobody_else_suffers() -> None:
    ahead = build.batch(first=20, t0_ns=build.T0_NS + 2 * 3600 * S_NS)
    old = build.batch(first=40, t0_ns=build.T0_NS - 31 * DAY_NS)
    jump = structs.replace(
        build.batch(first=60, count=2, t0_ns=build.T0_NS + 1),
        t_ns=[build.T0_NS + 1, build.T0_NS + 365 * DAY_NS],
    )
    batches = [build.batch(first=0), ahead, old, jump, build.batch(first=80), build.batch(source="g2")]
    fetch = Fetch(
        CAPTURED, 0, [build.record(one, at, timestamp=build.T0_NS // 10**6) for at, one in enumerate(batches)]
    )
    records, state = build.process(build.core(), [fetch])
    assert rules_of(records) == dict.fromkeys(
        ("g1/imu-right/20", "g1/imu-right/40", "g1/imu-right/60"), "clock"
    )
    assert zones_of(records).keys() == {"g1/imu-right/0", "g1/imu-right/80", "g2/imu-right/0"}
    assert state.now_ns == build.T0_NS
    assert all(
        one.timestamp_ms == build.T0_NS // 10**6
        for one in records
        if one.topic != REJECTED or one.value is None
    )


@given(
    st.lists(st.tuples(st.integers(0, 60), st.booleans()), min_size=1, max_size=60),
    st.lists(st.integers(1, 7), min_size=1, max_size=8),
)
@settings(max_examples=100, deadline=None)
def test_what_a_stream_remembers_does_not_depend_on_how_it_was_cut(
    order: list[tuple[int, bool]], cuts: list[int]
) -> None:
    batches = [sent(number, 3.0 if other else 0.1, "s7" if other else "s1") for number, other in order]
    whole, state = build.process(build.core(), [build.fetch(batches)])
    parts, after = build.process(build.core(), build.cut(batches, cuts))
    assert zones_of(parts) == zones_of(whole)
    assert state.devices["g1"].seen == after.devices["g1"].seen
    rows = [build.lineage(some).get("rejected", []) for some in (whole, parts)]
    assert [(row["rule"], row["first"]) for row in rows[0]] == [
        (row["rule"], row["first"]) for row in rows[1]
    ]


def test_what_a_stream_remembers_is_bounded() -> None:
    memory = Memory(Seen())
    for i in range(10_000):
        one = sent(i)
        memory.note(one, encode(one) if i > 9_900 else b"")
    seen = memory.end((), 0)
    assert len(seen.recent) == 32 * SEEN_RECENT_BATCHES
    assert len(seen.marks) <= 20 * SEEN_MARKS_MAX
    state = DeviceState(seen={"imu-right": seen})
    assert DeviceState.load(state.dump()) == state
    cut = DeviceState(seen={"imu-right": structs.replace(seen, recent=b"")})
    with pytest.raises(ValidationError, match="marks and without its last batches"):
        DeviceState.load(cut.dump())
