"""How long after a withdrawal the last record is written that still uses its wearer, beside a load."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from bench.bars import WITHDRAWN, Measured
from bench.race import Say
from bench.rig import Load, Rig, rig
from bench.traffic import IMU_20, devices
from streams import clock
from streams.consent.record import withdrawal_record
from streams.events.record import Received
from streams.kafka.publish import publish_now
from streams.kafka.reader import read_through
from streams.topology import ANSWERS, DERIVED, ZONED

WITHDRAWALS, WORKERS = 500, 2
#: Wearers who stay, so that no worker ever has nothing to do.
_STAYING = 50
#: Batches a second of a device: far fewer than it sends, because all of them share two cores with the rest.
_PER_DEVICE_S, _PAUSE_S = 2.0, 0.1
_WARM_S, _AFTER_S = 5.0, 3.0


async def withdrawals(directory: Path, count: int, say: Say) -> Measured:
    """Withdraw the consent of `count` wearers, one after the other, while their devices send.

    By the broker's time: from the append time of a withdrawal to that of the last record of the wearer's
    device on a topic that others read; 0 if none came.
    """
    async with rig(directory) as made:
        made.serve(WORKERS)
        await made.ready()
        load = Load(made.broker.address, IMU_20, count + _STAYING)
        async with load.sender:
            pacing = asyncio.create_task(load.pace(_PER_DEVICE_S * (count + _STAYING), float("inf")))
            try:
                await asyncio.sleep(_WARM_S)
                said_ns = await _withdrawn(made, count)
                await asyncio.sleep(_AFTER_S)
            finally:
                pacing.cancel()
                await asyncio.gather(pacing, return_exceptions=True)
        await made.drained()
        names = devices(count + _STAYING)
        last_ns = await _last_ns(made)
    if any(name not in last_ns for name in names):
        raise RuntimeError("a device of which nothing passed before: nothing is measured by it")
    ends_ns = max(said_ns.values())
    if any(last_ns[name] < ends_ns for name in names[count:]):
        raise RuntimeError("a device of somebody who stays stopped too: nothing is measured by the others")
    late_s = [max(last_ns[name] - said_ns[turn], 0) / 1e9 for turn, name in enumerate(names[:count])]
    p50, p99, most = np.quantile(late_s, [0.5, 0.99, 1.0])
    row = {
        "withdrawals": count,
        "used afterwards at all": sum(each > 0 for each in late_s),
        "p50": f"{p50:.3f} s",
        "p99": f"{p99:.3f} s",
        "longest": f"{most:.3f} s",
    }
    say(f"{count} withdrawals: p99 {p99:.3f} s")
    title = (
        f"From a withdrawal to the last record that still used its wearer, {WORKERS} workers, beside "
        f"{_PER_DEVICE_S * (count + _STAYING):,.0f} batches/s"
    )
    return Measured({title: [row]}, [WITHDRAWN.held([float(p99)])])


async def _withdrawn(made: Rig, count: int) -> Mapping[int, int]:
    """Append time (ns) of each wearer's withdrawal, as an operator makes one; the order is drawn."""
    said_ns = dict[int, int]()
    order = random.Random(1).sample(range(count), count)  # noqa: S311  no secret
    for turn in order:
        made.check()
        began_s = clock.monotonic_s()
        [placed] = await publish_now(made.broker.address, [withdrawal_record(f"w{turn}", 0)])
        said_ns[turn] = placed.appended_ns
        await asyncio.sleep(max(began_s + _PAUSE_S - clock.monotonic_s(), 0))
    return said_ns


async def _last_ns(made: Rig, topics: Iterable[str] = (ZONED, DERIVED, ANSWERS)) -> Mapping[str, int]:
    """Append time (ns) of the last record of each device on any of the topics."""
    last_ns = dict[str, int]()

    def look(record: Received) -> None:
        name = (record.key or b"").decode()
        last_ns[name] = max(last_ns.get(name, 0), record.timestamp * 1_000_000)

    for topic in topics:
        await read_through(made.broker.address, topic, look)
    return last_ns
