"""Derived events do not depend on how fetches were cut, and windows never mix zones."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from streams.events.batch import Batch
from streams.events.record import Fetch, Outgoing
from streams.limits import RECENT_PER_KIND_MAX
from streams.topology import ANSWERS, CAPTURED, DERIVED, EXAMPLES
from tests import build

CORE = build.core()


@st.composite
def lives(draw: st.DrawFn) -> list[Batch]:
    """Two devices' batches: movement, fixes, queries, feedback, changes of place, holes, ends of sessions."""
    batches: list[Batch] = []
    numbers = {("g1", kind): 0 for kind in ("imu", "location", "query", "feedback", "state")}
    numbers |= {("g2", kind): 0 for _, kind in list(numbers)}
    session = {"g1": 1, "g2": 1}
    place = "home"
    late: list[tuple[int, Batch]] = []
    for tick in range(draw(st.integers(5, 40))):
        batches += [made for due, made in late if due <= tick]
        late = [(due, made) for due, made in late if due > tick]
        source = draw(st.sampled_from(["g1", "g2"]))
        t = build.T0_NS + tick * 200_000_000
        common: dict[str, Any] = {"source": source, "session": f"s{session[source]}", "place": place}
        what = draw(
            st.sampled_from(
                ["imu"] * 6 + ["location"] * 3 + ["query", "feedback", "place", "hole", "end", "late end"]
            )
        )
        if what == "imu":
            count = draw(st.sampled_from([10, 20, 30]))
            batches.append(
                replace(
                    build.imu(
                        draw(st.sampled_from([0.1, 1.2, 2.5])), numbers[source, "imu"], count, **common
                    ),
                    t0_ns=t,
                )
            )
            numbers[source, "imu"] += count
        elif what == "location":
            columns = {
                "latitude_deg": [45.0 + draw(st.integers(0, 4)) / 100],
                "longitude_deg": [13.0],
                "altitude_m": [1.0],
            }
            batches.append(
                build.batch(
                    "location", None, numbers[source, "location"], 1, columns=columns, t0_ns=t, **common
                )
            )
            numbers[source, "location"] += 1
        elif what == "query":
            batches.append(build.query(numbers[source, "query"], "wake me at seven", t, **common))
            numbers[source, "query"] += 1
        elif what == "feedback" and numbers[source, "query"]:
            target = f"{source}/answer/{draw(st.integers(0, numbers[source, 'query']))}"
            batches.append(build.feedback(numbers[source, "feedback"], target, "alarm_set", t, **common))
            numbers[source, "feedback"] += 1
        elif what == "place":
            place = draw(st.sampled_from(["home", "street"]))
        elif what == "hole":
            numbers[source, "imu"] += 20
        elif what == "late end":
            # The radio swapped it with what the next session sent first.
            late.append((tick + draw(st.integers(2, 8)), build.ended(numbers[source, "state"], t, **common)))
            numbers[source, "state"] += 1
            session[source] += 1
        elif what == "end":
            batches.append(build.ended(numbers[source, "state"], t, **common))
            numbers[source, "state"] += 1
            session[source] += 1
    return batches


def derived(records: list[Outgoing]) -> set[tuple[Any, ...]]:
    return {
        (record.topic, record.value, record.partition, tuple(record.headers))
        for record in records
        if record.topic in (DERIVED, ANSWERS, EXAMPLES)
    }


@settings(max_examples=60, deadline=None)
@given(lives(), st.lists(st.integers(1, 7), min_size=1, max_size=5))
def test_results_do_not_depend_on_how_fetches_were_cut(batches: list[Batch], sizes: list[int]) -> None:
    if not batches:
        return
    whole, end = build.process(CORE, [build.fetch(batches)])
    pieces, end_of_pieces = build.process(CORE, build.cut(batches, sizes))
    assert derived(pieces) == derived(whole)
    assert {name: state.dump() for name, state in end_of_pieces.devices.items()} == {
        name: state.dump() for name, state in end.devices.items()
    }


