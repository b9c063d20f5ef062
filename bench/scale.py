"""Throughput and CPU per batch of the whole pipeline, by number of workers and of devices."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from bench import bars
from bench.bars import Measured, Rows
from bench.count import Counted, Output, count, create
from bench.load import AGE_NS, Sender, fill
from bench.race import TIMEOUT_S, Say, part_of
from bench.rig import Rig, rig
from bench.traffic import IMU_20, span_ns
from streams import clock
from streams.topology import CAPTURED, ZONED

WORKERS, DEVICES = (1, 2, 4), (1, 10, 100, 1000)
_AGAINST = 10


async def scale(directory: Path, batches: int, say: Say) -> Measured:
    """Tables by number of workers and by number of devices; each run has `batches` batches."""
    async with rig(directory) as made:
        await _run(made, "warm", CAPTURED, batches // 4, 8, 1)
        devices = [
            (number, await _run(made, f"devices-{number}", f"bench.devices-{number}", batches, number, 1))
            for number in DEVICES
        ]
        say("devices counted")
        workers = [
            (number, await _run(made, f"workers-{number}", f"bench.workers-{number}", batches, 8, number))
            for number in WORKERS
        ]
    cost_us = next(one.cpu_us for number, one in devices if number == _AGAINST)
    tables: dict[str, Rows] = {
        "The same batches from more devices, one worker (bar: CPU a batch at 1,000 within ±15 % of 10)": [
            {
                "devices": number,
                "batches/s": round(one.batches_per_s),
                "worker CPU µs a batch": one.cpu_us,
                f"against {_AGAINST} devices": f"{(one.cpu_us / cost_us - 1) * 100:+.0f} %",
            }
            for number, one in devices
        ],
        "More workers, 8 devices (broker and workers share the cores)": [
            {
                "workers": number,
                "batches/s": round(one.batches_per_s),
                "workers' CPU µs a batch": one.cpu_us,
                "broker's CPU µs a batch": one.broker_cpu_us,
            }
            for number, one in workers
        ],
    }
    most_us = devices[-1][1].cpu_us
    return Measured(tables, [bars.DEVICES.held([(most_us / cost_us - 1) * 100])])


async def _run(
    made: Rig, name: str, source: str, batches: int, device_count: int, worker_count: int
) -> Counted:
    if source != CAPTURED:
        await create(made.broker.address, [source])
    start_ns = clock.now_ns() - AGE_NS - span_ns(IMU_20, batches, device_count)
    async with (
        Output(made.broker.address, ZONED) as output,
        Sender(made.broker.address, source, held=name) as sender,
    ):
        ids = part_of(await fill(sender, IMU_20, batches, start_ns, device_count), 1.0)
        for number in range(worker_count):
            made.work(f"worker-{number}", "--agent", name, "--source", source)
        try:
            await made.ready()
            # Every worker has its partitions now, so the time can start for all of them.
            before = made.cpu_s()
            await sender.release()
            found = await count(output, ids, list(made.parts.values()), made.broker.pid, TIMEOUT_S)
            workers_s, broker_s = (
                found.cpu_s - sum(before.values()) + before["broker"],
                found.broker_cpu_s - before["broker"],
            )
            return replace(
                found,
                cpu_us=round(workers_s / batches * 1e6, 1),
                broker_cpu_us=round(broker_s / batches * 1e6, 1),
            )
        finally:
            for part in made.parts.values():
                await asyncio.to_thread(part.stop)
            made.parts.clear()
