"""Read the output that a subject committed, and compute its rate from the broker's timestamps."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import linear_regression

import xxhash
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import NewTopic

from bench.processes import cpu_s
from streams import clock, limits
from streams.connection.connect import administering
from streams.demo import Part
from streams.topology import AHEAD_MS, PARTITIONS_DEFAULT, Topic

#: Pause between checks of the end of the output (one small request); records are read only when there are
#: enough of them.
_PAUSE_S = 0.2


async def create(broker: str, names: Sequence[str], topics: Sequence[Topic] = ()) -> None:
    """Create output topics whose records have the broker's append time.

    `topics` have additional configuration.
    """
    configs: dict[str, Mapping[str, str]] = {
        **{name: {} for name in names},
        **{topic.name: topic.config for topic in topics},
    }
    async with administering(broker) as admin:
        await admin.create_topics(
            [
                NewTopic(
                    name,
                    PARTITIONS_DEFAULT,
                    1,
                    topic_configs={
                        "max.message.bytes": str(limits.MESSAGE_BYTES_MAX),
                        # As declared; otherwise each run would begin with a line about it.
                        AHEAD_MS: str(2**63 - 1),
                        **config,
                        "message.timestamp.type": "LogAppendTime",
                    },
                )
                for name, config in configs.items()
            ]
        )


async def remove(broker: str, name: str) -> None:
    """Remove an output topic, because dozens of runs would fill the disk."""
    async with administering(broker) as admin:
        await admin.delete_topics([name])


@dataclass(frozen=True, slots=True)
class Counted:
    """Committed output of one subject in one round.

    `batches_per_s` is the slope of the regression line through (append time, number so far), so neither the
    subject's start nor the boundaries of its transactions have an influence. `first_s` is the time from the
    start to the first output. `repeated` counts outputs of batches that were written before; `checksum` is
    XXH3-64 over the sorted ids: equal work has an equal sum. `cpu_us` and `broker_cpu_us` are CPU time per
    batch: the slope of the CPU time over the batches written (0 if all were committed at once). `cpu_s` and
    `broker_cpu_s` are the total CPU time so far, in seconds.
    """

    batches: int
    batches_per_s: float
    first_s: float
    repeated: int
    checksum: str
    cpu_us: float
    broker_cpu_us: float
    cpu_s: float
    broker_cpu_s: float


class Output:
    """One topic, from its end at the time of entering the block.

    It tells how many records are committed, and their ids with append times.
    """

    def __init__(self, broker: str, topic: str) -> None:
        self._broker = broker
        self._tps = [TopicPartition(topic, partition) for partition in range(PARTITIONS_DEFAULT)]
        self._begin: dict[TopicPartition, int] = {}
        #: (partition, append time in ms, id) of every record read.
        self.records: list[tuple[int, int, bytes]] = []

    async def __aenter__(self) -> Output:
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=self._broker,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            max_partition_fetch_bytes=2 * limits.MESSAGE_BYTES_MAX,
        )
        await self._consumer.start()
        self._consumer.assign(self._tps)
        self._begin = await self.ends()
        for tp, offset in self._begin.items():
            self._consumer.seek(tp, offset)
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self._consumer.stop()

    async def ends(self) -> dict[TopicPartition, int]:
        """Offset after the last committed record (or its marker) by partition."""
        return dict(await self._consumer.end_offsets(self._tps))

    async def written(self) -> int:
        """Number of committed records, including one marker per transaction."""
        return sum(end - self._begin[tp] for tp, end in (await self.ends()).items())

    async def read(self) -> None:
        """Read what is committed so far."""
        ends = await self.ends()
        while short := [tp for tp, end in ends.items() if await self._consumer.position(tp) < end]:
            for tp, some in (
                await self._consumer.getmany(*short, timeout_ms=200, max_records=limits.FETCH_RECORDS_MAX)
            ).items():
                self.records += [
                    (tp.partition, record.timestamp, dict(record.headers).get("ce_id", b""))
                    for record in some
                ]


async def count(
    output: Output, wanted: Collection[bytes], parts: Sequence[Part], broker_pid: int | None, timeout_s: float
) -> Counted:
    """Wait until the subject's processes have written every id of `wanted`.

    TimeoutError if that takes more than `timeout_s` seconds, or if one of them ends.
    """
    started_s, first_s = clock.monotonic_s(), 0.0
    used: list[tuple[int, float, float]] = []
    async with asyncio.timeout(timeout_s):
        while True:
            written = await output.written()
            used.append((written, sum(cpu_s(part.process.pid) for part in parts), cpu_s(broker_pid)))
            if written and not first_s:
                first_s = clock.monotonic_s() - started_s
            if written >= len(wanted):
                break
            await _pause(parts)
        await output.read()
        while missing_from(output, wanted):
            await _pause(parts)
            await output.read()
    ours = [(at_ms, one) for _, at_ms, one in output.records if one in wanted]
    ids = {one for _, one in ours}
    end_ms = max(at_ms for at_ms, _ in ours)
    times = [at_ms for _, at_ms, _ in output.records if at_ms <= end_ms]
    since = [sample for sample in used if sample[0]]
    checksum = xxhash.xxh3_64_hexdigest(b"\n".join(sorted(ids)))
    return Counted(
        len(ids),
        round(rate(times), 1),
        round(first_s, 2),
        len(ours) - len(ids),
        checksum,
        round(_slope([one[0] for one in since], [one[1] for one in since]) * 1e6, 1),
        round(_slope([one[0] for one in since], [one[2] for one in since]) * 1e6, 1),
        used[-1][1],
        used[-1][2],
    )


def missing_from(output: Output, wanted: Collection[bytes]) -> set[bytes]:
    """Ids of `wanted` that have not been read."""
    return set(wanted) - {one for _, _, one in output.records}


def rate(times_ms: Sequence[int]) -> float:
    """Records per second: the slope of their number over their append times.

    It is 0 if all have the same millisecond.
    """
    return _slope(sorted(times_ms), range(1, len(times_ms) + 1)) * 1000


def _slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Slope of the regression line through points (least squares); 0 if all have the same x."""
    return linear_regression(x, y).slope if len(set(x)) > 1 else 0.0


async def _pause(parts: Sequence[Part]) -> None:
    if any(part.process.poll() is not None for part in parts):
        raise TimeoutError
    await asyncio.sleep(_PAUSE_S)
