"""CPU for one device at rest, and the time without output after a worker or the broker was killed."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path

from bench import bars
from bench.bars import Measured
from bench.count import Output
from bench.processes import start
from bench.race import Say
from bench.rig import Load, rig
from bench.traffic import IMU_20
from streams import clock
from streams.kafka.reader import end_offsets
from streams.topology import CAPTURED, PARTITIONS_DEFAULT, ZONED

_DEVICES, _PER_S = 40, 200.0
_CALM_S, _WATCH_S = 6.0, 20.0
#: A broker compiles frequent code during its first minute; one that has run for days does not.
_REST_SKIP_S = 75.0


async def rest(directory: Path, seconds: float) -> Measured:
    """CPU of all processes, in cores, over `seconds` seconds, after all have run for a minute.

    Some 60 batches/s arrive in real time. A real device with all its sensors sends as many; simulated devices
    have fewer sensors, so there are two.
    """
    async with rig(directory) as made:
        made.work()
        made.write_store()
        await made.ready()
        made.parts["device"] = start(
            "device",
            (
                "device_sim",
                "run",
                "--to",
                "kafka",
                "--broker",
                made.broker.address,
                "--journal",
                str(directory / "journal"),
                "--speed",
                "1",
                "--scenario",
                "commute",
                "--devices",
                "2",
                "--no-faults",
                "--duration-s",
                str(seconds + 2 * _REST_SKIP_S),
            ),
            directory,
        )
        await asyncio.sleep(_REST_SKIP_S)
        before, sent, began_s = made.cpu_s(), await _captured(made.broker.address), clock.monotonic_s()
        await asyncio.sleep(seconds)
        made.check()
        passed_s = clock.monotonic_s() - began_s
        cores = {name: (now_s - before[name]) / passed_s for name, now_s in made.cpu_s().items()}
        per_s = (await _captured(made.broker.address) - sent) / passed_s
    rows = [{"process": name, "cores": round(used, 3)} for name, used in cores.items()]
    every = sum(cores.values())
    title = f"At rest: in real time {per_s:.0f} batches/s, as of one device with all its sensors"
    return Measured({title: [*rows, {"process": "all", "cores": round(every, 3)}]}, [bars.REST.held([every])])


async def _captured(broker: str) -> int:
    return sum((await end_offsets(broker, [CAPTURED])).values())


async def stalls(directory: Path, say: Say) -> Measured:
    """Longest time without output of any partition: after SIGKILL of one of two workers and of the broker."""
    async with rig(directory) as made:
        for name in ("worker-0", "worker-1"):
            made.work(name, "--agent", "stall")
            await made.ready()
        load = Load(made.broker.address, IMU_20, _DEVICES)
        async with load.sender, Output(made.broker.address, ZONED) as output:
            pacing = asyncio.create_task(load.pace(_PER_S, 3 * _CALM_S + 3 * _WATCH_S))
            await asyncio.sleep(_CALM_S)
            worker_ms = clock.now_ns() // 1_000_000
            made.parts.pop("worker-0").kill()
            await asyncio.sleep(_WATCH_S)
            say("worker killed and survived")
            made.work("worker-2", "--agent", "stall")
            await asyncio.sleep(_CALM_S)
            port = int(made.broker.address.rpartition(":")[2])
            made.broker.kill()
            await asyncio.to_thread(made.broker.start, directory / "kafka", port)
            broker_ms = clock.now_ns() // 1_000_000
            await asyncio.sleep(_WATCH_S)
            made.check()
            pacing.cancel()
            await output.read()
    times = [
        sorted(at_ms for partition, at_ms, _ in output.records if partition == wanted)
        for wanted in range(PARTITIONS_DEFAULT)
    ]
    tables = {
        "Stalls: longest time without output of a partition": [
            {
                "after": "SIGKILL of one of two workers",
                "seconds": _longest_s(times, worker_ms, worker_ms + int(_WATCH_S * 1000)),
                "bar": 10,
            },
            {
                "after": "the broker accepts connections again",
                "seconds": _first_s(times, broker_ms),
                "bar": 15,
            },
        ]
    }
    return Measured(tables)


def _longest_s(times: list[list[int]], from_ms: int, to_ms: int) -> float:
    """Longest pause of any partition between two instants, which also bound the pauses."""
    longest = 0
    for some in times:
        edges = [from_ms, *(at_ms for at_ms in some if from_ms <= at_ms <= to_ms), to_ms]
        longest = max(longest, *(later - sooner for sooner, later in pairwise(edges)))
    return longest / 1000


def _first_s(times: list[list[int]], from_ms: int) -> float:
    """Time from an instant until every partition had output; infinite if one had none."""
    return (
        max(
            min((at_ms - from_ms for at_ms in some if at_ms > from_ms), default=float("inf"))
            for some in times
        )
        / 1000
    )
