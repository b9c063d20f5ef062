"""Memory of a worker for the states of devices: many idle ones, or a few with the largest possible states.

`python -m bench.states` measures each in a process of its own, without Kafka, in the core that a worker runs.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import psutil

from bench.consents import known
from bench.load import AGE_NS
from bench.traffic import IMU_20, devices, span_ns
from streams import clock, limits, settings
from streams.events.batch import Batch, Context
from streams.events.codec import encode
from streams.events.headers import envelope
from streams.events.record import Fetch, StoredRecord
from streams.events.runs import Run
from streams.kafka.checkpoint import Entries
from streams.pipeline.bootstrap import first_records
from streams.pipeline.followed import Followed
from streams.pipeline.live import LiveGlasses
from streams.pipeline.partition import PartitionState
from streams.pipeline.shelf import FileShelf
from streams.policy.load import load
from streams.policy.versions import PolicyTable, PolicyVersions
from streams.topology import CAPTURED, MODELS, PARTITIONS_DEFAULT

QUIET, FAT = 100_000, 80
_FETCH, _SAMPLES = 1000, 1999
_CONTEXT = Context(
    place="home", people_near="nobody", minor_near=False, capture_light=False, worn=True, consent=1
)
Rows = list[dict[str, Any]]


def states() -> dict[str, Rows]:
    """One table: memory in addition to that before, while devices send and after an assignment."""
    rows = []
    for what, number, bar_mb in (("quiet", QUIET, 300), ("fat", FAT, 150)):
        made = subprocess.run(
            [sys.executable, "-m", "bench.states", what, str(number)],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parents[1],
        )
        rows.append({"devices": f"{number:,} {what}", **orjson.loads(made.stdout), "bar MB": bar_mb})
    return {f"Memory of devices' states, {limits.STATES_BYTES_MAX:,} bytes of them decoded": rows}


def _quiet(number: int, start_ns: int) -> Iterator[Batch]:
    """Two batches of each device, and no more after them."""
    return IMU_20.batches(0, 2 * number, start_ns, number)


def _fat(number: int, start_ns: int) -> Iterator[Batch]:
    """Gaze at rest on every stream that a device may have, one sample short of the end of a window."""
    columns: dict[str, list[Any]] = {
        "yaw_rad": [0.1] * _SAMPLES,
        "pitch_rad": [0.1] * _SAMPLES,
        "pupil_left_mm": [None] * _SAMPLES,
        "pupil_right_mm": [None] * _SAMPLES,
        "worn": [True] * _SAMPLES,
    }
    for turn, name in enumerate(devices(number)):
        for stream in range(limits.STREAMS_PER_DEVICE_MAX):
            run = Run(0, 1, _SAMPLES)
            yield Batch(
                kind="gaze",
                source=name,
                wearer_id=f"w{turn}",
                session_id="s1",
                stream=f"gaze-{stream}",
                run=run,
                t0_ns=start_ns,
                dt_ns=1000,
                origin="bench:1",
                context=_CONTEXT,
                columns=columns,
            )


async def _measured(
    made: Callable[[int, int], Iterator[Batch]], number: int, shelf: FileShelf
) -> dict[str, Any]:
    policy = load(settings.POLICY)
    followed = Followed(PolicyTable(PolicyVersions.of(policy)), consents=known(policy, number))
    for outgoing in first_records(policy, clock.now_ns()):
        if outgoing.topic == MODELS:
            followed.models.learn(outgoing.key, outgoing.value)
    core, process = LiveGlasses(followed, shelf), psutil.Process()
    start_ns = clock.now_ns() - AGE_NS - span_ns(IMU_20, 2 * number, number)
    now: list[PartitionState] = [core.empty(partition) for partition in range(PARTITIONS_DEFAULT)]
    stored, highest = [Entries() for _ in now], 0
    # Free what the preparation needed, or the states would reuse that memory and appear smaller.
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    before = process.memory_info().rss
    sent, most = made(number, start_ns), _FETCH if made is _quiet else 2 * limits.STREAMS_PER_DEVICE_MAX
    for at, some in enumerate(iter(lambda: list(islice(sent, most)), [])):
        for partition in range(PARTITIONS_DEFAULT):
            # Devices take turns over the partitions; each sends all its batches at once.
            turns = [batch for batch in some if int(batch.wearer_id[1:]) % PARTITIONS_DEFAULT == partition]
            records = [
                StoredRecord(
                    at * _FETCH + place,
                    start_ns // 1_000_000,
                    batch.source.encode(),
                    encode(batch),
                    envelope(batch),
                )
                for place, batch in enumerate(turns)
            ]
            if not records:
                continue
            fetch = Fetch(CAPTURED, partition, records)
            inputs = await core.inputs(now[partition], fetch, silent=False)
            outcome = await core.process(now[partition], fetch, inputs, silent=False, poisoned={})
            for name, value in core.save(now[partition], outcome.state).items():
                stored[partition].learn(name, value, 1)
            now[partition] = outcome.state
            highest = max(highest, process.memory_info().rss)
    held = sum(len(state.devices) for state in now)
    # Stored states would be on the broker.
    kept = sum(len(value) for one in stored for value in one._values.values())
    began_s = time.monotonic()
    for partition, entries in enumerate(stored):
        now[partition] = core.restore(partition, entries)
    restored_s, after = time.monotonic() - began_s, process.memory_info().rss
    return {
        "remembered": held,
        "most MB more": round((highest - before - kept) / 1e6),
        "after an assignment": round((after - before) / 1e6),
        "decoded MB": round(shelf.held_bytes / 1e6),
        "assignment s": round(restored_s, 1),
    }


def main() -> None:
    """Measure one of the two in this process, or each in a process of its own."""
    if len(sys.argv) == 1:
        sys.stdout.write(orjson.dumps(states(), option=orjson.OPT_INDENT_2).decode() + "\n")
        return
    what, number = sys.argv[1:]
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "device-states"
        shelf = FileShelf(path)
        found = asyncio.run(_measured(_quiet if what == "quiet" else _fat, int(number), shelf))
        found["in the file MB"] = round(path.stat().st_size / 1e6)
        shelf.close()
    sys.stdout.write(orjson.dumps(found).decode())


if __name__ == "__main__":
    main()
