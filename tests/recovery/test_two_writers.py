"""Two writers with two partitions each are killed in turn while data flow: nothing is missing or twice.

Their stores, read as one, are compared with the store of a third writer that takes all partitions and is left
alone.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from streams.ledger import run_ledger
from streams.queries.store import Store
from tests.patience import PATIENCE_S
from tests.recovery.drain import drained
from tests.recovery.pipeline import Pipeline
from tests.recovery.watch import quiet_client

pytestmark = pytest.mark.kafka
SHARES = {"writer-a": "0-1", "writer-b": "2-3"}
KILLS, PAUSE_S, AWAY_S = 4, 1.5, 0.4
#: Folds join rows of edges, so these are compared one by one, in sums.
SUMS = (
    'SELECT source, stream, kind, zone, count(*), sum("count"), sum("first") FROM events GROUP BY ALL',
    "SELECT child_source, child_stream, parent_stream, operator, count(*), sum(child_number), "
    "sum(parent_number) FROM edge_records GROUP BY ALL",
    'SELECT source, stream, sink, verdict, sum("count"), sum("first") FROM decisions GROUP BY ALL',
    "SELECT DISTINCT source, stream, zone, label, wearer FROM zone_runs",
    "SELECT * EXCLUDE (epoch) FROM streams",
    "SELECT * EXCLUDE (epoch) FROM rejected",
    "SELECT * EXCLUDE (epoch) FROM models",
    "SELECT * EXCLUDE (epoch) FROM training_runs",
    "SELECT * EXCLUDE (epoch) FROM promotions",
    "SELECT * EXCLUDE (epoch) FROM inputs",
    "SELECT version, text FROM policies",
)


async def _started(pipeline: Pipeline) -> None:
    for name, partitions in SHARES.items():
        child = pipeline._add(
            name,
            *("streams.cli", "snapshots", "--broker", pipeline.address),
            *("--store", str(pipeline.directory / name), "--partitions", partitions),
        )
        child.start()
    await pipeline.ready(*SHARES)


async def test_two_killed_writers_hold_what_one_holds(tmp_path: Path) -> None:
    pipeline = Pipeline(tmp_path, 21, 8, print)
    parts = [tmp_path / name for name in SHARES]
    with quiet_client():
        try:
            await pipeline.start()
            await _started(pipeline)
            devices = pipeline.load(150.0, KILLS * (PAUSE_S + AWAY_S))
            for turn in range(KILLS):
                await asyncio.sleep(PAUSE_S)
                child = pipeline.children[[*SHARES][turn % 2]]
                child.kill()
                await asyncio.sleep(AWAY_S)
                child.start()
            await pipeline.played(devices)
            assert await drained(pipeline.address, parts, PATIENCE_S) is None
            assert await drained(pipeline.address, pipeline.store, PATIENCE_S) is None
            await pipeline.stop()
            judged = [
                await asyncio.to_thread(run_ledger, pipeline.journal, pipeline.address, stores)
                for stores in (parts, pipeline.store)
            ]
        finally:
            pipeline.sweep()
    assert all(pipeline.children[name].starts == 1 + KILLS // 2 for name in SHARES)
    several, one = judged
    assert several["findings"] == one["findings"] == []
    assert several["events_stored"] == one["events_stored"] > 0
    with Store.open(parts) as opened, Store.open(pipeline.store) as whole:
        assert not opened.left_out
        for statement in SUMS:
            expected = whole.sql(statement, 10**6).rows
            assert expected or "training" in statement or "rejected" in statement
            assert sorted(opened.sql(statement, 10**6).rows, key=str) == sorted(expected, key=str)
        # Each store has rows, or it would not matter who was killed.
        held = opened.sql("SELECT count(*) FROM events GROUP BY epoch // 1000000000000").rows
        assert len(held) == len(parts)
