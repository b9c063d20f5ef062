"""Latency from sending to a visible epoch, and memory, at fractions of the rate that a set-up sustains."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from statistics import linear_regression
from typing import Any

import numpy as np

from bench import bars
from bench.bars import Measured, Rows
from bench.race import Say
from bench.rig import Load, Rig, Visible, rig
from bench.traffic import GLASSES, IMU_20, Traffic
from streams import clock
from streams.queries.store import Store

DEVICES = 100
SHARES, _HELD_SHARE = (0.1, 0.5, 0.9), 0.5
LEVEL_S, FLOOD_S, SAMPLE_S = 20.0, 16.0, 5.0
#: Batches under way while the sustainable rate is measured: enough that no stage ever waits for the sender.
_UNDER_WAY_MAX = 20_000
_TOP_UP_S = 0.1
_EVENTS = """SELECT source, "first", "count", epoch FROM events
    WHERE topic = 'glasses.captured' AND epoch > {after:d}"""


async def latency(directory: Path, say: Say) -> Measured:
    """Latency from sending to visibility: a worker, a writer, a broker and a sender on the same cores."""
    async with rig(directory) as made, _flooded(made, IMU_20, say) as (load, visible, sustained):
        levels = [await _level(made, load, visible, share, sustained) for share in SHARES]
    title = f"Sent to visible in a published epoch, {IMU_20.about} ({sustained:,.0f} batches/s sustained)"
    half = next(row for share, row in zip(SHARES, levels, strict=True) if share == _HELD_SHARE)
    return Measured({title: levels}, [bars.VISIBLE.held([half["p99 s"]])])


async def memory(directory: Path, minutes: float, say: Say) -> Measured:
    """Memory by process at nine tenths of the sustainable rate of all kinds that glasses send."""
    async with rig(directory) as made, _flooded(made, GLASSES, say) as (load, _, sustained):
        rows, watched_minutes = await _watched(made, load, SHARES[-1] * sustained, minutes)
    title = (
        f"Resident memory over {watched_minutes:.1f} minutes at {SHARES[-1] * sustained:,.0f} batches/s "
        f"({SHARES[-1]:.0%} of what is sustained): {GLASSES.about}"
    )
    worker = next(row for row in rows if row["process"] == "worker")
    held = [
        bars.WORKER.held([worker["at most"]]),
        bars.FLAT.held([worker["slope MB/minute"]]),
        bars.WATCHED.held([watched_minutes]),
    ]
    return Measured({title: rows}, held)


@contextlib.asynccontextmanager
async def _flooded(made: Rig, traffic: Traffic, say: Say) -> AsyncIterator[tuple[Load, Visible, float]]:
    """A worker and a writer under a load, a watcher of their store, and the rate that they sustain."""
    made.work()
    made.write_store()
    await made.ready()
    load = Load(made.broker.address, traffic, DEVICES)
    async with load.sender, Visible(made.store) as visible:
        sustained = await _sustained(made, load, visible)
        say(f"sustained with the snapshots writer: {sustained:,.0f} batches/s")
        yield load, visible, sustained


async def _sustained(made: Rig, load: Load, visible: Visible) -> float:
    """Batches/s that become visible while the sender never pauses; the first third is not counted."""
    began_s = clock.monotonic_s()
    found: list[tuple[float, int]] = []
    while (at_s := clock.monotonic_s() - began_s) < FLOOD_S:
        shown = await visible.batches()
        found.append((at_s, shown))
        if (room := _UNDER_WAY_MAX - (load.sent - shown)) > 0:
            await load.hand_over(room)
        made.check()
        await asyncio.sleep(_TOP_UP_S)
    await visible.reach(load.sent, made)
    counted = [(at_s, shown) for at_s, shown in found if at_s > FLOOD_S / 3]
    return linear_regression(*zip(*counted, strict=True)).slope


async def _level(made: Rig, load: Load, visible: Visible, share: float, sustained: float) -> dict[str, Any]:
    await visible.batches()
    after = max(visible.seen_ns)
    load.sent_ns.clear()
    await load.pace(share * sustained, LEVEL_S)
    await visible.reach(load.sent, made)
    with Store.open(made.store) as store:
        rows = store.sql(_EVENTS.format(after=after), limit=load.sent).rows
    late_s = np.array(
        [
            (visible.seen_ns[epoch] - load.sent_ns[source, "imu-right", at]) / 1e9
            for source, first, count, epoch in rows
            for at in range(first, first + count, IMU_20.events_per_batch)
            if (source, "imu-right", at) in load.sent_ns
        ]
    )
    p50, p99, most = np.quantile(late_s, [0.5, 0.99, 1.0])
    return {
        "of the sustainable rate": f"{share:.0%}",
        "batches/s": round(share * sustained),
        "batches": len(late_s),
        "p50 s": round(float(p50), 3),
        "p99 s": round(float(p99), 3),
        "max s": round(float(most), 3),
    }


async def _watched(made: Rig, load: Load, per_s: float, minutes: float) -> tuple[Rows, float]:
    """RSS by process: first, highest, its slope over the last four fifths; and the duration in minutes."""
    sampled: list[tuple[float, dict[str, float]]] = []

    async def sample() -> None:
        began_s = clock.monotonic_s()
        while True:
            sampled.append(((clock.monotonic_s() - began_s) / 60, made.rss_mb()))
            load.sent_ns.clear()
            made.check()
            await asyncio.sleep(SAMPLE_S)

    sampling = asyncio.create_task(sample())
    try:
        await load.pace(per_s, minutes * 60)
    finally:
        sampling.cancel()
    rows = []
    for name in sampled[0][1]:
        late = [(at_min, rss[name]) for at_min, rss in sampled if at_min > minutes / 5]
        slope = linear_regression(*zip(*late, strict=True)).slope if len(late) > 2 else float("nan")
        values = [rss[name] for _, rss in sampled]
        rows.append(
            {
                "process": name,
                "MB at the start": round(values[0]),
                "at the end": round(values[-1]),
                "at most": round(max(values)),
                "slope MB/minute": round(slope, 2),
            }
        )
    return rows, sampled[-1][0] + SAMPLE_S / 60
