"""Real samples of glasses: sightline pair --device g8 --wearer w8; python own_device.py HOST:PORT JOURNAL."""

import asyncio
import sys
import time
from pathlib import Path

from device_sim.glasses import Glasses
from device_sim.recordings import samples


async def main(broker: str, journal: str) -> None:
    """Send ten seconds of a recorded head's motion, a second a batch."""
    imu = samples("classyglass-user13")
    async with Glasses(broker, "g8", "w8", Path(journal)) as glasses:
        await glasses.give("dpv:RequestedServiceProvision")
        t0_ns = time.time_ns() - 10 * 10**9
        for first in range(0, 1000, 100):
            rows = {name: column[first : first + 100].tolist() for name, column in imu.columns.items()}
            await glasses.send("imu", rows, stream="imu-right", dt_ns=10**7, t0_ns=t0_ns + first * 10**7)


asyncio.run(main(*sys.argv[1:]))
