"""What a fetch counts is what its records and its lineage say, however the fetches are cut."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams import metrics
from streams.consent.record import learn_consent
from streams.events.batch import Batch
from streams.events.record import Fetch, Outcome, Outgoing, StoredRecord
from streams.metrics import Numbers, Tally
from streams.pipeline.live import LiveGlasses
from streams.pipeline.partition import PartitionState
from streams.pipeline.side_inputs import SideInputs
from streams.policy.load import parse
from streams.topology import ANSWERS, DERIVED, EXAMPLES, REJECTED, ZONED
from tests import build

S_NS = 10**9
T0_NS = build.T0_NS


def day() -> list[Batch]:
    """Walking, asking, feedback of every kind, a bystander, a repeat, and what nobody consented to."""
    imu = [build.imu(2.0, first, 100) for first in range(0, 1200, 100)]
    crowd = build.imu(2.0, 1200, 100, people_near="somebody", place="street")
    asked = [
        build.query(0, "wake me at seven", T0_NS + 13 * S_NS),
        build.query(1, "what is the weather like", T0_NS + 14 * S_NS),
        build.query(2, "play some music", T0_NS + 15 * S_NS),
    ]
    (right, _), (wrong, _) = build.version(build.core()).model.predict(
        ["wake me at seven", "play some music"]
    )
    assert right != wrong
    thumbs = [
        build.feedback(0, "g1/answer/0", right, T0_NS + 16 * S_NS),
        build.feedback(1, "g1/answer/0", wrong, T0_NS + 17 * S_NS),
        build.feedback(2, "g1/answer/99", "play_music", T0_NS + 18 * S_NS),
    ]
    rated = build.batch(
        "feedback",
        None,
        3,
        2,
        t0_ns=T0_NS + 19 * S_NS,
        columns={
            "target": ["g1/answer/2"] * 2,
            "form": ["rating"] * 2,
            "thumb": [0] * 2,
            "rating": [1, 4],
            "second_rating": [2, 1],
        },
    )
    without = build.query(5, "secret", T0_NS + 20 * S_NS, consent=0)
    return [
        *imu,
        crowd,
        *asked,
        *thumbs,
        rated,
        without,
        imu[3],
        build.imu(2.0, 1400, 100),
        build.imu(2.0, 1300, 100),
    ]


def tallied(of: LiveGlasses, batches: Sequence[Batch], sizes: Sequence[int]) -> tuple[Tally, list[Outgoing]]:
    state, whole, records = build.begun(), Tally(), list[Outgoing]()
    for one in build.cut(batches, sizes):
        outcome = build.step(of, state, one)
        state = outcome.state
        whole.merge(outcome.tally)
        records += outcome.outputs
    return whole, records


def counted(tally: Tally, name: str) -> dict[tuple[str, ...], float]:
    return {labels: amount for (of, labels), amount in tally.counts.items() if of == name}


def summed(rows: Sequence[dict[str, Any]], *columns: str) -> dict[tuple[str, ...], float]:
    sums = Counter[tuple[str, ...]]()
    for row in rows:
        sums[tuple(row[column] for column in columns)] += row["count"]
    return dict(sums)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=4))
def test_counts_are_those_of_the_lineage(sizes: list[int]) -> None:
    tally, records = tallied(build.core(), day(), sizes)
    rows = build.lineage(records)
    assert counted(tally, "events_total") == summed(rows["events"], "kind", "zone")
    assert counted(tally, "decided_events_total") == summed(rows["decisions"], "sink", "zone", "verdict")
    passed = [row for row in rows["decisions"] if row["passed"]]
    assert counted(tally, "crossed_events_total") == summed(passed, "sink", "zone")
    assert counted(tally, "rejected_events_total") == summed(rows["rejected"], "stage", "outcome", "rule")
    assert sum(counted(tally, "batches_total").values()) == sum(
        record.topic in (ZONED, DERIVED, ANSWERS, EXAMPLES) for record in records
    )
    verdicts = Counter[tuple[str, ...]]()
    for (sink, _, verdict), amount in counted(tally, "decided_events_total").items():
        verdicts[sink, verdict] += int(amount > 0)
    assert verdicts.keys() == counted(tally, "decisions_total").keys()
    shown = sum(record.topic == REJECTED for record in records)
    by_outcome = Counter[str]()
    for (_, outcome, _), amount in counted(tally, "rejected_batches_total").items():
        by_outcome[outcome] += int(amount)
    assert shown == sum(by_outcome.values()) - by_outcome["repeated"], "what is repeated is on no topic"
    assert by_outcome["repeated"] == 1
    assert counted(tally, "late_events_total") == {(): 100}
    assert counted(tally, "model_inputs_total") == {(): 3}
    assert counted(tally, "feedback_total") == {
        ("corrected",): 1,
        ("confirmed",): 1,
        ("denied",): 1,
        ("unclear",): 2,
    }


def test_a_silent_run_counts_nothing() -> None:
    made = build.core()
    (one,) = build.cut(day(), [100])
    assert build.step(made, build.begun(), one).tally.counts
    assert build.step(made, build.begun(), one, silent=True).tally == Tally()


class Failing(LiveGlasses):
    """Fails on fetches of more than three records."""

    async def process(
        self,
        state: PartitionState,
        fetch: Fetch,
        inputs: SideInputs,
        *,
        silent: bool,
        poisoned: Mapping[int, str],
    ) -> Outcome[PartitionState]:
        if len(fetch.records) > 3:
            raise ValueError("too much at once")
        return await super().process(state, fetch, inputs, silent=silent, poisoned=poisoned)


def test_what_is_found_by_halving_counts_once() -> None:
    """A fetch that fails is processed again in parts, and its parts count what the whole would have."""
    made, batches = build.core(), day()
    (one,) = build.cut(batches, [100])
    calm = build.step(made, build.begun(), one).tally
    parts = build.run(build.computed(Failing(made.followed), build.begun(), one)).tally
    for name in ("events_total", "decided_events_total", "rejected_events_total", "feedback_total"):
        assert counted(parts, name) == counted(calm, name)


def test_differences_of_the_next_policy_are_counted() -> None:
    before, name, after = build.policy().text.partition('name = "voice-assistant"')
    other = parse(before + name + after.replace(' "ai:ModelTraining",', "", 1), "next")
    made = build.core()
    versions = made.followed.policies.now
    made.followed.policies.now = replace(
        versions, versions={**versions.versions, other.version: other}, next=other.version
    )
    tally, records = tallied(made, day(), [7])
    rows = build.lineage(records)["shadow"]
    assert rows
    assert counted(tally, "shadow_different_events_total") == summed(rows, "sink", "verdict", "next_verdict")


def test_a_word_is_late_by_what_was_processed_without_it() -> None:
    made = build.core()
    batches = [build.imu(2.0, first, 100) for first in range(0, 1000, 100)]
    fetches = build.cut(batches, [5])
    state = build.step(made, build.begun(), fetches[0]).state
    said_ms = state.now_ns // 10**6 - 1500
    record = build.consent_records()[1]
    offset = made.followed.consents.offset
    learn_consent(made.followed.consents, StoredRecord(offset, said_ms, record.key, record.value))
    learn_consent(
        made.followed.consents, StoredRecord(offset + 1, state.now_ns // 10**6 + 99, record.key, record.value)
    )
    tally = build.step(made, state, fetches[1]).tally
    observed = [(name, value) for name, _, value in tally.observed]
    assert observed == [("consent_effect_seconds", 1.5), ("consent_effect_seconds", 0.0)]


def test_words_from_before_a_partition_began_are_not_late() -> None:
    made = build.core()
    (one,) = build.cut([build.imu(2.0, 0, 100)], [1])
    assert build.step(made, PartitionState(), one).tally.observed == []


def test_a_thousand_devices_make_no_more_series_than_one() -> None:
    """Series come from kinds, zones, sinks and rules, never from devices."""
    few, many = Numbers(), Numbers()
    for numbers, devices in ((few, 1), (many, 1000)):
        made = build.core()
        state = build.begun()
        for device in range(devices):
            batches = [
                build.imu(2.0, 0, 100, source=f"g{device + 1}"),
                build.query(0, "wake me", T0_NS + 2 * S_NS, source=f"g{device + 1}"),
            ]
            outcome = build.step(made, state, build.fetch(batches, offset=2 * device))
            state = outcome.state
            numbers.add(outcome.tally)
    sizes = [sum(len(sets) for _, _, sets in numbers.current()) for numbers in (few, many)]
    # Devices that nobody is paired with are refused by a rule of their own.
    assert sizes[1] <= sizes[0] + 10


def test_queries_of_another_language_drift(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics.PROCESS, "_values", {})
    made, state = build.core(), build.begun()
    said = [
        "wie wird das wetter morgen",
        "stell den wecker auf sieben uhr",
        "mach das licht heller",
    ]
    for number in range(70):
        one = build.fetch([build.query(number, said[number % 3], T0_NS + number * S_NS)], offset=number)
        state = build.step(made, state, one).state
        assert (metrics.read("model_input_drift_psi") > 0.25) is (number + 1 >= 64)
