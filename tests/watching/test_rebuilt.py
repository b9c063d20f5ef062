"""Who begins to watch late is told what those are told who watched from the beginning."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.watching.thresholds import (
    DeviceStopped,
    FeedbackBad,
    LineageIncomplete,
    NewFlow,
    NoEpoch,
    RefusalsRising,
    Thresholds,
)
from streams.watching.watcher import Watcher
from tests.snapshots.build import Row, batch, derived, edge, row, stream, tagged
from tests.watching.growing import Growing, Time, decision, growing_store, refusal, watcher

#: No threshold is a multiple of the time between two epochs, so no number depends on rounding.
GAP_S = 3.7
THRESHOLDS = Thresholds(
    new_flow=NewFlow(learned_s=8, shown_s=40),
    refusals_rising=RefusalsRising(recent_s=8, before_s=30, events_min=50),
    device_stopped=DeviceStopped(silent_s=12, forgotten_s=30),
    feedback_bad=FeedbackBad(recent_s=30, events_min=3),
    lineage_incomplete=LineageIncomplete(settling_s=5, checked_s=35, shown_s=40),
    no_epoch=NoEpoch(off=True),
)
STREAMS = [
    stream("g1", "imu-right"),
    stream("g1", "activity", "activity", captured=False),
    stream("g1", "feedback", "feedback"),
]
HAPPENINGS = ("leak", "other leak", "refuses", "refuses much", "unconfigured", "heard", "feedback", "orphan")


def rows_of(happening: str, number: int) -> dict[str, list[Row]]:
    """What an epoch has of something that happens."""
    unconfigured: dict[str, Any] = {
        "verdict": "unconfigured",
        "passed": False,
        "rule": "none holds",
        "label": "",
    }
    around = tagged("feedback", "public")
    rejected = {name: around[name] for name in ("zone", "policy_version")}
    return {
        "leak": {"decisions": [decision("health", "review", first=number)]},
        "other leak": {"decisions": [decision("child-near", "training-run", first=number)]},
        "refuses": {"decisions": [refusal("purpose is not permitted", 10, first=number)]},
        "refuses much": {"decisions": [refusal("purpose is not permitted", 60, first=number)]},
        "unconfigured": {"decisions": [decision("", "glasses.zoned", first=number, **unconfigured)]},
        "heard": {"events": [batch("g1", "imu-right", number, offset=4 * number)]},
        "feedback": {
            "events": [batch("g1", "feedback", number, offset=4 * number + 1, **around)],
            "rejected": [
                row(
                    *("rejected",),
                    source="g1",
                    stream="example",
                    first=number,
                    stage="feedback",
                    **{"rule": "negated", **rejected},
                )
            ],
        },
        "orphan": {
            "events": [
                derived("g1", "activity", number, offset=4 * number + 2),
                batch("g1", "imu-right", 10_000 + number, offset=4 * number + 3),
            ],
            "edges": [edge(("g1", "activity", number), ("g1", "imu-right", 5000 + number))],
        },
    }[happening]


def told(watching: Watcher) -> list[tuple[str, ...]]:
    """What stands, with its numbers."""
    return sorted(
        (alert.rule, *alert.about.values(), str(alert.events), *alert.evidence)
        for alert in watching.look().standing
    )


@settings(max_examples=6, deadline=None)
@given(
    days=st.lists(st.sets(st.sampled_from(HAPPENINGS), max_size=3), min_size=6, max_size=14), late=st.data()
)
def test_who_comes_late_is_told_the_same(days: Sequence[set[str]], late: st.DataObject) -> None:
    looks = late.draw(st.sets(st.integers(0, len(days) - 1)), "epochs after which the first one looks")
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as home:
        time = Time(patch)
        with growing_store(Path(home) / "store", time) as store:
            watching = watcher(store, THRESHOLDS)
            watching.look()
            for number, happenings in enumerate(days):
                publish(store, number, happenings)
                if number in looks:
                    watching.look()
            assert told(watching) == told(watcher(store, THRESHOLDS))


def publish(store: Growing, number: int, happenings: set[str]) -> None:
    """Publish an epoch of what happens in it."""
    rows: dict[str, list[Row]] = {"streams": STREAMS}
    for happening in sorted(happenings):
        for table, more in rows_of(happening, number).items():
            rows.setdefault(table, []).extend(more)
    store.publish(GAP_S, **rows)
