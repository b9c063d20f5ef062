"""What became of each batch that was not taken, in one word, beside the rule that said so."""

from __future__ import annotations

from typing import get_args

import pytest

from streams.events.record import Fetch, StoredRecord
from streams.limits import SEEN_RANGES_MAX
from streams.policy.step import RejectOutcome
from streams.topology import CAPTURED
from streams.zones import stage
from tests import build

OUTCOMES = {
    "malformed": "malformed",
    "poisoned": "malformed",
    "names": "refused",
    "pairing": "refused",
    "incarnation": "refused",
    "limits": "refused",
    "no zone's condition holds": "refused",
    "clock": "clock",
    "collision": "collision",
    "repeat": "repeated",
    "too-late": "late",
}


def test_every_rule_of_the_zones_stage_says_one_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "STREAMS_PER_DEVICE_MAX", 3)
    holes = [build.imu(0.1, 20 * i, 20, source="g2") for i in range(4 * SEEN_RANGES_MAX)]
    batches = [
        build.batch(first=0),
        build.batch(first=0),
        build.imu(3.0, 0, 20, session="s7"),
        build.batch(first=20, consent=0),
        build.batch("gaze", first=0, t0_ns=build.T0_NS - 10**9 * 86_400 * 40),
        build.batch(stream="activity", first=0),
        build.batch(source="nobodys", first=0),
        build.batch("ppg", first=0),
        build.batch("location", first=0),
        build.batch(source="g3", stream="imu-right~2", first=0),
        build.batch(source="g3", first=0),
        *holes[::2],
        holes[1],
    ]
    records = [build.record(one, at, timestamp=build.T0_NS // 10**6) for at, one in enumerate(batches)]
    bad = [StoredRecord(len(records) + at, 0, b"g1", b"{") for at in range(2)]
    said = {bad[0].offset: "KeyError twice"}
    fetch = Fetch(CAPTURED, 0, [*records, *bad])
    outcome = build.step(build.core(), build.begun(), fetch, poisoned=said)
    rows = build.lineage(outcome.outputs)["rejected"]
    assert {row["rule"]: row["outcome"] for row in rows} == OUTCOMES
    assert set(OUTCOMES.values()) == set(get_args(RejectOutcome))


def test_events_say_the_consent_that_they_were_captured_under() -> None:
    given = [build.gives(number, number, build.T0_NS + number, stream="consent-change") for number in (2, 3)]
    batches = [
        *given,
        build.batch(first=0),
        build.batch(first=20, consent=3, t0_ns=build.T0_NS + 9),
        build.batch(first=40, consent=2, changes=[(10, build.context(consent=3))], t0_ns=build.T0_NS + 10),
    ]
    records, _ = build.process(build.core(), [build.fetch(batches)])
    rows = [row for row in build.lineage(records)["events"] if row["kind"] == "imu"]
    assert [
        (row["first"], row["count"], row["consent"]) for row in sorted(rows, key=lambda one: one["first"])
    ] == [
        (0, 20, 1),
        (20, 20, 3),
        (40, 10, 2),
        (50, 10, 3),
    ]
    assert {row["revision"] for row in rows} == {0}
