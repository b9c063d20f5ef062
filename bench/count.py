"""Reading back what a subject committed, after it has done so; and the rate, by the broker's own clock."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import xxhash
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import NewTopic

from bench.processes import cpu_s
from streams import clock, limits
from streams.demo import Part
from streams.kafka.connection import administering
from streams.topology import PARTITIONS_DEFAULT, Topic

#: Between two looks at the end of the output (one small request): records are read only when there are enough of them.
_PAUSE_S = 0.2
#: The rate counts from here: what comes before falls to imports, joining a group, the first fetch of each partition, cold caches.
_BEGIN_SHARE = 0.1


async def create(broker: str, names: Sequence[str], topics: Sequence[Topic] = ()) -> None:
    """Create output topics whose records carry the time at which the broker appended them; `topics` give further configuration."""
    configs: dict[str, Mapping[str, str]] = {**{name: {} for name in names}, **{topic.name: topic.config for topic in topics}}
    async with administering(broker) as admin:
        await admin.create_topics([
            NewTopic(name, PARTITIONS_DEFAULT, 1, topic_configs={
                "max.message.bytes": str(limits.MESSAGE_BYTES_MAX), **config, "message.timestamp.type": "LogAppendTime"})
            for name, config in configs.items()])


@dataclass(frozen=True, slots=True)
class Counted:
    """Committed output of one subject in one round.

    `batches_per_s` is the slope from a tenth of the output to its end, by append time. `first_s` is how long after the start the first
    output was seen. `repeated` are outputs of batches that were written before; `checksum` is XXH3-64 over the sorted ids: equal work,
    equal sum. `cpu_us` and `broker_cpu_us` are CPU time a batch, of the subject and of the broker meanwhile, start excluded.
    """

    batches: int
    batches_per_s: float
    first_s: float
    repeated: int
    checksum: str
    cpu_us: float
    broker_cpu_us: float


class Output:
    """One topic from its end at the time of entering: how much is committed, and the ids with their append times."""

    def __init__(self, broker: str, topic: str) -> None:
        self._consumer = AIOKafkaConsumer(bootstrap_servers=broker, group_id=None, enable_auto_commit=False, auto_offset_reset="none",
                                          isolation_level="read_committed", max_partition_fetch_bytes=2 * limits.MESSAGE_BYTES_MAX)
        self._tps = [TopicPartition(topic, partition) for partition in range(PARTITIONS_DEFAULT)]
        self._begin: dict[TopicPartition, int] = {}
        #: (partition, append time in ms, id) of every record read.
        self.records: list[tuple[int, int, bytes]] = []

    async def __aenter__(self) -> Output:
        await self._consumer.start()
        self._consumer.assign(self._tps)
        self._begin = await self.ends()
        for tp, offset in self._begin.items():
            self._consumer.seek(tp, offset)
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self._consumer.stop()

    async def ends(self) -> dict[TopicPartition, int]:
        """Offset behind the last committed record (or its marker) by partition."""
        return dict(await self._consumer.end_offsets(self._tps))

    async def written(self) -> int:
        """How many records are committed, with a marker a transaction."""
        return sum(end - self._begin[tp] for tp, end in (await self.ends()).items())

    async def read(self) -> None:
        """Read what is committed now."""
        ends = await self.ends()
        while short := [tp for tp, end in ends.items() if await self._consumer.position(tp) < end]:
            for tp, some in (await self._consumer.getmany(*short, timeout_ms=200, max_records=limits.FETCH_RECORDS_MAX)).items():
                self.records += [(tp.partition, record.timestamp, dict(record.headers).get("ce_id", b"")) for record in some]


async def count(output: Output, wanted: Collection[bytes], parts: Sequence[Part], broker_pid: int | None, timeout_s: float) -> Counted:
    """Wait until every id of `wanted` has come from the subject's processes.

    TimeoutError when that does not happen within `timeout_s` seconds, or one of them ends.
    """
    started_s = clock.monotonic_s()
    first_s, before = 0.0, (0, 0.0, 0.0)
    async with asyncio.timeout(timeout_s):
        while (written := await output.written()) < len(wanted):
            if written and not first_s:
                first_s = clock.monotonic_s() - started_s
                before = (written, _cpu_s(parts), cpu_s(broker_pid))
            await _pause(parts)
        used = (written - before[0], _cpu_s(parts) - before[1], cpu_s(broker_pid) - before[2]) if first_s else (0, 0.0, 0.0)
        await output.read()
        while missing_from(output, wanted):
            await _pause(parts)
            await output.read()
    ours = [(at_ms, one) for _, at_ms, one in output.records if one in wanted]
    ids = {one for _, one in ours}
    end_ms = max(at_ms for at_ms, _ in ours)
    times = [at_ms for _, at_ms, _ in output.records if at_ms <= end_ms]
    return Counted(len(ids), round(rate(times), 1), round(first_s or clock.monotonic_s() - started_s, 2), len(ours) - len(ids),
                   xxhash.xxh3_64_hexdigest(b"\n".join(sorted(ids))), _micro(used[1], used[0]), _micro(used[2], used[0]))


def missing_from(output: Output, wanted: Collection[bytes]) -> set[bytes]:
    """Ids of `wanted` that have not been read."""
    return set(wanted) - {one for _, _, one in output.records}


def rate(times_ms: Sequence[int]) -> float:
    """Records a second from a tenth of them to the last; 0 when all came in one millisecond."""
    ordered = sorted(times_ms)
    begin_ms = ordered[int(len(ordered) * _BEGIN_SHARE)]
    later = sum(at_ms > begin_ms for at_ms in ordered)
    return later / (ordered[-1] - begin_ms) * 1000 if later else 0.0


def _micro(seconds: float, number: int) -> float:
    return round(seconds / number * 1e6, 1) if number else 0.0


def _cpu_s(parts: Sequence[Part]) -> float:
    return sum(cpu_s(part.process.pid) for part in parts)


async def _pause(parts: Sequence[Part]) -> None:
    if any(part.process.poll() is not None for part in parts):
        raise TimeoutError
    await asyncio.sleep(_PAUSE_S)