@settings(max_examples=40, deadline=None)
@given(lives(), st.integers(0, 40))
def test_a_checkpoint_and_a_silent_run_restore_the_state(batches: list[Batch], at: int) -> None:
    if not batches:
        return
    fetches = build.cut(batches, [3])
    at = min(at, len(fetches) - 1)
    _, before = build.process(CORE, fetches[: at + 1])
    _, undisturbed = build.process(CORE, fetches)
    restored = CORE.restore(0, CORE.save(None, before))
    for fetch in fetches[at + 1 :]:
        restored = build.step(CORE, restored, fetch, silent=True).state
    assert restored == undisturbed


@settings(max_examples=40, deadline=None)
@given(lives())
def test_every_sample_is_in_one_window_at_most_and_windows_keep_to_one_zone(batches: list[Batch]) -> None:
    if not batches:
        return
    records, _ = build.process(CORE, [build.fetch(batches)])
    tables = {"events": [], "edges": [], **build.lineage(records)}
    zone = {
        (e["source"], e["stream"], e["first"] + i * e["step"]): e["zone"]
        for e in tables["events"]
        for i in range(e["count"])
    }
    seen = set()
    for edge in tables["edges"]:
        if edge["operator"] not in ("activity", "place"):
            continue
        for i in range(edge["child_count"]):
            child = (edge["child_source"], edge["child_stream"], edge["child_first"] + i * edge["child_step"])
            for k in range(edge["parent_width"]):
                parent = (
                    edge["parent_source"],
                    edge["parent_stream"],
                    edge["parent_first"] + i * edge["parent_step"] + k,
                )
                assert parent not in seen
                seen.add(parent)
                assert zone[child] == zone[parent]


def test_the_end_of_a_session_closes_its_windows() -> None:
    batches = [build.imu(1.2, 0, 20), build.ended(0, build.T0_NS + 10**9)]
    records, state = build.process(CORE, [build.fetch(batches)])
    assert [dict(record.headers)["ce_id"] for record in records if record.topic == DERIVED] == [
        b"g1/activity/0"
    ]
    assert state.devices["g1"].windows == {}


def test_a_second_imu_has_a_stream_of_its_own() -> None:
    batches = [replace(build.imu(1.2, 0, 20), stream=stream) for stream in ("imu-right", "imu-left")]
    # A newer incarnation ends what was half done under the one before.
    batches.append(build.gives(1, 0, build.T0_NS, "consent-change~2"))
    batches.append(replace(build.imu(1.2, 0, 20), stream="imu-right~2"))
    batches.append(replace(build.ended(0, build.T0_NS + 10**9), stream="device-state~2"))
    records, _ = build.process(CORE, [build.fetch(batches)])
    assert sorted(dict(record.headers)["ce_id"] for record in records if record.topic == DERIVED) == [
        b"g1/activity-imu-left/0",
        b"g1/activity/0",
        b"g1/activity~2/0",
    ]


def test_state_is_bounded() -> None:
    batches = [build.imu(1.2, i * 20, 20) for i in range(400)]
    batches += [build.query(i, "wake me", build.T0_NS + 10**11 + i) for i in range(100)]
    _, state = build.process(CORE, [build.fetch(batches)], build.begun())
    device = state.devices["g1"]
    assert len(device.recents) == RECENT_PER_KIND_MAX
    assert len(device.answers) == 64
    assert len(device.dump()) < 40_000


def test_partition_is_kept() -> None:
    records, _ = build.process(
        CORE, [Fetch(CAPTURED, 3, build.fetch([build.imu(1.2, i * 20, 20) for i in range(5)]).records)]
    )
    assert {record.partition for record in records} == {3}


def test_an_end_that_comes_late_closes_no_window_of_the_next_session_however_fetches_were_cut() -> None:
    old, new = (
        build.imu(0.1, 0, 20, session="s1"),
        [build.imu(0.1, first, 20, session="s2") for first in (20, 40)],
    )
    sent = [
        old,
        new[0],
        build.ended(0, build.T0_NS, session="s1"),
        new[1],
        build.ended(1, build.T0_NS, session="s2"),
    ]
    together, _ = build.process(build.core(), build.cut(sent, [5]))
    for sizes in ([1], [2, 1, 2], [3, 2], [2, 3]):
        apart, _ = build.process(build.core(), build.cut(sent, sizes))
        assert derived(apart) == derived(together)
    made = [row for row in build.lineage(together)["edges"] if row["operator"] == "activity"]
    assert [(row["child_first"], row["parent_width"]) for row in made] == [(0, 20), (20, 40)]
