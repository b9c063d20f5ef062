"""The writer's process shows how far it is behind, and finds new lineage that lacks parents."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from streams import clock, limits, metrics
from streams.cli.snapshots_measuring import StoreMeasures
from streams.errors import UnavailableError
from streams.events.record import StoredRecord
from streams.kafka.reader import Follower
from streams.snapshots.writer import Writer
from tests.patience import PATIENCE_S
from tests.snapshots.build import POLICY, T0_NS, batch, derived, edge, record, stream


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics.PROCESS, "_values", {})
    monkeypatch.setattr(limits, "LOOK_INTERVAL_S", 0.01)
    monkeypatch.setattr(limits, "METRICS_INTERVAL_S", 0.01)


class Topic:
    """The ends of a topic's partitions; a broker that is away raises."""

    def __init__(self, ends: dict[int, int]) -> None:
        self.at, self.asked, self.away = ends, 0, False

    async def ends(self) -> dict[int, int]:
        self.asked += 1
        if self.away:
            raise UnavailableError("away")
        return self.at


@contextlib.asynccontextmanager
async def measured(path: Path, topic: Topic) -> AsyncIterator[tuple[Writer, StoreMeasures]]:
    writer = Writer.open(path)
    measures = StoreMeasures(writer, shown=True)
    try:
        with measures.running(cast("Follower", topic)):
            yield writer, measures
    finally:
        writer.close()


async def looked(topic: Topic) -> None:
    """Wait for a look that began after now."""
    before = topic.asked
    async with asyncio.timeout(PATIENCE_S):
        while topic.asked < before + 2:
            await asyncio.sleep(0.01)


def lag(partition: int) -> tuple[float, bool]:
    list(metrics.PROCESS.current())
    at = {"agent": "snapshots", "partition": str(partition)}
    return metrics.read("lag_records", **at), metrics.read("lag_seconds", **at) > 0


async def test_the_lag_is_what_is_not_stored_yet(tmp_path: Path) -> None:
    topic = Topic({0: 10, 1: 20, 2: 5})
    async with measured(tmp_path, topic) as (_, measures):
        old = StoredRecord(8, clock.now_ns() // 10**6 - 60_000, b"", b"")
        measures.progress({0: 10, 1: 20, 2: 5}, {0: 10, 1: 18, 2: 3}, {2: [old]})
        await looked(topic)
        assert lag(0) == (0, False)
        assert lag(1) == (2, True)
        assert lag(2)[0] == 2
        list(metrics.PROCESS.current())
        assert metrics.read("lag_seconds", agent="snapshots", partition="2") >= 60
        measures.progress({0: 10, 1: 20, 2: 5}, {0: 10, 1: 20, 2: 5}, {})
        await looked(topic)
        assert [lag(partition) for partition in range(3)] == [(0, False)] * 3


async def test_the_lag_grows_while_the_broker_is_away(tmp_path: Path) -> None:
    topic = Topic({0: 10})
    async with measured(tmp_path, topic) as (_, measures):
        measures.progress({0: 4}, {0: 4}, {})
        await looked(topic)
        topic.away = True
        list(metrics.PROCESS.current())
        before_s = metrics.read("lag_seconds", agent="snapshots", partition="0")
        await looked(topic)
        list(metrics.PROCESS.current())
        assert metrics.read("lag_seconds", agent="snapshots", partition="0") > before_s
        assert lag(0)[0] == 6


async def test_new_lineage_without_its_parents_is_counted(tmp_path: Path) -> None:
    def told(offset: int, *, whole: bool) -> dict[int, list[StoredRecord]]:
        first = offset * 20
        rows = {
            "policies": [POLICY],
            "streams": [stream("g0", "imu-right"), stream("g0", "activity", "activity", captured=False)],
            "events": [derived("g0", "activity", offset)],
            "edges": [edge(("g0", "activity", offset), ("g0", "imu-right", first), operator="activity")],
        }
        if whole:
            rows["events"].append(batch("g0", "imu-right", first, 20))
        return {0: [record(offset, rows)]}

    async with measured(tmp_path, Topic({0: 0})) as (writer, _):
        for offset, whole in enumerate((True, True, False)):
            writer.ingest(told(offset, whole=whole), {}, T0_NS)
            epoch = writer.publish(clock.now_ns())
            async with asyncio.timeout(PATIENCE_S):
                while metrics.read("lineage_checked_epoch") != epoch:
                    await asyncio.sleep(0.01)
        assert metrics.read("lineage_checked_events_total") == 3
        assert metrics.read("lineage_incomplete_events_total") == 1


async def test_nothing_is_measured_that_nobody_is_shown(tmp_path: Path) -> None:
    topic = Topic({0: 10})
    writer = Writer.open(tmp_path)
    with StoreMeasures(writer, shown=False).running(cast("Follower", topic)):
        await asyncio.sleep(0.1)
    writer.close()
    assert topic.asked == 0
