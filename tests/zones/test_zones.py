"""Stage 1: nothing is lost, nothing is twice, nothing crosses a zone unseen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from streams.consent.view import PartitionConsents
from streams.events.codec import encode
from streams.events.digest import digest
from streams.events.headers import LABEL, ZONE
from streams.events.record import Fetch, Received, StoredRecord
from streams.events.state import DeviceState
from streams.limits import REJECTED_BYTES_MAX, SEEN_RANGES_MAX
from streams.policy.crossing import Crossing
from streams.policy.policy import Policy
from streams.policy.step import Step, in_order
from streams.topology import CAPTURED, REJECTED, ZONED
from streams.zones.seen import add, bounded, unseen
from streams.zones.stage import run
from tests import build

POLICY = build.policy()


def zones(
    records: Sequence[Received],
    devices: Mapping[str, DeviceState],
    policy: Policy,
    known: PartitionConsents,
    poisoned: Mapping[int, str],
) -> tuple[Step, dict[str, DeviceState]]:
    """Tag what stands at the beginning of a partition."""
    crossing = Crossing(policy, known, Step())
    states, _ = run(records, devices, build.CODEC, crossing, poisoned, 0)
    return crossing.step, states


RANGES = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 10)), max_size=20)


@given(RANGES, st.integers(0, 60), st.integers(0, 10))
def test_seen_ranges_are_the_set_of_numbers(ranges: list[tuple[int, int]], low: int, length: int) -> None:
    seen: tuple[tuple[int, int], ...] = ()
    numbers: set[int] = set()
    for start, more in ranges:
        seen = add(seen, start, start + more)
        numbers |= set(range(start, start + more + 1))
    assert {number for start, end in seen for number in range(start, end + 1)} == numbers
    assert [number for start, end in unseen(seen, low, low + length) for number in range(start, end + 1)] == [
        number for number in range(low, low + length + 1) if number not in numbers
    ]


def test_seen_ranges_are_bounded() -> None:
    seen: tuple[tuple[int, int], ...] = ()
    floor = 0
    for i in range(3 * SEEN_RANGES_MAX):
        seen, floor = bounded(add(seen, 10 * i, 10 * i), floor)
    assert len(seen) == SEEN_RANGES_MAX
    assert seen[-1] == (10 * (3 * SEEN_RANGES_MAX - 1),) * 2
    assert (seen[0], floor) == ((0, 10 * (2 * SEEN_RANGES_MAX)), 10 * (2 * SEEN_RANGES_MAX))


def test_a_batch_is_split_where_the_zone_changes() -> None:
    made = build.batch(first=100, count=20, place="home", changes=[(7, build.context(place="street"))])
    step, _ = zones(build.fetch([made]).records, {}, POLICY, build.known(), {})
    assert [(part.run.first, part.run.count, part.first.zone) for part in step.stretches] == [
        (100, 7, "home-private"),
        (107, 13, "public"),
    ]
    assert {part.source for part in step.stretches} == {encode(made)}
    for part in step.stretches:
        assert [build.CODEC.decode(value, 0).run for value in part.values] == [part.run]


def test_a_name_that_collides_is_refused_by_name_and_takes_nothing_with_it() -> None:
    taken = [build.batch("device_state", "answer", 0, 1), build.batch("device_state", "example~2", 0, 1)]
    step, states = zones(build.fetch([*taken, build.batch()]).records, {}, POLICY, build.known(), {})
    assert [(reject.cause.rule, reject.stream) for reject in step.rejects] == [
        ("names", "answer"),
        ("names", "example~2"),
    ]
    assert [stretch.stream[1] for stretch in step.stretches] == ["imu-right"]
    assert (states["g1"].incarnation, list(states["g1"].seen)) == (1, ["imu-right"])


def test_kinds_of_one_stream_have_each_their_own_tag() -> None:
    batches = [build.batch(kind, "mixed", 20 * at, 20) for at, kind in enumerate(("imu", "ppg", "imu"))]
    step, _ = zones(build.fetch(batches).records, {}, POLICY, build.known(), {})
    assert [stretch.first.label for stretch in step.stretches] == [
        POLICY.label_of(kind, "home-private") for kind in ("imu", "ppg", "imu")
    ]


def test_a_batch_of_one_zone_is_forwarded_byte_for_byte_with_its_own_headers() -> None:
    made = build.batch(changes=[(3, build.context(worn=False))])
    sent = build.record(made, 0)
    sent = build.record(made, 0, headers=(*sent.headers, ("tracestate", b"mine=1")))
    records, _ = build.process(build.core(), [Fetch(CAPTURED, 2, [sent])])
    zoned = next(record for record in records if record.topic == ZONED)
    assert (zoned.value, zoned.key, zoned.partition) == (sent.value, sent.key, 2)
    assert list(zoned.headers)[: len(sent.headers)] == list(sent.headers)
    assert dict(zoned.headers)[ZONE] == b"home-private"


@given(st.lists(st.integers(0, 5), min_size=1, max_size=20), st.integers(1, 5))
def test_each_event_passes_once_in_whatever_order_batches_arrive_and_repeat(
    order: list[int], cut: int
) -> None:
    batches = [build.batch(first=10 * i, count=10) for i in order]
    devices: dict[str, DeviceState] = {}
    passed: list[int] = []
    for at in range(0, len(batches), cut):
        step, touched = zones(
            build.fetch(batches[at : at + cut], at).records, devices, POLICY, build.known(), {}
        )
        devices.update(touched)
        passed += [number for stretch in step.stretches for number in stretch.run]
        repeated = sum(
            reject.run.count for reject in step.rejects if reject.run and reject.cause.rule == "repeat"
        )
        assert step.counts.repeated == repeated
    assert sorted(passed) == [number for i in sorted(set(order)) for number in range(10 * i, 10 * i + 10)]


def test_an_overlapping_batch_brings_only_what_is_new() -> None:
    step, _ = zones(
        build.fetch([build.batch(first=0, count=10), build.batch(first=5, count=10)]).records,
        {},
        POLICY,
        build.known(),
        {},
    )
    assert [list(tagged.batch.run) for tagged in in_order(step.stretches)] == [
        list(range(10)),
        list(range(10, 15)),
    ]


def test_unconfigured_is_rejected_without_its_bytes() -> None:
    records, _ = build.process(
        build.core(), [build.fetch([build.query(0, "my secret words", build.T0_NS, consent=0)])]
    )
    rejected = [record for record in records if record.topic == REJECTED]
    assert len(rejected) == 1
    assert rejected[0].value is None
    assert dict(rejected[0].headers)["ce_id"] == b"g1/voice-query/0"
    assert dict(rejected[0].headers)[ZONE] == b"unconfigured"
    assert not [record for record in records if record.topic == ZONED]
    assert b"secret" not in b"".join(record.value or b"" for record in records)


def test_a_forged_tag_is_rejected() -> None:
    sent = build.record(build.batch(), 0)
    forged = [
        build.record(build.batch(), 0, headers=(*sent.headers, (name, b"public")))
        for name in (ZONE, LABEL, "sightline-parents")
    ]
    step, _ = zones(forged, {}, POLICY, build.known(), {})
    assert [reject.cause.rule for reject in step.rejects] == ["malformed"] * 3
    assert all("only the zones stage may write" in reject.cause.reason for reject in step.rejects)
    assert not step.stretches


def test_headers_and_key_must_agree_with_the_value() -> None:
    step, _ = zones(
        [build.record(build.batch(), 0, key=b"g2"), build.record(build.batch(), 1, headers=())],
        {},
        POLICY,
        build.known(),
        {},
    )
    assert [
        "key: found another" in step.rejects[0].cause.reason,
        "ce_id is missing" in step.rejects[1].cause.reason,
    ] == [
        True,
        True,
    ]


@given(st.lists(st.binary(max_size=60) | st.none(), max_size=6))
def test_any_bytes_are_rejected_with_a_reason_and_the_neighbours_pass(values: list[bytes | None]) -> None:
    bad = [StoredRecord(i, 1, None, value) for i, value in enumerate(values)]
    step, _ = zones([*bad, build.record(build.batch(), len(bad))], {}, POLICY, build.known(), {})
    assert [reject.position for reject in step.rejects] == list(range(len(bad)))
    assert all(reject.cause.reason for reject in step.rejects)
    assert [tagged.batch.position for tagged in in_order(step.stretches)] == [len(bad)]


def test_rejected_bytes_are_cut_and_the_digest_covers_all() -> None:
    value = b"x" * (REJECTED_BYTES_MAX + 10)
    step, _ = zones([StoredRecord(0, 1, None, value)], {}, POLICY, build.known(), {})
    assert len(step.rejects[0].value or b"") == REJECTED_BYTES_MAX
    assert (step.rejects[0].digest, step.rejects[0].value_bytes) == (digest(value), len(value))


def test_a_poisoned_record_is_rejected_unseen_and_its_neighbour_passes() -> None:
    step, _ = zones(
        build.fetch([build.batch(first=0), build.batch(first=20)]).records,
        {},
        POLICY,
        build.known(),
        {0: "KeyError twice"},
    )
    assert [(reject.position, reject.cause.rule) for reject in step.rejects] == [(0, "poisoned")]
    assert [stretch.run.first for stretch in step.stretches] == [20]
