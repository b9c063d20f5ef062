"""What all subjects get: batches of 20 real IMU samples of a few devices, and what is counted of their output."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import xxhash
from aiokafka import AIOKafkaProducer

from device_sim.kafka import partition_of
from device_sim.recordings import samples
from streams import clock, limits
from streams.events.batch import Batch, Context
from streams.events.codec import encode
from streams.events.headers import envelope
from streams.events.runs import Run
from streams.kafka.reader import Follower
from streams.topology import CAPTURED, PARTITIONS_DEFAULT

EVENTS_PER_BATCH, DEVICES = 20, 8
RECORDING = "classyglass-user17"
_SAMPLE_NS = 10_000_000
_CONTEXT = Context(place="home", people_near="nobody", minor_near=False, capture_light=False, worn=True, consent=1)
#: Between two looks at the output: a reader that takes each record as it comes competes with a slow subject for the two cores
#: (20,000 polls a round beside stock Faust, 10 beside transactions), and only with that one.
_PAUSE_S = 0.1


def span_ns(count: int) -> int:
    """Time from the first capture to the last of `count` batches."""
    return -(-count // DEVICES) * EVENTS_PER_BATCH * _SAMPLE_NS


def batches(first: int, count: int, start_ns: int) -> Iterator[Batch]:
    """Batches number `first` ... of the load: devices in turn, each with consecutive numbers and times from `start_ns` on."""
    found = samples(RECORDING)
    rows = found.about.rows // EVENTS_PER_BATCH
    for number in range(first, first + count):
        turn = number // DEVICES
        row = turn % rows * EVENTS_PER_BATCH
        columns = {name: values[row:row + EVENTS_PER_BATCH].tolist() for name, values in found.columns.items()}
        run = Run(turn * EVENTS_PER_BATCH, 1, EVENTS_PER_BATCH)
        yield Batch("imu", f"bench{number % DEVICES}", f"w{number % DEVICES}", "s1", "imu-right", run, start_ns + run.first * _SAMPLE_NS,
                    _SAMPLE_NS, found.about.origin, _CONTEXT, columns)


async def fill(broker: str, first: int, count: int, start_ns: int) -> set[bytes]:
    """Write batches to glasses.captured; return their ids. `start_ns`, the first capture of all, is the same for all rounds of a run."""
    ids: set[bytes] = set()
    async with AIOKafkaProducer(bootstrap_servers=broker, enable_idempotence=True, linger_ms=20, compression_type="zstd") as producer:
        sent = []
        for batch in batches(first, count, start_ns):
            ids.add(batch.first_id.encode())
            sent.append(await producer.send(CAPTURED, encode(batch), key=batch.source.encode(), headers=envelope(batch),
                                            partition=partition_of(batch.source, PARTITIONS_DEFAULT),
                                            timestamp_ms=batch.t0_ns // 1_000_000))
        await asyncio.gather(*sent)
    return ids


@dataclass(frozen=True, slots=True)
class Counted:
    """Output of one subject in one round: batches/s from its first committed output to its last, and what it wrote.

    `first_s` is how long after its start the first came: imports, joining the group, and for Sightline the seed model on empty topics.
    `repeated` are outputs of batches that were written before; `checksum` is XXH3-64 over the sorted ids: equal work, equal sum.
    """

    batches: int
    batches_per_s: float
    first_s: float
    repeated: int
    checksum: str


async def count(output: Follower, wanted: set[bytes], timeout_s: float, alive: Callable[[], bool]) -> Counted:
    """Read until every id of `wanted` has come. TimeoutError when it does not within `timeout_s` seconds, or `alive` says no."""
    came: set[bytes] = set()
    started_s = clock.monotonic_s()
    repeated = in_first = 0
    began_s = ended_s = 0.0
    async with asyncio.timeout(timeout_s):
        while len(came) < len(wanted):
            await asyncio.sleep(_PAUSE_S)
            fetched = [record for records in (await output.poll(0, limits.FETCH_RECORDS_MAX)).values() for record in records]
            if not fetched and not alive():
                raise TimeoutError
            ids = [dict(record.headers).get("ce_id", b"") for record in fetched]
            ours = [one for one in ids if one in wanted]
            fresh = set(ours) - came
            repeated += len(ours) - len(fresh)
            came |= fresh
            if fresh:
                ended_s = clock.monotonic_s()
                if not began_s:
                    # What came with the first poll took an unknown time.
                    began_s, in_first = ended_s, len(came)
    rate = (len(came) - in_first) / (ended_s - began_s) if ended_s > began_s else 0.0
    return Counted(len(came), round(rate, 1), round(began_s - started_s, 2), repeated, xxhash.xxh3_64_hexdigest(b"\n".join(sorted(came))))
