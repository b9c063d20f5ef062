"""Whatever fails in a core costs the record that it fails on, and its neighbours a bounded amount of work."""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams import metrics
from streams.events.record import Fetch, Outcome, Outgoing, StoredRecord
from streams.kafka.compute import OUTPUT_BYTES_MAX, CoreFailedError
from streams.pipeline.live import LiveGlasses
from streams.processing import activity
from streams.processing.operators import Operators
from streams.processing.shipped import SHIPPED_OPERATORS
from streams.processing.windows import ClosedWindow
from streams.topology import DERIVED, REJECTED
from tests import build
from tests.kafka.toy import ToyCore

CORE = build.core()


def fetch_of(values: Sequence[bytes]) -> Fetch:
    return Fetch("t", 0, [StoredRecord(i, 1, b"g1", value) for i, value in enumerate(values)])


class PanicError(BaseException):
    """What code in another language raises, past every handler of `Exception`."""


class Counting(ToyCore):
    """Counts how often each record passes through, and fails on some."""

    def __init__(self, bad: Mapping[int, type[BaseException]]) -> None:
        super().__init__("out")
        self.bad, self.passes = bad, Counter[int]()

    async def process(
        self, state: int, fetch: Fetch, inputs: object, *, silent: bool, poisoned: Mapping[int, str]
    ) -> Outcome[int]:
        self.passes.update(record.offset for record in fetch.records)
        for record in fetch.records:
            if record.offset in self.bad and record.offset not in poisoned:
                raise self.bad[record.offset](record.value)
        return await super().process(state, fetch, inputs, silent=silent, poisoned=poisoned)


def passes_max(records: int) -> int:
    return math.ceil(math.log2(max(records, 2))) + 4


@given(
    st.integers(1, 200),
    st.dictionaries(
        st.integers(0, 199), st.sampled_from([ValueError, RecursionError, MemoryError, PanicError])
    ),
)
@settings(deadline=None, max_examples=40)
def test_each_bad_record_is_rejected_alone_and_no_record_passes_often(
    count: int, bad: dict[int, type[BaseException]]
) -> None:
    core, fetch = Counting(bad), fetch_of([b"%d" % i for i in range(count)])
    outcome = build.run(build.computed(core, 0, fetch))
    expected = [REJECTED if i in bad else "out" for i in range(count)]
    assert [output.topic for output in outcome.outputs] == expected
    numbers = [dict(one.headers)["number"] for one in outcome.outputs if one.topic == "out"]
    assert numbers == [b"%d" % (i + 1) for i in range(count) if i not in bad]
    assert outcome.state == count
    assert max(core.passes.values()) <= passes_max(count)


def test_others_get_their_turn_while_a_thousand_bad_records_in_a_row_are_found(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bad = dict.fromkeys(range(2000, 3000), KeyError)
    core, turns = Counting(bad), list[int]()

    async def neighbour() -> None:
        while True:
            turns.append(core.passes.total())
            await asyncio.sleep(0)

    async def both() -> Outcome[int]:
        beside = asyncio.create_task(neighbour())
        try:
            return await build.computed(core, 0, fetch_of([b"x"] * 5000))
        finally:
            beside.cancel()

    source = fetch_of([b""]).topic
    before = metrics.read("poisoned_total", topic=source)
    with caplog.at_level(logging.ERROR, "streams.kafka.compute"):
        outcome = build.run(both())
    assert Counter(output.topic for output in outcome.outputs) == {"out": 4000, REJECTED: 1000}
    assert metrics.read("poisoned_total", topic=source) - before == 1000
    assert core.passes.total() <= 5000 * passes_max(5000)
    waits = [after - before for before, after in itertools.pairwise(turns)]
    assert max(waits) <= 2 * 5000, "a neighbour waits no longer than for two whole fetches"
    assert len(turns) >= 2000
    assert len(caplog.records) == 4, "three by name, the rest in one sentence"
    assert "997 more records are rejected" in caplog.records[-1].getMessage()


def test_a_fetch_that_makes_too_large_an_output_is_cut_and_nobody_is_rejected() -> None:
    class Joined(ToyCore):
        async def process(
            self, state: int, fetch: Fetch, inputs: object, *, silent: bool, poisoned: Mapping[int, str]
        ) -> Outcome[int]:
            outcome = await super().process(state, fetch, inputs, silent=silent, poisoned=poisoned)
            [first, *_] = outcome.outputs
            value = b"".join(output.value or b"" for output in outcome.outputs)
            return Outcome(outcome.state, [msgspec.structs.replace(first, value=value)])

    fetch = fetch_of([b"x" * (OUTPUT_BYTES_MAX // 3)] * 8)
    outcome = build.run(build.computed(Joined("out"), 0, fetch))
    assert {output.topic for output in outcome.outputs} == {"out"}
    assert sum(len(output.value or b"") for output in outcome.outputs) == 8 * (OUTPUT_BYTES_MAX // 3)


def test_what_ends_a_task_is_no_failure_of_a_record() -> None:
    with pytest.raises(asyncio.CancelledError):
        build.run(build.computed(Counting({0: asyncio.CancelledError}), 0, fetch_of([b"x"])))


def test_one_that_fails_for_ever_new_reasons_ends_in_a_sentence() -> None:
    class Fickle(ToyCore):
        async def process(
            self, state: int, fetch: Fetch, inputs: object, *, silent: bool, poisoned: Mapping[int, str]
        ) -> Outcome[int]:
            self.calls.append((0, 0, silent))
            raise type(f"Error{len(self.calls)}", (ValueError,), {})

    with pytest.raises(CoreFailedError, match="another reason each time"):
        build.run(build.computed(Fickle("out"), 0, fetch_of([b"x"])))


def test_a_batch_on_which_an_operator_fails_is_rejected_by_its_name_and_the_stream_goes_on() -> None:
    """It fails on a window with a value that device g1 sends once; g2 sends the same numbers without it."""

    def failing(closed: Sequence[ClosedWindow]) -> list[dict[str, Any]]:
        if any(window.samples.max() > 1000 for window in closed):
            raise ZeroDivisionError("1e9 of a wearer")
        return activity.values(closed)

    others = [operator for operator in SHIPPED_OPERATORS.values() if operator.name != "activity"]
    operators = Operators.of(SHIPPED_OPERATORS.kinds, replace(activity.ACTIVITY, makes=failing), *others)
    core = LiveGlasses(CORE.followed, operators=operators)
    batches = []
    for number in range(20):
        for source in ("g1", "g2"):
            spread = 0.1 if (source, number) != ("g1", 2) else 1e9
            batches.append(build.imu(spread, number * 20, 20, source=source))
    state, written = build.begun(), list[Outgoing]()
    for part in build.cut(batches, [7, 20, 13]):
        outcome = build.run(build.computed(core, state, part))
        state, written = outcome.state, [*written, *outcome.outputs]
    rejected = [dict(one.headers) for one in written if one.topic == REJECTED]
    reasons = [one["sightline-reason"].decode() for one in rejected]
    assert len(reasons) == 1
    assert reasons[0].startswith("operator activity failed: ZeroDivisionError at test_compute.py:")
    assert "1e9" not in reasons[0]
    made = Counter(one.key for one in written if one.topic == DERIVED)
    assert made[b"g2"] == 4
    assert made[b"g1"] == 3, "the window with what it failed on is given up, those after it are made"
