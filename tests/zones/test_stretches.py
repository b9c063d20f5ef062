"""Stretches: what is alike is decided once, what is not ends them, and nothing that is written shows it."""

from __future__ import annotations

from collections.abc import Sequence
from unittest import mock

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from streams.events.batch import Batch
from streams.events.codec import column, encode
from streams.events.record import Received
from streams.events.runs import Run
from streams.policy.step import Step
from streams.processing.shipped import SHIPPED_OPERATORS
from streams.processing.stage import run as process
from streams.topology import DERIVED, STORE, ZONED
from streams.zones.stage import run
from streams.zones.track import Track
from tests import build

HOUR_NS = 3_600_000_000_000


def zoned(records: Sequence[Received]) -> Step:
    crossing = build.crossing()
    run(records, {}, build.CODEC, crossing, {}, 0)
    return crossing.step


def runs(step: Step) -> list[tuple[int, int]]:
    return [(stretch.run.first, stretch.run.count) for stretch in step.stretches]


def in_turn(*batches: Batch) -> list[Batch]:
    return [replace(made, t0_ns=build.T0_NS + at * 200_000_000) for at, made in enumerate(batches)]


def test_what_is_alike_is_one_stretch_and_is_decided_once() -> None:
    with mock.patch.object(Track, "_tagged", autospec=True, side_effect=Track._tagged) as tagged:
        step = zoned(build.fetch([build.batch(first=20 * at) for at in range(50)]).records)
    assert runs(step) == [(0, 1000)]
    assert len(step.stretches[0].batches) == len(step.stretches[0].values) == 50
    assert [(made.sink, made.run.count) for made in step.decisions] == [(ZONED, 1000), (STORE, 1000)]
    assert tagged.call_count == 1


@pytest.mark.parametrize(
    "other",
    [
        build.batch(first=20, place="street"),
        build.batch(first=20, worn=False),
        build.batch(first=20, session="s2"),
        replace(build.batch(first=20), wearer_id="w9"),
        build.batch(first=20, consent=0),
        build.batch("ppg", "imu-right", 20),
        replace(build.batch(first=20), origin="elsewhere"),
        build.batch(first=21),
        build.batch(first=20, changes=[(3, build.context(place="street"))]),
    ],
)
def test_what_is_not_alike_ends_it(other: Batch) -> None:
    first, second = in_turn(build.batch(), other)
    step = zoned(build.fetch([first, second]).records)
    assert runs(step)[0] == (0, 20)
    assert [len(stretch.batches) for stretch in step.stretches] == [1] * len(step.stretches)
    refused = sum(reject.run.count for reject in step.rejects if reject.run)
    assert refused + sum(stretch.run.count for stretch in step.stretches) == 40


def test_numbers_that_were_refused_are_no_part_of_it() -> None:
    far = replace(build.batch(first=20), t0_ns=build.T0_NS + 1000 * HOUR_NS)
    late = build.record(far, 1, timestamp=build.T0_NS // 1_000_000)
    records = [build.record(build.batch(), 0), late, build.record(build.batch(first=40), 2)]
    step = zoned(records)
    assert [reject.cause.rule for reject in step.rejects] == ["clock"]
    assert runs(step) == [(0, 20), (40, 20)]


def test_a_hole_is_filled_by_a_stretch_of_its_own() -> None:
    step = zoned(build.fetch([build.batch(first=first) for first in (0, 40, 20, 60)]).records)
    assert runs(step) == [(0, 20), (40, 20), (20, 20), (60, 20)]


@settings(max_examples=25)
@given(st.lists(st.sampled_from(["g1", "g2"]), min_size=1, max_size=30))
def test_records_are_written_in_the_order_in_which_they_were_read(turns: list[str]) -> None:
    count = dict.fromkeys(turns, 0)
    batches = []
    for source in turns:
        batches.append(build.batch(first=count[source], source=source))
        count[source] += 20
    fetch = build.fetch(batches)
    records, _ = build.process(build.core(), [fetch])
    written = [record.value for record in records if record.topic == ZONED]
    assert written == [record.value for record in fetch.records]


def test_whole_numbers_of_a_batch_that_is_split_stay_whole() -> None:
    """Numbers are packed as floats for arithmetic, but never before a part is written."""
    made = build.batch(first=0, changes=[(7, build.context(place="street"))])
    whole = replace(made, columns={name: [1] * 20 for name in made.columns})
    step = zoned(build.fetch([build.batch(first=0, count=5), whole]).records)
    parts = [orjson.loads(value) for stretch in step.stretches[1:] for value in stretch.values]
    assert [part["n"] for part in parts] == [2, 13]
    assert all(
        type(value) is int for part in parts for values in part["columns"].values() for value in values
    )


def test_a_column_is_the_same_whichever_way_its_batches_came() -> None:
    listed = [build.imu(0.5, 20 * at, 20) for at in range(6)]
    held = [build.CODEC.decode(encode(made), 0) for made in listed]
    for made in held:
        build.CODEC.hold_floats(made)
    packed = [build.CODEC.packed(made) for made in listed]
    expected = [value for made in listed for value in made.columns["accel_z_mps2"]]
    mixed = [*listed[:2], *held[2:4], *packed[4:]]
    assert column(held, "accel_z_mps2").tolist() == expected
    np.testing.assert_allclose(column(mixed, "accel_z_mps2"), expected, rtol=1e-6)
    assert column([], "accel_z_mps2").shape == (0,)


def test_what_is_derived_of_it_is_decided_once_for_all_of_a_stream() -> None:
    crossing = build.crossing()
    fetch = build.fetch(in_turn(*(build.imu(0.1, 20 * at, 20) for at in range(50))))
    states, _ = run(fetch.records, {}, build.CODEC, crossing, {}, 0)
    crossing.step.decisions.clear()
    process(crossing.step.stretches, states, SHIPPED_OPERATORS, crossing)
    assert [output.tagged.batch.run.first for output in crossing.step.outputs] == list(range(0, 1000, 100))
    derived = [made for made in crossing.step.decisions if made.stream == "activity"]
    assert [(made.sink, made.run) for made in derived] == [
        (DERIVED, Run(0, 100, 10)),
        (STORE, Run(0, 100, 10)),
    ]
